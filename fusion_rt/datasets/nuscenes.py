"""Reads nuScenes' tables and scans: which file each sensor made when, and where it sits.

Two forms: the data set's own tables (`v1.0-*/*.json`), one scene at a time, and the lists that
MMDetection3D 1.x makes of them, as JSON; its pickles are not read, they would run as programs.
The vehicle's frame is ours: x forward, y left, origin on the ground below the rear axle.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import DatasetError
from fusion_rt.geometry import Matrix, RigidTransform

NS_PER_US = 1000
FORWARD_FROM_RIGHT = RigidTransform(
    np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3)
)
"""nuScenes' lidar has x to the right and y forward; ours x forward and y left."""
INTENSITY_MAX = 255.0


class Recording(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One file that one sensor made."""

    channel: str
    """`CAM_FRONT`."""
    stamp_ns: int
    file: Path
    base_from_sensor: RigidTransform
    """Of the sensor's own axes."""
    camera_matrix: Matrix | None = None
    """(3, 3); None of what is no camera."""
    world_from_base: RigidTransform | None = None
    """At this stamp."""
    is_key_frame: bool = True
    sample: str = ""
    """Token of the sample that it belongs to."""


class _Row(msgspec.Struct, frozen=True):
    token: str


class _Scene(_Row, frozen=True):
    name: str


class _Sample(_Row, frozen=True):
    scene_token: str


class _SampleData(_Row, frozen=True):
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: int
    filename: str
    is_key_frame: bool


class _Pose(_Row, frozen=True):
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]

    def transform(self) -> RigidTransform:
        return RigidTransform.from_quaternion(self.rotation, self.translation)


class _CalibratedSensor(_Pose, frozen=True):
    sensor_token: str
    camera_intrinsic: list[list[float]]


class _Sensor(_Row, frozen=True):
    channel: str


class _Lidar(msgspec.Struct, frozen=True):
    lidar_path: str
    lidar2ego: list[list[float]]


class _Camera(msgspec.Struct, frozen=True):
    img_path: str
    cam2img: list[list[float]]
    cam2ego: list[list[float]]
    timestamp: float


class _Info(msgspec.Struct, frozen=True):
    token: str
    timestamp: float
    ego2global: list[list[float]]
    images: dict[str, _Camera]
    lidar_points: _Lidar


class _Infos(msgspec.Struct, frozen=True):
    data_list: list[_Info]


R = TypeVar("R", bound=_Row)


def tables_folder(root: Path) -> Path | None:
    """The `v1.0-*` folder of a data set; None where there is none."""
    return next((path for path in sorted(root.glob("v1.0-*")) if path.is_dir()), None)


def scene_names(tables: Path) -> list[str]:
    """All scenes of a data set, sorted."""
    return sorted(scene.name for scene in _table(tables, "scene", _Scene).values())


def read_scene(tables: Path, scene_name: str) -> list[Recording]:
    """What all sensors recorded in one scene, in the order of time; raises DatasetError."""
    scenes = {scene.name: scene for scene in _table(tables, "scene", _Scene).values()}
    if scene_name not in scenes:
        known = ", ".join(sorted(scenes)[:10]) + (", ..." if len(scenes) > 10 else "")
        raise DatasetError(str(tables), f"expected one of the scenes {known}, got {scene_name}")
    token = scenes[scene_name].token
    samples = _table(tables, "sample", _Sample)
    mounts = _table(tables, "calibrated_sensor", _CalibratedSensor)
    sensors = _table(tables, "sensor", _Sensor)
    poses = _table(tables, "ego_pose", _Pose)
    try:
        found = [
            _recording(tables.parent, row, mounts, sensors, poses)
            for row in _table(tables, "sample_data", _SampleData).values()
            if samples[row.sample_token].scene_token == token
        ]
    except KeyError as error:
        raise DatasetError(str(tables), f"expected the token {error}, no table has it") from error
    return sorted(found, key=lambda recording: (recording.stamp_ns, recording.channel))


def _recording(
    root: Path,
    row: _SampleData,
    mounts: Mapping[str, _CalibratedSensor],
    sensors: Mapping[str, _Sensor],
    poses: Mapping[str, _Pose],
) -> Recording:
    mount = mounts[row.calibrated_sensor_token]
    return Recording(
        channel=sensors[mount.sensor_token].channel,
        stamp_ns=row.timestamp * NS_PER_US,
        file=root / row.filename,
        base_from_sensor=mount.transform(),
        camera_matrix=np.array(mount.camera_intrinsic) if mount.camera_intrinsic else None,
        world_from_base=poses[row.ego_pose_token].transform(),
        is_key_frame=row.is_key_frame,
        sample=row.sample_token,
    )


def read_infos(path: Path) -> list[Recording]:
    """What MMDetection3D's list holds, in the order of time; raises DatasetError."""
    try:
        # Unknown velocities are written as NaN, which is no JSON: Python reads it all the same.
        infos = msgspec.convert(json.loads(path.read_bytes()), _Infos)
    except OSError as error:
        raise DatasetError(str(path), f"expected a list; {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(str(path), f"expected a list of MMDetection3D; {error}") from error
    found = [one for info in infos.data_list for one in _of_info(path, info)]
    return sorted(found, key=lambda recording: (recording.stamp_ns, recording.channel))


def _of_info(path: Path, info: _Info) -> Iterator[Recording]:
    world_from_base = _rigid(path, info.ego2global)
    yield Recording(
        channel="LIDAR_TOP",
        stamp_ns=_stamp_ns(info.timestamp),
        file=_found(path, "LIDAR_TOP", info.lidar_points.lidar_path),
        base_from_sensor=_rigid(path, info.lidar_points.lidar2ego),
        world_from_base=world_from_base,
        sample=info.token,
    )
    for channel, camera in info.images.items():
        yield Recording(
            channel=channel,
            stamp_ns=_stamp_ns(camera.timestamp),
            file=_found(path, channel, camera.img_path),
            base_from_sensor=_rigid(path, camera.cam2ego),
            camera_matrix=np.array(camera.cam2img),
            world_from_base=world_from_base,
            sample=info.token,
        )


def read_scan(path: Path) -> npt.NDArray[np.float32]:
    """(N, 5): x right, y forward, z up in metres, intensity 0..255, ring; raises DatasetError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(str(path), f"expected a scan; {error.strerror}") from error
    if len(raw) % 20 or not raw:
        raise DatasetError(str(path), f"expected 20 bytes a point, got {len(raw)} in all")
    return np.frombuffer(raw, np.float32).reshape(-1, 5)


def _stamp_ns(seconds: float) -> int:
    """nuScenes counts microseconds, which a float of seconds still tells apart."""
    return round(seconds * 1e6) * NS_PER_US


def _found(path: Path, channel: str, name: str) -> Path:
    """Beside the list, or where the data set keeps it."""
    beside = path.parent / name
    return beside if beside.exists() else path.parent / "samples" / channel / name


def _rigid(path: Path, matrix: Sequence[Sequence[float]]) -> RigidTransform:
    try:
        array = np.array(matrix, dtype=np.float64).reshape(4, 4)
        return RigidTransform(array[:3, :3], array[:3, 3])
    except ValueError as error:
        raise DatasetError(str(path), f"expected a rigid transform; {error}") from error


def _table(tables: Path, name: str, row: type[R]) -> dict[str, R]:
    rows: list[R] = _decoded(tables / f"{name}.json", list[row])  # type: ignore[valid-type]
    return {one.token: one for one in rows}


def _decoded(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DatasetError(str(path), f"expected a table; {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise DatasetError(str(path), f"expected a table of nuScenes; {error}") from error
