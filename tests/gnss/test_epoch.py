from collections import Counter

from fusion_rt.gnss.decoder import TOLD_TWICE, GnssDecoder
from fusion_rt.gnss.epoch import AFTER_END, REPEATED
from fusion_rt.gnss.solution import Solution
from tests.gnss.receivers import gga, nmea, pvt, rmc

VTG = nmea("GPVTG,77.5,T,,M,10.0,N,18.52,K,A")
GSA = nmea("GNGSA,A,3,29,20,18,16,51,13,44,26,,,,,0.99,0.54,0.83,1")
TIMES = [f"1200{second:02}.00" for second in range(10)]


class Receiver:
    """A decoder that is fed one sentence after the other."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.decoder = GnssDecoder(self.counters)

    def say(self, *sentences: bytes) -> list[Solution]:
        return [said for sentence in sentences for said in self.decoder.feed(sentence, 0)]


def test_all_sentences_of_a_time_make_one_solution() -> None:
    receiver = Receiver()
    assert receiver.say(rmc(TIMES[0]), GSA, GSA, VTG, gga(TIMES[0])) == []
    (solution,) = receiver.say(rmc(TIMES[1]))
    assert (solution.date, solution.satellites, solution.vdop) == ((2026, 3, 23), 8, 0.83)
    assert solution.course_deg == 90.0


def test_what_ends_epochs_is_learnt_so_that_none_waits_for_the_next() -> None:
    receiver = Receiver()
    for time in TIMES[:3]:
        receiver.say(rmc(time), gga(time), VTG)
    assert receiver.say(rmc(TIMES[3]), gga(TIMES[3])) == []
    assert len(receiver.say(VTG)) == 1
    assert receiver.say(rmc(TIMES[4]), gga(TIMES[4])) == []


def test_a_receiver_of_one_sentence_is_not_a_period_late() -> None:
    receiver = Receiver()
    assert [len(receiver.say(rmc(time))) for time in TIMES[:5]] == [0, 1, 2, 1, 1]


def test_an_end_that_proves_wrong_is_unlearnt() -> None:
    receiver = Receiver()
    for time in TIMES[:4]:
        receiver.say(rmc(time))
    assert len(receiver.say(rmc(TIMES[4]), gga(TIMES[4]))) == 1
    assert receiver.counters[AFTER_END] == 1
    assert receiver.say(rmc(TIMES[5])) == []
    assert len(receiver.say(gga(TIMES[5]), rmc(TIMES[6]))) == 1


def test_a_pause_ends_an_epoch_but_not_within_a_sentence() -> None:
    receiver = Receiver()
    receiver.say(rmc(TIMES[0]))
    assert len(receiver.decoder.pause()) == 1
    receiver.say(rmc(TIMES[1]), VTG[:10])
    assert receiver.decoder.pause() == []


def test_pauses_that_prove_wrong_end_nothing_any_more() -> None:
    receiver = Receiver()
    for time in TIMES[:4]:
        receiver.say(rmc(time))
        receiver.decoder.pause()
        receiver.say(gga(time))
    receiver.say(rmc(TIMES[4]))
    assert receiver.decoder.pause() == []
    (solution,) = receiver.say(gga(TIMES[4]), rmc(TIMES[5]))
    assert solution.satellites == 8


def test_a_cycle_that_begins_with_an_untimed_sentence_is_not_torn() -> None:
    receiver = Receiver()
    for time in TIMES[:3]:
        receiver.say(VTG, gga(time), rmc(time))
    (solution,) = receiver.say(VTG, gga(TIMES[3]), rmc(TIMES[3]))
    assert (solution.satellites, solution.course_deg) == (8, 77.5)


def test_sentences_without_any_time_make_solutions_by_the_cycle() -> None:
    receiver = Receiver()
    cold = (nmea("GPRMC,,V,,,,,,,,,,N"), nmea("GPGGA,,,,,,0,00,99.99,,,,,,"))
    solutions = receiver.say(*cold * 4)
    assert [said.fix for said in solutions] == ["none"] * len(solutions)
    assert 2 <= len(solutions) <= 4


def test_a_time_that_does_not_advance_gives_nothing_new() -> None:
    receiver = Receiver()
    assert len(receiver.say(*[gga(TIMES[0])] * 5)) == 0
    assert receiver.counters[REPEATED] == 4


def test_the_finest_position_wins_whatever_the_order() -> None:
    coarse = nmea(f"GPGLL,4807.03,N,01131.00,E,{TIMES[0]},A,A")
    for order in ((coarse, gga(TIMES[0])), (gga(TIMES[0]), coarse)):
        (solution,) = Receiver().say(*order, gga(TIMES[1]))
        assert solution.position_deg is not None
        assert abs(solution.position_deg[0] - 48.1173) < 1e-9


def test_one_constellation_without_a_fix_does_not_spoil_the_others() -> None:
    alone = nmea(f"GLGGA,{TIMES[0]},,,,,0,00,,,M,,M,,")
    (solution,) = Receiver().say(gga(TIMES[0]), alone, gga(TIMES[1]))
    assert solution.fix == "3d"


def test_dead_reckoning_that_the_receiver_warns_of_is_no_fix() -> None:
    (solution,) = Receiver().say(gga(TIMES[0], 6), rmc(TIMES[0], "V"), gga(TIMES[1]))
    assert solution.fix == "none"


def test_one_solution_where_a_receiver_tells_it_in_two_protocols() -> None:
    receiver = Receiver()
    told = []
    for second, time in enumerate(TIMES):
        told += receiver.say(pvt(second * 1000, calendar=(2026, 3, 23, 12, 0, second)))
        told += receiver.say(rmc(time), gga(time))
    assert [said.source for said in told][1:] == ["NAV-PVT"] * (len(told) - 1)
    assert receiver.counters[TOLD_TWICE] >= 6


def test_nmea_is_heard_again_when_ubx_falls_silent() -> None:
    receiver = Receiver()
    receiver.say(pvt(0), pvt(1000))
    told = [said for time in TIMES for said in receiver.say(rmc(time))]
    assert [said.source for said in told] == ["GPRMC"] * len(told)
    assert len(told) >= 3
