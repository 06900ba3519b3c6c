"""Percentiles of durations in bounded memory, at any step of the flow.

Buckets as in HDR histograms: linear inside each power of two, so that every value is known to one
part in 256, whether it is a microsecond or a minute. All of them are there from the start: a
histogram takes 80 kB and never more. Two histograms merge without loss.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

_DETAIL_BITS = 8  # 256 buckets per power of two: 0.4 %
_LINEAR = 2 << _DETAIL_BITS  # below this every value has its own bucket
MAX_NS = 2**46
"""About 19 hours; longer durations count as this."""


class Histogram:
    """Durations in nanoseconds. A negative one (clocks that disagree) counts as 0, and is told."""

    def __init__(self) -> None:
        self.count = 0
        self.negative = 0
        """How many were below 0."""
        self.min_ns = self.max_ns = self.sum_ns = 0
        # Written, not np.zeros: pages that are only promised come one by one, and look like a leak.
        self._buckets = np.full(_bucket(MAX_NS) + 1, 0, np.int64)

    def add(self, value_ns: int) -> None:
        if value_ns < 0:
            self.negative += 1
            value_ns = 0
        value_ns = min(value_ns, MAX_NS)
        self.min_ns = value_ns if self.count == 0 else min(self.min_ns, value_ns)
        self.max_ns = max(self.max_ns, value_ns)
        self.sum_ns += value_ns
        self.count += 1
        self._buckets[_bucket(value_ns)] += 1

    def merge(self, other: "Histogram") -> None:
        """Take in all that `other` counted."""
        if other.count:
            self.min_ns = min(self.min_ns, other.min_ns) if self.count else other.min_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self.sum_ns += other.sum_ns
        self.count += other.count
        self.negative += other.negative
        self._buckets += other._buckets

    def percentile_ns(self, percent: float) -> int | None:
        """The smallest value that `percent` of all do not exceed; None when there are none."""
        if not self.count:
            return None
        rank = max(1, math.ceil(percent / 100 * self.count))
        bucket = int(np.searchsorted(np.cumsum(self._buckets), rank))
        return min(_highest(bucket), self.max_ns)

    def at_most(self, bounds_ns: Sequence[int]) -> list[int]:
        """How many did not exceed each of the bounds, to the width of a bucket."""
        reached = np.cumsum(self._buckets)
        return [int(reached[_bucket(min(max(bound, 0), MAX_NS))]) for bound in bounds_ns]

    def curve(self) -> Iterator[tuple[int, int]]:
        """Each value that occurred, with the number of durations up to it; ascending."""
        reached = np.cumsum(self._buckets)
        for bucket in np.flatnonzero(self._buckets).tolist():
            yield min(_highest(bucket), self.max_ns), int(reached[bucket])

    def copy(self) -> "Histogram":
        """Another one with the same content."""
        other = Histogram()
        other.merge(self)
        return other


class RecentValues:
    """The durations of the last `window_ns`, exactly; at most `limit` of them."""

    def __init__(self, window_ns: int, limit: int = 4096) -> None:
        self._window_ns = window_ns
        self._limit = limit
        self._values: deque[tuple[int, int]] = deque()
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, now_ns: int, value_ns: int) -> None:
        self._values.append((now_ns, value_ns))
        insort(self._sorted, value_ns)
        oldest_ns = now_ns - self._window_ns
        while self._values[0][0] < oldest_ns or len(self._values) > self._limit:
            _, gone_ns = self._values.popleft()
            del self._sorted[bisect_left(self._sorted, gone_ns)]

    def percentile_ns(self, percent: float) -> int | None:
        """The smallest value that `percent` of them do not exceed; None when there are none."""
        if not self._sorted:
            return None
        rank = max(1, math.ceil(percent / 100 * len(self._sorted)))
        return self._sorted[rank - 1]


def _bucket(value_ns: int) -> int:
    if value_ns < _LINEAR:
        return value_ns
    shift = value_ns.bit_length() - _DETAIL_BITS - 1
    return (shift << _DETAIL_BITS) + (value_ns >> shift)


def _highest(bucket: int) -> int:
    """The largest value that falls into the bucket."""
    if bucket < _LINEAR:
        return bucket
    shift = (bucket >> _DETAIL_BITS) - 1
    mantissa = bucket - (shift << _DETAIL_BITS)
    return ((mantissa + 1) << shift) - 1
