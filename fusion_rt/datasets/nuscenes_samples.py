"""Reads nuScenes samples with their boxes: from the data set's tables, or MMDetection3D's lists.

One frame per sample: LIDAR_TOP and CAM_FRONT of the key frame. Tables hold boxes in the world,
lists in the LiDAR's own axes; lists say neither visibility nor the motion between the two sensors.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import msgspec
import numpy as np

from fusion_rt.datasets.annotated import AnnotatedBox, AnnotatedFrame, count_points, sweep_of
from fusion_rt.datasets.nuscenes import (
    INTENSITY_MAX,
    NS_PER_US,
    Recording,
    read_infos,
    read_scan,
    read_scene,
    scene_names,
    tables_folder,
)
from fusion_rt.errors import DatasetError
from fusion_rt.geometry import Matrix, Pinhole, RigidTransform

CLASS_OF = {
    "car": "car",
    "truck": "truck",
    "bus": "truck",
    "trailer": "truck",
    "construction_vehicle": "truck",
    "pedestrian": "pedestrian",
    "bicycle": "cyclist",
    "motorcycle": "cyclist",
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.bus": "truck",
    "vehicle.trailer": "truck",
    "vehicle.construction": "truck",
    "vehicle.bicycle": "cyclist",
    "vehicle.motorcycle": "cyclist",
    "vehicle.emergency": "emergency",
    "human.pedestrian": "pedestrian",
}
"""By name in lists, by the beginning of the category in tables. Cones and barriers have none."""
_SHOWN = {"1": 0.2, "2": 0.5, "3": 0.7, "4": 0.9, "": 1.0}
"""By `visibility_token`: 0-40, 40-60, 60-80, 80-100 %."""


class _Instance(msgspec.Struct, frozen=True):
    bbox_3d: tuple[float, float, float, float, float, float, float]
    bbox_label_3d: int
    velocity: tuple[float, float]


class _AnnotatedInfo(msgspec.Struct, frozen=True):
    token: str
    instances: list[_Instance]


class _Meta(msgspec.Struct, frozen=True):
    categories: dict[str, int]


class _AnnotatedInfos(msgspec.Struct, frozen=True):
    metainfo: _Meta
    data_list: list[_AnnotatedInfo]


class _Annotation(msgspec.Struct, frozen=True):
    token: str
    sample_token: str
    instance_token: str
    translation: tuple[float, float, float]
    size: tuple[float, float, float]
    """Width, length, height."""
    rotation: tuple[float, float, float, float]
    prev: str = ""
    next: str = ""
    visibility_token: str = ""


class _Instances(msgspec.Struct, frozen=True):
    token: str
    category_token: str


class _Category(msgspec.Struct, frozen=True):
    token: str
    name: str


class _Sample(msgspec.Struct, frozen=True):
    token: str
    timestamp: int


def is_nuscenes_samples(path: Path) -> bool:
    return path.suffix == ".json" if path.is_file() else tables_folder(path) is not None


def read_nuscenes_frames(path: Path) -> Iterator[AnnotatedFrame]:
    """All samples of a list, or of every scene below a folder; raises DatasetError."""
    if path.is_file():
        yield from _of_list(path)
        return
    tables = tables_folder(path)
    if tables is None:
        raise DatasetError(str(path), "expected a folder v1.0-*, found none")
    annotations = _Annotations(tables)
    for scene in scene_names(tables):
        for sample, sensors in _by_sample(read_scene(tables, scene)).items():
            sweep, world_from_base = _pose(sensors, tables)
            yield _frame(sample, sensors, annotations.boxes(sample, world_from_base), sweep)


def _of_list(path: Path) -> Iterator[AnnotatedFrame]:
    infos = msgspec.convert(json.loads(path.read_bytes()), _AnnotatedInfos)  # NaN is no JSON
    names = {number: name for name, number in infos.metainfo.categories.items()}
    boxes = {info.token: info.instances for info in infos.data_list}
    for sample, sensors in _by_sample(read_infos(path)).items():
        sweep, _ = _pose(sensors, path)
        turned = sweep.base_from_sensor
        found = [
            (names[one.bbox_label_3d], _box_of_instance(one, turned), 1.0)
            for one in boxes[sample]
            if one.bbox_label_3d in names
        ]
        yield _frame(sample, sensors, found, sweep)


_Named = tuple[str, Matrix, float]


def _frame(
    sample: str, sensors: Sequence[Recording], boxes: Sequence[_Named], sweep: Recording
) -> AnnotatedFrame:
    (camera,) = [one for one in sensors if one.channel == "CAM_FRONT"]
    picture = cv2.imread(str(camera.file))
    if picture is None or camera.camera_matrix is None:
        raise DatasetError(str(camera.file), "expected a picture, found none that OpenCV reads")
    points = sweep_of(read_scan(sweep.file), INTENSITY_MAX)
    return AnnotatedFrame(
        name=sample,
        stamp_ns=sweep.stamp_ns,
        camera_ns=camera.stamp_ns,
        image=camera.file,
        pinhole=_pinhole(camera.camera_matrix, picture.shape[1], picture.shape[0]),
        base_from_camera=camera.base_from_sensor,
        base_from_lidar=sweep.base_from_sensor,
        points=points,
        boxes=tuple(
            AnnotatedBox(
                kind, _class_of(kind), box, count_points(points, sweep.base_from_sensor, box), shown
            )
            for kind, box, shown in boxes
        ),
        world_from_base=sweep.world_from_base,
        world_from_base_at_camera=camera.world_from_base,
    )


class _Annotations:
    """The boxes of all samples of a data set."""

    def __init__(self, tables: Path) -> None:
        rows = _rows(tables, "sample_annotation", list[_Annotation])
        self._all = {row.token: row for row in rows}
        self._of = defaultdict(list)
        for row in rows:
            self._of[row.sample_token].append(row)
        names = {row.token: row.name for row in _rows(tables, "category", list[_Category])}
        instances = _rows(tables, "instance", list[_Instances])
        self._kinds = {row.token: names[row.category_token] for row in instances}
        samples = _rows(tables, "sample", list[_Sample])
        self._times_ns = {row.token: row.timestamp * NS_PER_US for row in samples}

    def boxes(self, sample: str, world_from_base: RigidTransform) -> list[_Named]:
        """In `base` at the pose given."""
        base_from_world = world_from_base.inverse()
        found = []
        for row in self._of[sample]:
            place = base_from_world @ RigidTransform.from_quaternion(row.rotation, row.translation)
            velocity = base_from_world.rotation @ self._velocity_mps(row)
            width, length, height = row.size
            box = [*place.translation_m, length, width, height, place.yaw_rad, *velocity[:2]]
            found.append(
                (self._kinds[row.instance_token], np.array(box), _SHOWN[row.visibility_token])
            )
        return found

    def _velocity_mps(self, row: _Annotation) -> Matrix:
        """Between the annotations before and after, as far as there are any; else NaN."""
        first, last = self._all.get(row.prev, row), self._all.get(row.next, row)
        passed_ns = self._times_ns[last.sample_token] - self._times_ns[first.sample_token]
        if passed_ns == 0:
            return np.full(3, np.nan)
        moved_m: Matrix = np.array(last.translation) - np.array(first.translation)
        return moved_m * (1e9 / passed_ns)


def _by_sample(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
    found: dict[str, list[Recording]] = {}
    for one in recordings:
        if one.is_key_frame and one.channel in ("LIDAR_TOP", "CAM_FRONT"):
            found.setdefault(one.sample, []).append(one)
    return {sample: sensors for sample, sensors in found.items() if len(sensors) == 2}


def _pose(sensors: Sequence[Recording], path: Path) -> tuple[Recording, RigidTransform]:
    (sweep,) = [one for one in sensors if one.channel == "LIDAR_TOP"]
    if sweep.world_from_base is None:
        raise DatasetError(str(path), f"expected a pose of {sweep.file.name}, found none")
    return sweep, sweep.world_from_base


def _box_of_instance(instance: _Instance, base_from_lidar: RigidTransform) -> Matrix:
    x, y, z, length, width, height, yaw = instance.bbox_3d
    place = base_from_lidar @ RigidTransform.from_yaw(yaw, (x, y, z))
    velocity = base_from_lidar.rotation @ np.array([*instance.velocity, 0.0])
    return np.array([*place.translation_m, length, width, height, place.yaw_rad, *velocity[:2]])


def _pinhole(matrix: Matrix, width: int, height: int) -> Pinhole:
    fx, fy, cx, cy = (float(matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Pinhole(width=width, height=height, fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy)


def _class_of(kind: str) -> str | None:
    parts = kind.split(".")
    return CLASS_OF.get(kind) or CLASS_OF.get(".".join(parts[:2]))


R = TypeVar("R")


def _rows(tables: Path, name: str, kind: type[list[R]]) -> list[R]:
    path = tables / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DatasetError(str(path), f"expected a table; {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise DatasetError(str(path), f"expected a table of nuScenes; {error}") from error
