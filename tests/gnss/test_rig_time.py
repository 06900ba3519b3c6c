from collections import Counter

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.gnss.rig_time import TIME_JUMPS, RigTime

RIG_NS = 1_700_000_000 * NS_PER_S
LATENCY_NS = 80 * NS_PER_MS


class Bench:
    """A receiver whose UTC is ahead of rig time by a known offset."""

    def __init__(self, offset_ns: int = 3600 * NS_PER_S, latency_ns: int | None = LATENCY_NS):
        self.counters: Counter[str] = Counter()
        self.time = RigTime(self.counters, latency_ns)
        self.offset_ns = offset_ns

    def error_ns(self, second: float, delay_ns: int = LATENCY_NS) -> int:
        """By how much the stamp of the solution of this second is off."""
        true_ns = RIG_NS + round(second * NS_PER_S)
        stamp = self.time.stamp(true_ns + self.offset_ns, true_ns + delay_ns)
        return stamp.stamp_ns - true_ns

    def uncertainty_ns(self) -> int:
        stamp = self.time.convert(0, RIG_NS + 60 * NS_PER_S)
        assert stamp is not None
        return stamp.uncertainty_ns


def test_stamps_are_rig_time_however_wrong_the_receiver_s_clock() -> None:
    bench = Bench()
    assert [bench.error_ns(second) for second in range(5)] == [0] * 5


def test_late_messages_do_not_move_stamps() -> None:
    bench = Bench()
    bench.error_ns(0)
    assert bench.error_ns(1, LATENCY_NS + 90 * NS_PER_MS) == 0


def test_a_backlog_that_is_worked_off_is_no_jump() -> None:
    bench = Bench()
    bench.error_ns(0)
    burst = [bench.error_ns(second, (8 - second) * NS_PER_S) for second in range(2, 8)]
    assert burst == [0] * 6
    assert bench.counters[TIME_JUMPS] == 0


@pytest.mark.parametrize("step_s", [1, -1, 3, -1024 * 7 * 86_400])
def test_a_step_of_the_receiver_is_an_event_and_stamps_go_on(step_s: int) -> None:
    bench = Bench()
    for second in range(5):
        bench.error_ns(second)
    bench.offset_ns += step_s * NS_PER_S
    errors = [bench.error_ns(second) for second in range(5, 12)]
    assert errors[2:] == [0] * 5
    assert bench.counters[TIME_JUMPS] == 1


def test_one_wrong_second_moves_no_stamp_into_the_future() -> None:
    bench = Bench()
    bench.error_ns(0)
    bench.offset_ns += NS_PER_S
    assert bench.error_ns(1) == 0
    assert bench.counters[TIME_JUMPS] == 0


def test_drift_of_the_rig_s_clock_is_followed() -> None:
    bench = Bench()
    for second in range(200):
        bench.offset_ns += 20_000  # 20 ppm
        error_ns = bench.error_ns(second)
    assert abs(error_ns) < 2 * NS_PER_MS


def test_a_latency_that_nobody_measured_shows_in_the_uncertainty() -> None:
    stated, unknown = Bench(), Bench(latency_ns=None)
    for second in range(5):
        assert stated.error_ns(second) == 0
        assert unknown.error_ns(second) == 30 * NS_PER_MS
    assert stated.uncertainty_ns() == 5 * NS_PER_MS
    assert unknown.uncertainty_ns() == 50 * NS_PER_MS


def test_pulses_show_the_offset_whatever_the_latency() -> None:
    bench = Bench(latency_ns=None)
    for second in range(10):
        bench.time.pulse(RIG_NS + second * NS_PER_S + 7_000)
        error_ns = bench.error_ns(second, 170 * NS_PER_MS)
    assert abs(error_ns - 7_000) < 1_000
    bench.time.pulse(RIG_NS + 60 * NS_PER_S + 7_000)
    assert bench.uncertainty_ns() == 1_000


def test_pulses_that_scatter_or_have_stopped_are_not_believed() -> None:
    scattered, stopped = Bench(), Bench()
    for second in range(8):
        scattered.time.pulse(RIG_NS + second * NS_PER_S + second % 4 * 11 * NS_PER_MS)
        stopped.time.pulse(RIG_NS + second * NS_PER_S + 9 * NS_PER_MS)
        assert scattered.error_ns(second) == 0
    assert stopped.error_ns(8) == 9 * NS_PER_MS
    assert stopped.error_ns(14) == 0


def test_a_receiver_without_time_is_stamped_by_arrival() -> None:
    stamp = RigTime(Counter(), LATENCY_NS).stamp_without_time(RIG_NS)
    assert stamp.stamp_ns == RIG_NS - LATENCY_NS


def test_other_instants_convert_once_the_offset_is_known() -> None:
    bench = Bench()
    assert bench.time.convert(0, RIG_NS) is None
    bench.error_ns(0)
    past = bench.time.convert(RIG_NS - 60 * NS_PER_S + bench.offset_ns, RIG_NS)
    assert past is not None
    assert past.stamp_ns == RIG_NS - 60 * NS_PER_S
