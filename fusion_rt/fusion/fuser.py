"""Fuse step: what is ready of one set becomes the published answer. No threads.

The graph answers at the anchor time (the LiDAR's, else the camera's, else the reference's); boxes
are moved from there to the reference time by our own motion and by theirs.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fusion_rt.arrays import Floats
from fusion_rt.clock import NS_PER_S
from fusion_rt.errors import FusionError
from fusion_rt.fusion.core import FusionSet
from fusion_rt.fusion.ego_motion import EgoMotion
from fusion_rt.fusion.encoding import SHED, Item
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.fusion.tracker import Tracker
from fusion_rt.geometry import RigidTransform
from fusion_rt.messages import DetectionMember, Detections, Mode, Siren, WorldPose
from fusion_rt.model_file import STREAM_KINDS
from fusion_rt.perception import Answer, Features, Perception

_SIGHT = ("lidar", "camera")
"""Streams that can place something, the one that sets the anchor time first."""
_VELOCITY = slice(7, 9)
_NOTHING = Answer(
    boxes=np.zeros((0, 9), np.float32),
    scores=np.zeros(0, np.float32),
    labels=np.zeros(0, np.int32),
    contributions=None,
    siren=None,
)


class Fuser:
    """Runs the fusion graph over sets, in their order."""

    def __init__(self, plan: FusionPlan, perception: Perception) -> None:
        self._perception = perception
        self._file = perception.model.file
        self._topics = {stream.kind: stream.topic for stream in plan.streams}
        tracker = plan.options.tracker
        self._tracker = Tracker(tracker) if tracker.enabled else None

    def answer(
        self,
        fusion_set: FusionSet,
        items: Mapping[str, Item],
        reasons: Mapping[str, str],
        motion: EgoMotion,
    ) -> Detections:
        """The answer of one set from `items`, by topic, all of them ready.

        `reasons`: why a topic whose header is in the set is not among them.
        """
        failure = ""
        try:
            found = self._fused(fusion_set, items, motion)
        except (FusionError, ValueError) as error:
            found, failure = _NOTHING, f"the fusion graph failed: {error}"
        return self._published(fusion_set, items, reasons, motion, found, failure)

    def predicted(self, fusion_set: FusionSet, motion: EgoMotion) -> Detections:
        """The answer of a set that is not fused: where everything was heading."""
        reasons = dict.fromkeys(self._topics.values(), SHED)
        return self._published(fusion_set, {}, reasons, motion, None, "")

    def _fused(self, fusion_set: FusionSet, items: Mapping[str, Item], motion: EgoMotion) -> Answer:
        by_kind = {item.kind: item for item in items.values()}
        times_ns = {kind: _time_ns(fusion_set, item) for kind, item in by_kind.items()}
        anchor_ns = next((times_ns[k] for k in _SIGHT if k in times_ns), fusion_set.time_ns)
        ego = None
        if (fix_ns := self._fix_ns(fusion_set)) is not None:
            ego, times_ns["gps"] = motion.vector(anchor_ns), fix_ns
        features: dict[str, Features] = {
            kind: item.features for kind, item in by_kind.items() if item.features is not None
        }
        if not features:
            return _NOTHING
        shot_ns = times_ns.get("camera", anchor_ns)
        answer = self._perception.fuse(
            features,
            ego=ego,
            ages_s={kind: (anchor_ns - at_ns) / NS_PER_S for kind, at_ns in times_ns.items()},
            shot_from_anchor=motion.later_from_earlier(anchor_ns, shot_ns),
        )
        if not any(kind in features for kind in _SIGHT):  # nothing can place a thing by ear
            return _without_boxes(answer)
        least = self._file.thresholds.of(self._mode_of(set(times_ns)))
        return self._moved(answer, least, fusion_set, anchor_ns, motion)

    def _mode_of(self, present: set[str]) -> Mode:
        """What is in this very set: the rig's mode recovers only after a while."""
        sights = {kind for kind in _SIGHT if kind in self._topics}
        if not sights & present:
            return "BLIND"
        if not sights <= present:
            return "MINIMAL"
        return "NORMAL" if present >= self._topics.keys() else "DEGRADED"

    def _fix_ns(self, fusion_set: FusionSet) -> int | None:
        topic = self._topics.get("gps")
        return None if topic is None else fusion_set.member_ns(topic)

    def _moved(
        self,
        answer: Answer,
        least: float,
        fusion_set: FusionSet,
        anchor_ns: int,
        motion: EgoMotion,
    ) -> Answer:
        """What has at least this score, at the reference time."""
        is_kept = answer.scores >= least
        is_kept &= np.isfinite(answer.boxes).all(axis=1)
        is_kept &= (answer.labels >= 0) & (answer.labels < len(self._file.classes))
        boxes = answer.boxes[is_kept]
        passed_s = (fusion_set.time_ns - anchor_ns) / NS_PER_S
        boxes[:, :2] += boxes[:, _VELOCITY] * np.float32(passed_s)
        boxes = moved_boxes(boxes, motion.later_from_earlier(anchor_ns, fusion_set.time_ns))
        parts = answer.contributions
        return Answer(
            boxes=boxes,
            scores=answer.scores[is_kept],
            labels=answer.labels[is_kept],
            contributions=None if parts is None else parts[is_kept],
            siren=answer.siren,
        )

    def _published(
        self,
        fusion_set: FusionSet,
        items: Mapping[str, Item],
        reasons: Mapping[str, str],
        motion: EgoMotion,
        fused: Answer | None,
        failure: str,
    ) -> Detections:
        """`fused` None: nobody looked."""
        found = fused or _NOTHING
        boxes, scores = found.boxes, found.scores
        class_ids = found.labels.astype(np.uint8)
        source = np.arange(len(boxes))
        track_ids = is_predicted = None
        if self._tracker is not None:
            before_ns = self._tracker.time_ns or fusion_set.time_ns
            moved = motion.later_from_earlier(before_ns, fusion_set.time_ns)
            if fused is None:
                tracked = self._tracker.coast(fusion_set.time_ns, moved)
            else:
                tracked = self._tracker.update(boxes, scores, class_ids, fusion_set.time_ns, moved)
            boxes, scores, class_ids = tracked.boxes, tracked.scores, tracked.class_ids
            track_ids, is_predicted, source = (
                tracked.track_ids,
                tracked.is_predicted,
                tracked.source,
            )
        world = motion.world_pose(fusion_set.time_ns)
        return Detections(
            stamp_ns=fusion_set.time_ns,
            boxes=boxes,
            scores=scores,
            class_ids=class_ids,
            contributions=self._contributions(found.contributions, source),
            track_ids=track_ids,
            is_predicted=is_predicted,
            boxes_world=None if world is None else moved_boxes(boxes, world_from_base(world)),
            classes=self._file.classes,
            mode=fusion_set.mode.mode,
            mode_reasons=fusion_set.mode.reasons,
            members=tuple(self._members(fusion_set, items, reasons)),
            world=world,
            siren=self._siren(found, items),
            failure=failure,
        )

    def _contributions(self, parts: Floats | None, source: npt.NDArray[np.int64]) -> Floats | None:
        """Shares of the streams that there are, in the order of `members`; 0 for a prediction."""
        if parts is None:
            return None
        columns = [STREAM_KINDS.index(kind) for kind in self._topics]
        with_none = np.vstack([parts, np.zeros((1, len(STREAM_KINDS)), np.float32)])
        return np.ascontiguousarray(with_none[source][:, columns], np.float32)

    def _members(
        self, fusion_set: FusionSet, items: Mapping[str, Item], reasons: Mapping[str, str]
    ) -> list[DetectionMember]:
        return [
            self._member(kind, topic, fusion_set, items.get(topic), reasons)
            for kind, topic in self._topics.items()
        ]

    def _member(
        self,
        kind: str,
        topic: str,
        fusion_set: FusionSet,
        item: Item | None,
        reasons: Mapping[str, str],
    ) -> DetectionMember:
        member = fusion_set.frame_set.members[topic]
        if absence := fusion_set.absence(topic):
            return DetectionMember(topic, "missing", absence)
        if item is None and kind != "gps":
            return DetectionMember(topic, "missing", reasons.get(topic, "not encoded"))
        if item is None or item is member.payload:
            return DetectionMember(topic, member.quality, "", member.stamp_ns, member.age_ns)
        age_ns = fusion_set.frame_set.closed_ns - _time_ns(fusion_set, item)
        return DetectionMember(topic, "held", "", item.stamp_ns, age_ns)

    def _siren(self, found: Answer, items: Mapping[str, Item]) -> Siren | None:
        if found.siren is None or not any(item.kind == "audio" for item in items.values()):
            return None
        probability, cosine, sine = (float(value) for value in found.siren)
        return Siren(
            probability=probability,
            is_heard=probability >= self._file.siren_threshold,
            bearing_rad=math.atan2(sine, cosine),
        )


def moved_boxes(boxes: Floats, target_from_source: RigidTransform) -> Floats:
    """(N, 9) boxes in other coordinates; the transform turns about z only."""
    moved = boxes.copy()
    moved[:, :3] = target_from_source.apply(boxes[:, :3].astype(np.float64))
    moved[:, 6] = np.remainder(boxes[:, 6] + target_from_source.yaw_rad + np.pi, 2 * np.pi) - np.pi
    moved[:, _VELOCITY] = boxes[:, _VELOCITY] @ target_from_source.rotation[:2, :2].T
    return moved


def world_from_base(world: WorldPose) -> RigidTransform:
    return RigidTransform.from_yaw(world.yaw_rad, (world.x_m, world.y_m, world.z_m))


def _time_ns(fusion_set: FusionSet, item: Item) -> int:
    """When it was measured, at its end; clocks corrected as far as the set knows them."""
    member = fusion_set.frame_set.members[item.topic]
    at_ns = fusion_set.member_ns(item.topic)
    if at_ns is None or member.stamp_ns is None:
        return item.stamp_ns + item.lasts_ns
    return at_ns + (item.stamp_ns - member.stamp_ns) + item.lasts_ns


def _without_boxes(answer: Answer) -> Answer:
    return Answer(
        boxes=_NOTHING.boxes,
        scores=_NOTHING.scores,
        labels=_NOTHING.labels,
        contributions=None,
        siren=answer.siren,
    )
