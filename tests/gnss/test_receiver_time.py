from fusion_rt.clock import NS_PER_S
from fusion_rt.gnss.receiver_time import (
    DAY_NS,
    ROLLOVER_NS,
    ReceiverTime,
    leap_seconds,
    utc_from_calendar_ns,
    utc_from_gps_ns,
)
from fusion_rt.gnss.solution import Solution

HOUR_NS = 3600 * NS_PER_S


def at(*calendar: int) -> int:
    utc_ns = utc_from_calendar_ns(calendar)
    assert utc_ns is not None
    return utc_ns


NOW_NS = at(2026, 3, 23, 12, 0, 1)


def utc_ns(now_ns: int = NOW_NS, **said: object) -> int | None:
    return ReceiverTime().utc_ns(Solution(source="x", **said), now_ns)  # type: ignore[arg-type]


def test_leap_seconds_are_those_of_the_bulletins() -> None:
    eve = at(2016, 12, 31, 23, 59, 59)
    assert (leap_seconds(eve), leap_seconds(eve + NS_PER_S)) == (17, 18)
    assert leap_seconds(at(1980, 1, 6, 0, 0, 0)) == 0


def test_gps_weeks_count_from_1980_without_leap_seconds() -> None:
    assert utc_from_gps_ns(0, 0) == at(1980, 1, 6, 0, 0, 0)
    assert utc_from_gps_ns(2150, 18 * NS_PER_S) == at(2021, 3, 21, 0, 0, 0)
    assert utc_from_gps_ns(2150, 18 * NS_PER_S, leap_s=16) == at(2021, 3, 21, 0, 0, 2)


def test_a_date_and_a_time_of_day_are_utc() -> None:
    assert utc_ns(date=(2026, 3, 23), time_of_day_ns=12 * HOUR_NS) == at(2026, 3, 23, 12, 0, 0)


def test_a_leap_second_is_the_first_of_the_next_day() -> None:
    leap = utc_ns(date=(2016, 12, 31), time_of_day_ns=DAY_NS, now_ns=0)
    assert leap == at(2017, 1, 1, 0, 0, 0)


def test_a_time_without_a_date_is_the_nearest_to_the_host() -> None:
    just_after_midnight = at(2026, 3, 24, 0, 0, 0)
    before = utc_ns(just_after_midnight, time_of_day_ns=DAY_NS - NS_PER_S)
    assert before == just_after_midnight - NS_PER_S


def test_a_date_once_told_is_kept_over_midnight() -> None:
    time = ReceiverTime()
    late = DAY_NS - NS_PER_S
    time.utc_ns(Solution(source="x", date=(2010, 6, 1), time_of_day_ns=late), NOW_NS)
    after = time.utc_ns(Solution(source="x", time_of_day_ns=0), NOW_NS)
    assert after == at(2010, 6, 2, 0, 0, 0)


def test_a_receiver_that_is_rollovers_behind_is_put_right() -> None:
    for rollovers in (1, 2):
        day_ns = at(2026, 3, 23, 12, 0, 0) - rollovers * ROLLOVER_NS
        assert utc_ns(utc_ns=day_ns) == at(2026, 3, 23, 12, 0, 0)


def test_a_recording_of_another_day_is_left_as_it_is() -> None:
    assert utc_ns(utc_ns=at(2010, 6, 3, 14, 52, 43)) == at(2010, 6, 3, 14, 52, 43)


def test_weeks_and_leap_seconds_once_told_are_kept() -> None:
    time = ReceiverTime()
    time.utc_ns(Solution(source="x", week=2150, time_of_week_ns=0, leap_s=17), NOW_NS)
    later = time.utc_ns(Solution(source="x", time_of_week_ns=20 * NS_PER_S), NOW_NS)
    assert later == at(2021, 3, 21, 0, 0, 3)


def test_a_time_of_week_alone_is_the_nearest_to_the_host() -> None:
    found = utc_ns(time_of_week_ns=DAY_NS + 12 * HOUR_NS + 18 * NS_PER_S)
    assert found == at(2026, 3, 23, 12, 0, 0)


def test_times_that_cannot_be_are_none() -> None:
    assert utc_ns() is None
    assert utc_ns(week=-5, time_of_week_ns=0) is None
    assert utc_ns(utc_ns=2**63) is None
