"""Encode step: the features that are ready, for sets whose own frame did not get through."""

from collections import deque
from collections.abc import Mapping, Sequence

from fusion_rt.fusion.core import FusionSet
from fusion_rt.fusion.encoding import Item
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.latency.frame import Frame

_KEPT = 6


class Shelf:
    """The newest ready items of each topic. `put` and `find` may be called from any thread."""

    def __init__(self, plan: FusionPlan) -> None:
        self._tolerances_ns = {stream.topic: stream.tolerance_ns for stream in plan.streams}
        self._items: dict[str, deque[Item]] = {
            stream.topic: deque(maxlen=_KEPT) for stream in plan.streams
        }

    def put(self, item: Item) -> None:
        self._items[item.topic].append(item)

    def find(self, fusion_set: FusionSet, topic: str) -> Item | None:
        """The ready item nearest to the reference, inside the stream's tolerance."""
        member = fusion_set.frame_set.members[topic]
        if member.stamp_ns is None or member.error_ns is None:
            return None
        target_ns = member.stamp_ns - member.error_ns  # the reference, by this stream's clock
        nearest = min(
            list(self._items[topic]),
            key=lambda item: abs(item.stamp_ns - target_ns),
            default=None,
        )
        if nearest is None or abs(nearest.stamp_ns - target_ns) > self._tolerances_ns[topic]:
            return None
        return nearest


def tokens(fusion_set: FusionSet) -> dict[str, Item]:
    """The items of the set's members that are to be fused, by topic."""
    return {
        topic: member.payload
        for topic, member in fusion_set.frame_set.members.items()
        if isinstance(member.payload, Item)
        and member.payload.kind != "gps"
        and topic not in fusion_set.frozen
    }


def used_frames(fusion_set: FusionSet, items: Mapping[str, Item]) -> dict[str, Sequence[Frame]]:
    """The ledger's frames of all that an answer is made of, by topic."""
    frames = {topic: item.frames for topic, item in items.items()}
    for topic, member in fusion_set.frame_set.members.items():
        if isinstance(member.payload, Item) and member.payload.kind == "gps":
            frames[topic] = member.payload.frames
    return frames


def choose(fusion_set: FusionSet, shelf: Shelf) -> tuple[dict[str, Item], dict[str, str]]:
    """The ready items to fuse, by topic, and why a topic that is in the set has none."""
    items, reasons = {}, {}
    for topic, item in tokens(fusion_set).items():
        ready = item if item.state == "ready" else shelf.find(fusion_set, topic)
        if ready is not None:
            items[topic] = ready
        else:
            reasons[topic] = item.reason or "still being encoded when the answer was due"
    return items, reasons
