"""Evidence for liveness: bounded windows over what arrived on one stream, at the end of transport.

Each is O(1) per message and of fixed size; percentiles are computed when asked for.
"""

from collections import deque
from typing import NamedTuple

from fusion_rt.clock import NS_PER_MS, NS_PER_S

SILENT_PERIODS = 3
WAKE_SLACK_NS = 10 * NS_PER_MS
"""On top of three periods: what a loaded machine may be late without anything being wrong."""


class GapWindow:
    """The last gaps between arrivals, and from them how long a silence this stream may keep."""

    _SIZE = 16
    _WIDEST_PERIODS = 6
    _WIDEST_NS = 100 * NS_PER_MS
    _LONGEST_NS = 10 * NS_PER_S

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._gaps_ns: deque[int] = deque(maxlen=self._SIZE)
        self.typical_ns = period_ns
        """The stated period, or the stream's own median gap where that is a quarter longer."""
        self.silence_ns = SILENT_PERIODS * period_ns + WAKE_SLACK_NS
        """No arrival for this long is silence."""

    def add(self, gap_ns: int) -> None:
        self._gaps_ns.append(gap_ns)
        ordered = sorted(self._gaps_ns)
        if len(ordered) > self._SIZE // 2:  # else one hiccup at the start would be the median
            median_ns = ordered[len(ordered) // 2]
            is_slower = median_ns > self._period_ns * 5 // 4
            self.typical_ns = median_ns if is_slower else self._period_ns
        self.silence_ns = max(self._from_median_ns(), self._from_jitter_ns(ordered)) + WAKE_SLACK_NS

    def _from_median_ns(self) -> int:
        """A receiver that really runs at 1 Hz under a stated 10 Hz is slow, not silent."""
        longest_ns = max(self._LONGEST_NS, SILENT_PERIODS * self._period_ns)
        return min(SILENT_PERIODS * self.typical_ns, longest_ns)

    def _from_jitter_ns(self, ordered: list[int]) -> int:
        """The third longest gap, so that rare outages do not delay the detection of the next."""
        if len(ordered) < 3:
            return 0
        widest_ns = max(self._WIDEST_PERIODS * self._period_ns, self._WIDEST_NS)
        return min(ordered[-3] * 5 // 4, widest_ns)


class _Mark(NamedTuple):
    at_ns: int
    total: int


class RateWindow:
    """Mean rate of a running count over a sliding window."""

    _STEPS = 16

    def __init__(self, span_ns: int) -> None:
        self.span_ns = span_ns
        self._step_ns = span_ns // self._STEPS
        self._marks: deque[_Mark] = deque()
        self._newest = _Mark(0, 0)

    def clear(self) -> None:
        """Start a new window: the count starts over."""
        self._marks.clear()

    def add(self, at_ns: int, total: int) -> None:
        """The count as it stood at `at_ns`; one older than the newest says nothing new."""
        if self._marks and at_ns < self._newest.at_ns - self.span_ns:
            self.clear()  # that is no reordering: the clock stepped back
        if self._marks and at_ns < self._newest.at_ns:
            return
        self._newest = _Mark(at_ns, total)
        if not self._marks or at_ns - self._marks[-1].at_ns >= self._step_ns:
            self._marks.append(self._newest)
        while at_ns - self._marks[0].at_ns > self.span_ns + self._step_ns:
            self._marks.popleft()

    def rate_hz(self) -> float:
        """Up to the newest count, with whatever part of the window there is."""
        if not self._marks or self._newest.at_ns == self._marks[0].at_ns:
            return 0.0
        oldest = self._marks[0]
        count = self._newest.total - oldest.total
        return count * NS_PER_S / (self._newest.at_ns - oldest.at_ns)

    def is_full(self) -> bool:
        return bool(self._marks) and self._newest.at_ns - self._marks[0].at_ns >= self.span_ns


class HopWindow:
    """The last hops (receipt minus sending)."""

    _SIZE = 256

    def __init__(self) -> None:
        self._hops_ns: deque[int] = deque(maxlen=self._SIZE)

    def add(self, hop_ns: int) -> None:
        self._hops_ns.append(hop_ns)

    def percentile_ns(self, percent: int) -> int | None:
        """Nearest-rank percentile; None before the first message."""
        if not self._hops_ns:
            return None
        rank = -(-len(self._hops_ns) * percent // 100)
        return sorted(self._hops_ns)[max(rank, 1) - 1]


class FaultWindow:
    """Which of the last messages had a fault: often is 3 of 10, so one bad frame is no state."""

    _SIZE = 10
    _OFTEN = 3

    def __init__(self) -> None:
        self._faults: deque[bool] = deque(maxlen=self._SIZE)

    def add(self, is_fault: bool) -> None:
        self._faults.append(is_fault)

    def is_often(self) -> bool:
        return sum(self._faults) >= self._OFTEN

    def __str__(self) -> str:
        return f"{sum(self._faults)} of the last {len(self._faults)} messages"


class Repeats:
    """How often, and for how long, a value has stayed the same while messages kept coming."""

    STUCK_MESSAGES = 5
    STUCK_NS = NS_PER_S // 2

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.value: int | None = None
        self.count = 0
        self.for_ns = 0
        self._since_ns = 0

    def add(self, value: int, recv_ns: int) -> None:
        if value != self.value:
            self.value, self.count, self._since_ns = value, 0, recv_ns
        self.count += 1
        self.for_ns = recv_ns - self._since_ns

    def is_stuck(self) -> bool:
        """Both many and long: a burst of equal frames read from a backlog is no proof."""
        return self.count >= self.STUCK_MESSAGES and self.for_ns >= self.STUCK_NS
