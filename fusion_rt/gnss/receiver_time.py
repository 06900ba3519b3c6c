"""Receivers' calendars to UTC: GPS weeks, leap seconds, rollovers, times of day without a date."""

import datetime
from bisect import bisect_right
from collections.abc import Sequence

from fusion_rt.clock import NS_PER_S
from fusion_rt.gnss.solution import Solution

DAY_NS = 86_400 * NS_PER_S
WEEK_NS = 7 * DAY_NS
ROLLOVER_NS = 1024 * WEEK_NS
"""Ten bits count the weeks in the signal, so old receivers date everything 19.6 years back."""
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_GPS_EPOCH_NS = (datetime.date(1980, 1, 6).toordinal() - _EPOCH) * DAY_NS

_FIRST_NS = (datetime.date(1980, 1, 1).toordinal() - _EPOCH) * DAY_NS
_LAST_NS = (datetime.date(2200, 1, 1).toordinal() - _EPOCH) * DAY_NS

# When GPS minus UTC grew by one, from the bulletins of the IERS.
_LEAP_DATES = (
    (1981, 7),
    (1982, 7),
    (1983, 7),
    (1985, 7),
    (1988, 1),
    (1990, 1),
    (1991, 1),
    (1992, 7),
    (1993, 7),
    (1994, 7),
    (1996, 1),
    (1997, 7),
    (1999, 1),
    (2006, 1),
    (2009, 1),
    (2012, 7),
    (2015, 7),
    (2017, 1),
)
_LEAPS_NS = [
    (datetime.date(year, month, 1).toordinal() - _EPOCH) * DAY_NS for year, month in _LEAP_DATES
]


def leap_seconds(utc_ns: int) -> int:
    """GPS minus UTC at this time, as known when this was written."""
    return bisect_right(_LEAPS_NS, utc_ns)


def utc_from_calendar_ns(calendar: Sequence[int], nano: int = 0) -> int | None:
    """UTC of (year, month, day, hour, minute, second) plus `nano`; None where no clock shows it."""
    year, month, day, hour, minute, second = calendar
    if not (hour < 24 and minute < 60 and second <= 60):
        return None
    try:
        days = datetime.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * DAY_NS + ((hour * 60 + minute) * 60 + second) * NS_PER_S + nano


def utc_from_gps_ns(week: int, time_of_week_ns: int, leap_s: int | None = None) -> int:
    """UTC of a GPS time; leap seconds from the table where the receiver does not know them."""
    gps_ns = _GPS_EPOCH_NS + week * WEEK_NS + time_of_week_ns
    if leap_s is None:
        leap_s = leap_seconds(gps_ns)
    return gps_ns - leap_s * NS_PER_S


class ReceiverTime:
    """Completes the times of one receiver's solutions from what it said before.

    A receiver without a calendar is dated by the host's clock; one that is off by a whole number of
    rollovers, and otherwise agrees with the host to a day, is put right.
    """

    def __init__(self) -> None:
        self._utc_ns: int | None = None
        self._week: int | None = None
        self._leap_s: int | None = None

    def utc_ns(self, solution: Solution, now_ns: int) -> int | None:
        """UTC of a solution that ended at about `now_ns`; None when it carries no time at all."""
        self._leap_s = self._leap_s if solution.leap_s is None else solution.leap_s
        self._week = self._week if solution.week is None else solution.week
        utc_ns = self._stated_ns(solution, self._utc_ns or now_ns)
        if utc_ns is None or not _FIRST_NS <= utc_ns < _LAST_NS:
            return None
        self._utc_ns = utc_ns
        return without_rollover_ns(utc_ns, now_ns)

    def _stated_ns(self, solution: Solution, near_ns: int) -> int | None:
        if solution.utc_ns is not None:
            return solution.utc_ns
        if solution.time_of_day_ns is not None:
            if solution.date is None:
                return _nearest(solution.time_of_day_ns, DAY_NS, near_ns)
            midnight_ns = utc_from_calendar_ns((*solution.date, 0, 0, 0))
            return None if midnight_ns is None else midnight_ns + solution.time_of_day_ns
        if solution.time_of_week_ns is not None:
            return self._from_week_ns(solution.time_of_week_ns, near_ns)
        return None

    def _from_week_ns(self, time_of_week_ns: int, near_ns: int) -> int:
        if self._week is not None:
            return utc_from_gps_ns(self._week, time_of_week_ns, self._leap_s)
        leap_s = leap_seconds(near_ns) if self._leap_s is None else self._leap_s
        return _nearest(utc_from_gps_ns(0, time_of_week_ns, leap_s), WEEK_NS, near_ns)


def without_rollover_ns(utc_ns: int, now_ns: int) -> int:
    """`utc_ns`, moved by whole rollovers where that makes it agree with the host to a day."""
    moved_ns = _nearest(utc_ns, ROLLOVER_NS, now_ns)
    return moved_ns if abs(moved_ns - now_ns) <= DAY_NS else utc_ns


def _nearest(phase_ns: int, period_ns: int, near_ns: int) -> int:
    """Of all instants with this phase the one nearest to `near_ns`."""
    return phase_ns + round((near_ns - phase_ns) / period_ns) * period_ns
