"""Frames of public data sets -> moments (fusion_rt.model.moments), for training and evaluation.

What a data set does not have stays empty: no fixes, silence, no sirens, velocity 0 where unknown.
So train and measure with camera and LiDAR only, and read no velocity error out of KITTI.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from fusion_rt.clock import NS_PER_S
from fusion_rt.datasets.annotated import AnnotatedBox, AnnotatedFrame
from fusion_rt.datasets.kitti_objects import is_kitti_training, read_kitti_frames
from fusion_rt.datasets.nuscenes_samples import is_nuscenes_samples, read_nuscenes_frames
from fusion_rt.errors import DatasetError
from fusion_rt.geometry import Matrix, RigidTransform
from fusion_rt.model.moments import (
    Conditions,
    Label,
    Moment,
    mount_from_transform,
    packed_image,
    packed_sweep,
)
from fusion_rt.preprocess.audio_features import AudioRecipe
from fusion_rt.sim.models import CLASSES
from fusion_rt.sim.samples import reduced

WIDTH = 448
"""Of pictures in moments, as simulated ones have it."""
_CLEAR_M = 20_000.0
_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Iterator[AnnotatedFrame]]], ...] = (
    (is_kitti_training, read_kitti_frames),
    (is_nuscenes_samples, read_nuscenes_frames),
)


def annotated_frames(path: Path) -> Iterator[AnnotatedFrame]:
    """All frames of a data set whose layout is known; raises DatasetError."""
    for is_it, read in _READERS:
        if is_it(path):
            return read(path)
    expected = "expected KITTI's `training`, nuScenes' folder or a list of MMDetection3D"
    raise DatasetError(str(path), f"{expected}, found none of them")


def moment_from_frame(frame: AnnotatedFrame, number: int) -> Moment:
    """A frame as a moment. `number` stands where simulated ones have their seed."""
    image = cv2.imread(str(frame.image))
    if image is None:
        raise DatasetError(str(frame.image), "expected a picture, found none that OpenCV reads")
    pinhole = reduced(frame.pinhole, WIDTH)
    smaller = cv2.resize(image, (pinhole.width, pinhole.height), interpolation=cv2.INTER_AREA)
    sound = AudioRecipe()
    ours = [box for box in frame.boxes if box.class_name is not None]
    at_camera = [_at_camera(frame, box.box) for box in ours]
    pixels = [_pixels(frame, box, there) for box, there in zip(ours, at_camera, strict=True)]
    return Moment(
        seed=number,
        anchor_ns=frame.stamp_ns,
        conditions=Conditions(is_night=False, rain_mm_h=0.0, visibility_m=_CLEAR_M),
        camera_ns=frame.camera_ns,
        audio_ns=frame.stamp_ns,
        jpeg=packed_image(np.asarray(smaller, np.uint8)),
        pinhole=pinhole,
        base_from_camera=mount_from_transform(frame.base_from_camera),
        base_from_lidar=mount_from_transform(frame.base_from_lidar),
        points=packed_sweep(frame.points),
        sound=bytes(2 * sound.samples * sound.channels),
        channels=sound.channels,
        fixes=[],
        ego=_ego(frame.world_from_base),
        ego_at_camera=_ego(frame.world_from_base_at_camera),
        labels=_labels(ours, [box.box for box in ours], pixels),
        labels_at_camera=_labels(ours, at_camera, pixels),
        sirens=[],
    )


def _labels(
    boxes: list[AnnotatedBox], places: list[Matrix], pixels: list[tuple[int, int]]
) -> list[Label]:
    return [
        Label(
            number,
            CLASSES.index(box.class_name or ""),
            tuple(np.nan_to_num(place).tolist()),
            seen,
            box.points,
        )
        for number, (box, place, seen) in enumerate(zip(boxes, places, pixels, strict=True))
    ]


def _at_camera(frame: AnnotatedFrame, box: Matrix) -> Matrix:
    """The box in `base` at the picture's time: it moved on, and so did we."""
    moved = box.copy()
    moved[:2] += np.nan_to_num(box[7:9]) * (frame.camera_ns - frame.stamp_ns) / NS_PER_S
    if frame.world_from_base is None or frame.world_from_base_at_camera is None:
        return moved
    shot_from_anchor = frame.world_from_base_at_camera.inverse() @ frame.world_from_base
    place = shot_from_anchor @ RigidTransform.from_yaw(float(moved[6]), moved[:3])
    moved[:3], moved[6] = place.translation_m, place.yaw_rad
    moved[7:9] = (shot_from_anchor.rotation @ np.array([*box[7:9], 0.0]))[:2]
    return moved


def _pixels(frame: AnnotatedFrame, box: AnnotatedBox, at_camera: Matrix) -> tuple[int, int]:
    """About how many pixels of the smaller picture show it, and would if nothing stood before it:
    those of the rectangle around its corners."""
    pinhole = reduced(frame.pinhole, WIDTH)
    signs = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)]) - 0.5
    base_from_box = RigidTransform.from_yaw(float(at_camera[6]), at_camera[:3])
    corners = frame.base_from_camera.inverse().apply(base_from_box.apply(signs * at_camera[3:6]))
    pixels = pinhole.project(corners)
    if np.isnan(pixels).any():
        return 0, 0
    edge = np.array([pinhole.width, pinhole.height]) - 0.5
    size = np.ptp(np.clip(pixels, -0.5, edge), axis=0)
    alone = float(size[0] * size[1])
    return round(box.shown * alone), round(alone)


def _ego(world_from_base: RigidTransform | None) -> tuple[float, ...]:
    """x, y, yaw, and no speed or turn: nobody says."""
    if world_from_base is None:
        return (0.0, 0.0, 0.0, 0.0, 0.0)
    x_m, y_m, _ = world_from_base.translation_m.tolist()
    return (x_m, y_m, world_from_base.yaw_rad, 0.0, 0.0)
