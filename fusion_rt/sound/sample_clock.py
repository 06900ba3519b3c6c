"""A sound card's sample clock against rig time: when each sample was taken, and how the two drift.

Each block of samples comes with a time that jitters by milliseconds, while the samples themselves
are taken by a quartz. A straight line through the block times, over the last minutes, gives stamps
as even as the quartz, and its slope is the drift.
"""

import math
import statistics
from collections import Counter, deque
from collections.abc import Sequence

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S

HOLES = "holes"
"""Counter of places where samples are missing."""
CLOCK_JUMPS = "clock_jumps"
"""Counter of steps of the card's time that missing samples do not explain."""

_GROUP_NS = NS_PER_S  # block times are taken together by the median of a second
_GROUPS = 120
_JUMP_NS = 30 * NS_PER_MS
_SAME_NS = 10 * NS_PER_MS
_TIMES_TO_BELIEVE = 3
_TIMES_AT_MOST = 10
_PPM = 1e6


class Drift(msgspec.Struct, frozen=True):
    """How a sample clock runs against rig time: positive where it is slow."""

    ppm: float
    uncertainty_ppm: float
    """One standard deviation."""


class SampleClock:
    """Of one device, from its opening to its closing."""

    def __init__(self, rate_hz: int, counters: Counter[str]) -> None:
        self._rate_hz = rate_hz
        self._counters = counters
        self._groups: deque[tuple[float, float]] = deque(maxlen=_GROUPS)
        self._group: list[tuple[int, int]] = []
        self._outliers: list[int] = []
        self._outliers_in_a_row = 0
        self._start_ns: int | None = None
        self._line = (0.0, 0.0)

    def observe(self, sample: int, time_ns: int, *, is_hole: bool = False) -> int:
        """Note that `sample` was taken at about `time_ns`; gives how many are missing before it.

        `is_hole`: the device says that some are, so that a single late time is believed.
        """
        if self._start_ns is None:
            self._start_ns = time_ns - self._nominal_ns(sample)
        late_ns = time_ns - self.time_ns(sample)
        if abs(late_ns) > _JUMP_NS:
            return self._jump(sample, time_ns, late_ns, is_hole)
        self._outliers.clear()
        self._outliers_in_a_row = 0
        self._take(sample, time_ns)
        return 0

    def time_ns(self, sample: int) -> int:
        """Rig time of a sample; `observe` must have been called."""
        offset_ns, slope = self._line
        nominal_ns = self._nominal_ns(sample)
        return (self._start_ns or 0) + nominal_ns + round(offset_ns + slope * nominal_ns)

    def drift(self) -> Drift | None:
        """None before there are three seconds of sound."""
        if len(self._groups) < 3:
            return None
        _, slope, uncertainty = _fit(self._groups)
        return Drift(slope * _PPM, uncertainty * _PPM)

    def _nominal_ns(self, sample: int) -> int:
        return sample * NS_PER_S // self._rate_hz

    def _take(self, sample: int, time_ns: int) -> None:
        nominal_ns = self._nominal_ns(sample)
        self._group.append((nominal_ns, time_ns - (self._start_ns or 0) - nominal_ns))
        offset_ns = statistics.median(offset for _, offset in self._group)
        if nominal_ns - self._group[0][0] >= _GROUP_NS:
            self._groups.append((statistics.fmean(at for at, _ in self._group), offset_ns))
            self._group.clear()
            self._line = _fit(self._groups)[:2]
        elif not self._groups:
            self._line = (offset_ns, 0.0)

    def _jump(self, sample: int, time_ns: int, late_ns: int, is_hole: bool) -> int:
        if self._outliers and abs(late_ns - self._outliers[-1]) > _SAME_NS:
            self._outliers.clear()
        self._outliers.append(late_ns)
        self._outliers_in_a_row += 1
        is_lost = self._outliers_in_a_row >= _TIMES_AT_MOST  # blocks and times do not fit at all
        if not (is_hole or is_lost or len(self._outliers) >= _TIMES_TO_BELIEVE):
            return 0
        self._outliers.clear()
        self._outliers_in_a_row = 0
        if late_ns > 0:
            self._counters[HOLES] += 1
            return round(late_ns * self._rate_hz / NS_PER_S)
        self._counters[CLOCK_JUMPS] += 1
        self._groups.clear()
        self._group.clear()
        self._line = (0.0, 0.0)
        self._start_ns = time_ns - self._nominal_ns(sample)
        return 0


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Least squares: value at zero, slope, and one standard deviation of the slope."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return mean_y, 0.0, math.inf
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    start = mean_y - slope * mean_x
    if len(points) < 3:
        return start, 0.0 if len(points) < 2 else slope, math.inf
    residual = sum((y - start - slope * x) ** 2 for x, y in points) / (len(points) - 2)
    return start, slope, math.sqrt(residual / spread)
