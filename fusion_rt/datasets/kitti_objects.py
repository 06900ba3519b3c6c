"""Reads frames of KITTI's object benchmark with their labels (`training/label_2`).

Labels are in the rectified frame of camera 0: x right, y down, z ahead; the place is the middle of
the bottom, the angle turns about y. What the camera does not show is not labelled.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fusion_rt.clock import NS_PER_MS
from fusion_rt.datasets.annotated import AnnotatedBox, AnnotatedFrame, count_points, sweep_of
from fusion_rt.datasets.kitti import (
    BASE_FROM_LIDAR,
    KittiCalibration,
    read_object_calibration,
    read_scan,
)
from fusion_rt.errors import DatasetError
from fusion_rt.geometry import Matrix

CAMERA = 2
CLASS_OF = {
    "Car": "car",
    "Van": "car",
    "Truck": "truck",
    "Pedestrian": "pedestrian",
    "Person_sitting": "pedestrian",
    "Cyclist": "cyclist",
}
"""Tram and Misc have no class of ours; DontCare has no place."""
_FRAME_NS = 100 * NS_PER_MS
_NO_BOX = "DontCare"
_SHOWN = {0: 1.0, 1: 0.6, 2: 0.3, 3: 0.3}
"""By the label's `occluded`: fully visible, partly, largely occluded, unknown."""


def is_kitti_training(folder: Path) -> bool:
    return (folder / "label_2").is_dir() and (folder / "velodyne").is_dir()


def read_kitti_frames(folder: Path) -> Iterator[AnnotatedFrame]:
    """All labelled frames of a `training` folder, by number; raises DatasetError."""
    labels = sorted((folder / "label_2").glob("*.txt"))
    if not labels:
        raise DatasetError(str(folder), "expected label_2/*.txt, found none")
    for path in labels:
        yield _frame(folder, path)


def _frame(folder: Path, labels: Path) -> AnnotatedFrame:
    name = labels.stem
    calibration = read_object_calibration(folder / "calib" / f"{name}.txt")
    points = sweep_of(read_scan(folder / "velodyne" / f"{name}.bin"), 1.0)
    image = folder / f"image_{CAMERA}" / f"{name}.png"
    picture = cv2.imread(str(image))
    if picture is None:
        raise DatasetError(str(image), "expected a picture, found none that OpenCV reads")
    boxes = [
        labelled
        for number, line in enumerate(labels.read_text().splitlines(), start=1)
        if (labelled := _box(f"{labels}:{number}", line, calibration)) is not None
    ]
    stamp_ns = (int(name) if name.isdigit() else 0) * _FRAME_NS
    return AnnotatedFrame(
        name=name,
        stamp_ns=stamp_ns,
        camera_ns=stamp_ns,
        image=image,
        pinhole=calibration.pinhole(CAMERA, picture.shape[1], picture.shape[0]),
        base_from_camera=calibration.base_from_camera(CAMERA),
        base_from_lidar=BASE_FROM_LIDAR,
        points=points,
        boxes=tuple(
            AnnotatedBox(
                kind, CLASS_OF.get(kind), box, count_points(points, BASE_FROM_LIDAR, box), shown
            )
            for kind, box, shown in boxes
        ),
    )


def _box(where: str, line: str, calibration: KittiCalibration) -> tuple[str, Matrix, float] | None:
    """Kind, box and share shown; None where the line has no box."""
    kind, *fields = line.split() or [_NO_BOX]
    if kind == _NO_BOX:
        return None
    try:
        numbers = [float(field) for field in fields]
        _, occluded, _, _, _, _, _, height, width, length, x, y, z, turn = numbers[:14]
    except ValueError as error:
        problem = f"expected a class and 14 numbers, got {line!r} ({error})"
        raise DatasetError(where, problem) from error
    base_from_rectified = BASE_FROM_LIDAR @ calibration.rectified_from_lidar.inverse()
    middle = base_from_rectified.apply(np.array([x, y - height / 2, z]))
    ahead = base_from_rectified.rotation @ np.array([math.cos(turn), 0.0, -math.sin(turn)])
    yaw_rad = math.atan2(ahead[1], ahead[0])
    box = np.array([*middle, length, width, height, yaw_rad, np.nan, np.nan])
    return kind, box, _SHOWN.get(int(occluded), 1.0)
