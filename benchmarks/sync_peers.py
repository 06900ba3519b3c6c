"""Two ways people align streams today, behind the synchronizer's three calls.

`LatestValue` takes whatever is newest when the reference arrives. `ApproximateTime` follows the
rules of ROS message_filters' Python ApproximateTimeSynchronizer, written from its documented
behaviour: a queue per topic, on each message every other queue is searched for stamps within the
slop, nearest first, and the first combination spanning less than the slop leaves.
"""

from itertools import product
from typing import Any

from fusion_rt.sync.frame_set import FrameSet, Member


def _set(names: list[str], parts: dict[str, tuple[int, Any]], ref: int, now_ns: int) -> FrameSet:
    absent = Member(None, None, None, None, "missing", "not arrived")
    members = {
        name: Member(parts[name][0], parts[name][1], parts[name][0] - ref, 0, "nearest")
        if name in parts
        else absent
        for name in names
    }
    status = "complete" if len(parts) == len(names) else "partial"
    return FrameSet(ref, members, status, True, False, now_ns, now_ns, "arrival", "")


class LatestValue:
    """The newest of every stream, whatever its stamp; no waiting."""

    def __init__(self, names: list[str], reference: str) -> None:
        self._names = names
        self._reference = reference
        self._newest: dict[str, tuple[int, Any]] = {}

    def push(self, stream: str, stamp_ns: int, payload: Any, arrival_ns: int) -> list[FrameSet]:
        self._newest[stream] = (stamp_ns, payload)
        if stream != self._reference:
            return []
        return [_set(self._names, self._newest, stamp_ns, arrival_ns)]

    def advance(self, now_ns: int) -> list[FrameSet]:  # noqa: ARG002
        return []

    def next_deadline_ns(self) -> int | None:
        return None


class ApproximateTime:
    """Greedy matching of all topics within one slop; nothing comes out while a topic is silent."""

    def __init__(
        self, names: list[str], reference: str, queue_size: int = 10, slop_ns: int = 100_000_000
    ) -> None:
        self._names = names
        self._reference = reference
        self._queue_size = queue_size
        self._slop_ns = slop_ns
        self._queues: dict[str, dict[int, Any]] = {name: {} for name in names}

    def push(self, stream: str, stamp_ns: int, payload: Any, arrival_ns: int) -> list[FrameSet]:
        queue = self._queues[stream]
        queue[stamp_ns] = payload
        while len(queue) > self._queue_size:
            del queue[min(queue)]
        if stamp_ns not in queue:  # older than all that is queued: it was the one dropped
            return []
        others = [name for name in self._names if name != stream]
        near = [self._near(name, stamp_ns) for name in others]
        for stamps in product(*near):
            every = (*stamps, stamp_ns)
            if max(every) - min(every) < self._slop_ns:
                return [self._take(dict(zip((*others, stream), every, strict=True)), arrival_ns)]
        return []

    def _near(self, name: str, stamp_ns: int) -> list[int]:
        stamps = [s for s in self._queues[name] if abs(s - stamp_ns) <= self._slop_ns]
        return sorted(stamps, key=lambda s: abs(s - stamp_ns))

    def _take(self, stamps: dict[str, int], arrival_ns: int) -> FrameSet:
        parts = {name: (stamp, self._queues[name].pop(stamp)) for name, stamp in stamps.items()}
        return _set(self._names, parts, stamps[self._reference], arrival_ns)

    def advance(self, now_ns: int) -> list[FrameSet]:  # noqa: ARG002
        return []

    def next_deadline_ns(self) -> int | None:
        return None
