"""Sync step: the five ways a stream is matched to a reference time.

A mode answers three questions: how far ahead of the reference must the stream have come, is the
newest message already proven to be the best, and what is the member.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from fusion_rt.clock import NS_PER_MS
from fusion_rt.sync.frame_set import Member, Part, Quality, StreamSpec
from fusion_rt.sync.stream_buffer import Sample, StreamBuffer

GRID_SLACK_NS = 10 * NS_PER_MS
"""A coming message may lie this far off the place where the period puts it."""


class Matcher(Protocol):
    """One mode with the numbers of its stream."""

    lookback_ns: int
    """A message older than the reference by more than this is of no use to it."""
    ahead_ns: int
    """A newest message this far past the reference settles the stream."""

    def is_proven(self, behind_ns: int, gap_ns: int) -> bool:
        """Nothing better can follow a newest message `behind_ns` before what is wanted.

        `gap_ns` is the least distance of the next message; 0 proves nothing.
        """
        ...

    def wanted_step(self, behind_ns: int, period_ns: int, most: int) -> int:
        """How many periods after the newest message the awaited one lies, at most `most`.

        Below 1: none that can still come is of use.
        """
        ...

    def pick(self, buffer: StreamBuffer, reference_ns: int, now_ns: int) -> Member | None:
        """The member, its samples marked used; None when nothing is near enough."""
        ...


class Nearest:
    """The message nearest to the reference, inside the tolerance on either side."""

    def __init__(self, spec: StreamSpec, period_ns: int) -> None:  # noqa: ARG002
        self.tolerance_ns = self.lookback_ns = spec.tolerance_ns
        self.ahead_ns = 0

    def is_proven(self, behind_ns: int, gap_ns: int) -> bool:
        return 2 * behind_ns <= gap_ns

    def wanted_step(self, behind_ns: int, period_ns: int, most: int) -> int:
        reach_ns = self.tolerance_ns + min(period_ns // 4, GRID_SLACK_NS)
        if behind_ns <= self.tolerance_ns:
            nearest = max(1, (2 * behind_ns + period_ns) // (2 * period_ns))
            return min(nearest, most) if nearest * period_ns - behind_ns <= reach_ns else 0
        # The one expected may be lost; the last one inside the tolerance would still do.
        last = min((behind_ns + reach_ns) // period_ns, most)
        return last if behind_ns - last * period_ns <= reach_ns else 0

    def pick(self, buffer: StreamBuffer, reference_ns: int, now_ns: int) -> Member | None:
        sample = buffer.nearest(reference_ns)
        if sample is None or abs(sample.time_ns - reference_ns) > self.tolerance_ns:
            return None
        quality: Quality = "exact" if sample.time_ns == reference_ns else "nearest"
        return _member(buffer, sample, reference_ns, now_ns, quality)


class AtHand(Nearest):
    """The message nearest to the reference among those that have come; never waited for."""

    def is_proven(self, behind_ns: int, gap_ns: int) -> bool:  # noqa: ARG002
        return True


class LatestBefore:
    """The newest message at or before the reference, held for the tolerance at most."""

    def __init__(self, spec: StreamSpec, period_ns: int) -> None:  # noqa: ARG002
        self.lookback_ns = spec.tolerance_ns
        self.ahead_ns = 0

    def is_proven(self, behind_ns: int, gap_ns: int) -> bool:
        return behind_ns < gap_ns

    def wanted_step(self, behind_ns: int, period_ns: int, most: int) -> int:
        return min(max(1, behind_ns // period_ns), most)

    def pick(self, buffer: StreamBuffer, reference_ns: int, now_ns: int) -> Member | None:
        place = buffer.before(reference_ns)
        if place < 0 or reference_ns - buffer.times[place] > self.lookback_ns:
            return None
        sample = buffer.samples[place]
        quality: Quality = "exact" if sample.time_ns == reference_ns else "held"
        return _member(buffer, sample, reference_ns, now_ns, quality)


class Interpolate:
    """The two messages around the reference; one side alone is held for the tolerance."""

    def __init__(self, spec: StreamSpec, period_ns: int) -> None:
        self.tolerance_ns = spec.tolerance_ns
        self.widest_ns = period_ns * 3 // 2
        self.lookback_ns = max(spec.tolerance_ns, self.widest_ns)
        self.ahead_ns = 0

    def is_proven(self, behind_ns: int, gap_ns: int) -> bool:  # noqa: ARG002
        return False

    def wanted_step(self, behind_ns: int, period_ns: int, most: int) -> int:
        return min(-(-behind_ns // period_ns), most)

    def pick(self, buffer: StreamBuffer, reference_ns: int, now_ns: int) -> Member | None:
        place = buffer.before(reference_ns)
        around = buffer.samples[max(place, 0) : place + 2]
        if len(around) == 2 and around[1].time_ns - around[0].time_ns <= self.widest_ns:
            quality: Quality = "exact" if around[0].time_ns == reference_ns else "interpolated"
            return _with_parts(buffer, around, reference_ns, now_ns, quality)
        nearest = buffer.nearest(reference_ns)
        if nearest is None or abs(nearest.time_ns - reference_ns) > self.tolerance_ns:
            return None
        if nearest.time_ns == reference_ns:
            return _member(buffer, nearest, reference_ns, now_ns, "exact")
        held = buffer.samples[max(place - 1, 0) : place + 1] or [nearest]
        return _with_parts(buffer, held, reference_ns, now_ns, "held")


class Window:
    """Every chunk that overlaps the window around the reference; a chunk lasts one period."""

    def __init__(self, spec: StreamSpec, period_ns: int) -> None:
        self.period_ns = period_ns
        self.before_ns, self.after_ns = spec.window_ns
        self.lookback_ns = self.before_ns + period_ns
        self.ahead_ns = self.after_ns - period_ns

    def is_proven(self, behind_ns: int, gap_ns: int) -> bool:  # noqa: ARG002
        return False

    def wanted_step(self, behind_ns: int, period_ns: int, most: int) -> int:
        return min(-(-behind_ns // period_ns), most)

    def pick(self, buffer: StreamBuffer, reference_ns: int, now_ns: int) -> Member | None:
        begin_ns, end_ns = reference_ns - self.before_ns, reference_ns + self.after_ns
        first = buffer.before(begin_ns - self.period_ns) + 1
        chunks = buffer.samples[first : buffer.before(end_ns) + 1]
        if not chunks:
            return None
        slack_ns = self.period_ns // 2
        edges = [begin_ns, *(chunk.time_ns for chunk in chunks), end_ns]
        gaps = [edges[1] - edges[0], *_gaps(edges[1:], self.period_ns)]
        is_whole = all(gap_ns <= slack_ns for gap_ns in gaps)
        return _with_parts(buffer, chunks, reference_ns, now_ns, "exact" if is_whole else "held")


def _gaps(starts_ns: Sequence[int], period_ns: int) -> list[int]:
    """Silence between each chunk's end and the next start."""
    return [b - a - period_ns for a, b in pairwise(starts_ns)]


def _member(
    buffer: StreamBuffer, sample: Sample, reference_ns: int, now_ns: int, quality: Quality
) -> Member:
    buffer.use(sample)
    time_ns = sample.time_ns
    return Member(
        sample.stamp_ns, sample.payload, time_ns - reference_ns, now_ns - time_ns, quality
    )


def _with_parts(
    buffer: StreamBuffer,
    samples: Sequence[Sample],
    reference_ns: int,
    now_ns: int,
    quality: Quality,
) -> Member:
    for sample in samples:
        buffer.use(sample)
    parts = tuple(Part(s.stamp_ns, s.payload, s.time_ns - reference_ns) for s in samples)
    nearest = min(samples, key=lambda sample: abs(sample.time_ns - reference_ns))
    time_ns = nearest.time_ns
    return Member(
        nearest.stamp_ns,
        nearest.payload,
        time_ns - reference_ns,
        now_ns - time_ns,
        quality,
        parts=parts,
    )


MATCHERS: dict[str, type[Nearest | AtHand | LatestBefore | Interpolate | Window]] = {
    "nearest": Nearest,
    "at_hand": AtHand,
    "latest_before": LatestBefore,
    "interpolate": Interpolate,
    "window": Window,
}
