"""Asks a model about moments: encodes each sensor once, fuses once per set of sensors.

Everything goes through `fusion_rt.perception`, with what a rig would know: stamps, calibration and
fixes. Where something is and how we truly moved is for the scores only.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.evaluation.matching import Bools, Outcome
from fusion_rt.evaluation.siren import Hearing
from fusion_rt.evaluation.subsets import Subset
from fusion_rt.fusion.ego_motion import EgoMotion, Twist
from fusion_rt.model.moments import Label, Moment, transform_from_mount
from fusion_rt.model_file import BoxRange
from fusion_rt.perception import Answer, Features, Mounts, Perception
from fusion_rt.sim.models import CLASSES
from fusion_rt.sim.truth import is_seen_by_camera, is_seen_by_lidar

LEAST_SCORE = 0.01
"""What scores less is no detection; graphs fill their fixed number of rows with such."""
FAR_M = 30.0
FOG_M = 400.0
_OCCLUDED = 0.5
_EVERYWHERE = BoxRange(x_min_m=0, y_min_m=-25.6, x_max_m=51.2, y_max_m=25.6)


class Case(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One moment, answered from one set of sensors."""

    outcome: Outcome
    """Asks for what the sensors present see."""
    asked_of_all: Bools
    """Per truth: whether camera or LiDAR sees it, present or not."""
    is_occluded: Bools
    """Per truth: less than half of it shows to the camera."""
    weather: frozenset[str]
    """Of `night`, `rain`, `fog`."""

    def asked_for_all(self) -> "Case":
        """The same, when what none of the sensors present sees is a miss too."""
        replace = msgspec.structs.replace
        return replace(self, outcome=replace(self.outcome, is_asked=self.asked_of_all))


class Encoded(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the encoders make of one moment."""

    camera: Features | None
    audio: Features | None
    lidar_moving: Features | None
    """De-skewed by the motion that the fixes tell."""
    lidar_still: Features | None


class Asker:
    """A model, asked about one moment after another."""

    def __init__(self, perception: Perception) -> None:
        self._perception = perception
        self._classes = perception.model.file.classes
        self._range = perception.model.file.box_range or _EVERYWHERE

    def encode(self, moment: Moment) -> Encoded:
        """Mount the model as the moment's rig is, and run its encoders."""
        kinds = self._perception.model.file.kinds
        self._perception.mount(mounts_of(moment))
        image = moment.image if "camera" in kinds else None
        twist = motion_of(moment).twist(moment.anchor_ns) or Twist()
        has_lidar, run = "lidar" in kinds, self._perception
        return Encoded(
            camera=None
            if image is None
            else run.encode_camera(image, "bgr8", image.shape[1], image.shape[0]),
            audio=run.encode_audio(moment.samples) if "audio" in kinds else None,
            lidar_moving=run.encode_lidar(moment.sweep, twist.linear_mps, twist.angular_radps)
            if has_lidar and "gps" in kinds
            else None,
            lidar_still=run.encode_lidar(moment.sweep) if has_lidar else None,
        )

    def answer(self, moment: Moment, encoded: Encoded, subset: Subset) -> Answer:
        """What the model says if only these sensors are there."""
        anchor_ns = anchor_of(moment, subset)
        fixes = [fix for fix in moment.fixes if fix.stamp_ns <= anchor_ns]
        motion = motion_of(moment) if "gps" in subset else None
        features = {
            kind: tensors
            for kind, tensors in (
                ("camera", encoded.camera),
                ("lidar", encoded.lidar_moving if motion else encoded.lidar_still),
                ("audio", encoded.audio),
            )
            if kind in subset and tensors is not None
        }
        stamps_ns = {
            "camera": moment.camera_ns,
            "lidar": moment.anchor_ns,
            "audio": moment.audio_ns,
            "gps": fixes[-1].stamp_ns if fixes else anchor_ns,
        }
        return self._perception.fuse(
            features,
            ego=motion.vector(anchor_ns) if motion else None,
            ages_s={kind: (anchor_ns - stamps_ns[kind]) / NS_PER_S for kind in subset},
            shot_from_anchor=motion.later_from_earlier(anchor_ns, moment.camera_ns)
            if motion
            else None,
        )

    def case(self, moment: Moment, subset: Subset, answer: Answer) -> Case:
        """The answer beside the truth, in numbers of the model's classes."""
        labels = [
            label
            for label in (moment.labels if "lidar" in subset else moment.labels_at_camera)
            if CLASSES[label.class_id] in self._classes
        ]
        boxes = np.array([label.box for label in labels], np.float64).reshape(-1, 9)
        is_near = self._is_in_range(boxes)
        kept = answer.scores >= LEAST_SCORE
        return Case(
            outcome=Outcome(
                boxes=answer.boxes[kept],
                scores=answer.scores[kept],
                labels=answer.labels[kept],
                truth_boxes=boxes,
                truth_labels=np.array(
                    [self._classes.index(CLASSES[label.class_id]) for label in labels], np.int64
                ),
                is_asked=is_near & _claims(is_seen(label, subset) for label in labels),
            ),
            asked_of_all=is_near
            & _claims(is_seen(label, self._perception.model.file.kinds) for label in labels),
            is_occluded=_claims(label.pixels[0] < _OCCLUDED * label.pixels[1] for label in labels),
            weather=weather_of(moment),
        )

    def _is_in_range(self, boxes: npt.NDArray[np.float64]) -> Bools:
        limits = self._range
        x_m, y_m = boxes[:, 0], boxes[:, 1]
        inside: Bools = (x_m >= limits.x_min_m) & (x_m < limits.x_max_m)
        return inside & (y_m >= limits.y_min_m) & (y_m < limits.y_max_m)


def mounts_of(moment: Moment) -> Mounts:
    return Mounts(
        pinhole=moment.pinhole,
        base_from_camera=transform_from_mount(moment.base_from_camera),
        base_from_lidar=transform_from_mount(moment.base_from_lidar),
    )


def anchor_of(moment: Moment, subset: Subset) -> int:
    """The sweep's end; without LiDAR the picture's time."""
    return moment.camera_ns if "lidar" not in subset and "camera" in subset else moment.anchor_ns


def is_seen(label: Label, kinds: Sequence[str]) -> bool:
    """Whether one of these sensors sees enough of it for a miss to count."""
    by_camera = "camera" in kinds and is_seen_by_camera(label.pixels)
    return by_camera or ("lidar" in kinds and is_seen_by_lidar((label.points,)))


def hearing(moment: Moment, subset: Subset, answer: Answer) -> Hearing | None:
    """What was said of sirens; None without sound, or from a model without ears."""
    if "audio" not in subset or answer.siren is None:
        return None
    probability, cos, sin = answer.siren.tolist()
    sirens = sorted(moment.sirens, key=lambda heard: -heard.level_db)
    bearings = tuple(heard.bearing_rad for heard in sirens)
    return Hearing(probability, float(np.arctan2(sin, cos)), bearings)


def weather_of(moment: Moment) -> frozenset[str]:
    conditions = moment.conditions
    holds = {
        "night": conditions.is_night,
        "rain": conditions.rain_mm_h > 0,
        "fog": conditions.visibility_m < FOG_M,
    }
    return frozenset(name for name, is_so in holds.items() if is_so)


def motion_of(moment: Moment) -> EgoMotion:
    """What the fixes tell of our motion, as the fusion node takes it."""
    motion = EgoMotion()
    for fix in moment.fixes:
        motion.add(fix)
    return motion


def _claims(values: object) -> Bools:
    return np.array([*values], np.bool_)  # type: ignore[misc]
