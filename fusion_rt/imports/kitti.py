"""Imports KITTI: frames of the object benchmark, and drives of the raw recordings."""

import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.datasets.kitti import (
    BASE_FROM_LIDAR,
    CAMERAS,
    KittiCalibration,
    read_object_calibration,
    read_raw_calibration,
    read_scan,
)
from fusion_rt.errors import DatasetError, ForeignLogError
from fusion_rt.geometry import RigidTransform
from fusion_rt.imports.image_file import frame_from_file, picture_size
from fusion_rt.imports.kitti_oxts import fix_from_oxts
from fusion_rt.imports.source import ForeignTopic, Imported, Mounting, rate_of
from fusion_rt.imports.topic_map import check_names
from fusion_rt.messages import LidarSweep, Message
from fusion_rt.sensors import default_frame

FRAME_GAP_NS = 100 * NS_PER_MS
"""The object benchmark's frames have no times: they are put this far apart."""
_OBJECT = {"image_2": "camera/front", "image_3": "camera/front_right", "velodyne": "lidar/top"}
_RAW = {
    "image_00": "camera/grey_left",
    "image_01": "camera/grey_right",
    "image_02": "camera/front",
    "image_03": "camera/front_right",
    "velodyne_points": "lidar/top",
    "oxts": "gps/main",
}
"""What each folder becomes if nobody says otherwise."""


class _File(msgspec.Struct, frozen=True, order=True):
    """One recorded file; their order is the order in which they are imported."""

    stamp_ns: int
    folder: str
    path: Path


def open_kitti(path: Path, topics: Mapping[str, str]) -> "KittiSource":
    """The folder of a raw drive, or `training` or `testing` of the object benchmark."""
    try:
        is_raw = (path / "velodyne_points").is_dir() or (path / "oxts").is_dir()
        return _open_raw(path, topics) if is_raw else _open_object(path, topics)
    except DatasetError as error:
        raise ForeignLogError(error.path, error.problem, error.way_out) from error


def is_kitti(path: Path) -> bool:
    """Whether a folder is laid out as one of the two."""
    is_raw = any((path / name / "timestamps.txt").exists() for name in _RAW)
    return is_raw or ((path / "calib").is_dir() and (path / "velodyne").is_dir())


class KittiSource:
    """KITTI, folder by folder ours."""

    def __init__(
        self,
        label: str,
        files: Mapping[str, Sequence[_File]],
        missing: Mapping[str, int],
        ours: Mapping[str, str],
        calibrations: Sequence[KittiCalibration],
    ) -> None:
        self.format = label
        self.counters: Counter[str] = Counter(
            {f"{folder}: a stamp without its file": n for folder, n in missing.items() if n}
        )
        self.topics = tuple(
            ForeignTopic(
                name=folder,
                type=_type_of(folder),
                count=len(found) + missing.get(folder, 0),
                rate_hz=rate_of(len(found), found[-1].stamp_ns - found[0].stamp_ns)
                if found
                else None,
                ours=ours.get(folder, ""),
                reason="" if folder in ours else "not in the map",
            )
            for folder, found in files.items()
        )
        self._files = sorted(
            file for folder, found in files.items() if folder in ours for file in found
        )
        self._ours = ours
        self._calibrations = calibrations

    def messages(self) -> Iterator[Imported]:
        for file in self._files:
            try:
                message = _READERS[_type_of(file.folder)](file.path, file.stamp_ns)
            except (DatasetError, OSError, ValueError) as error:
                problem = error.problem if isinstance(error, DatasetError) else str(error)
                self.counters[f"{file.folder}: {problem}"] += 1
                continue
            yield Imported(self._ours[file.folder], message, file.stamp_ns)

    def mounting(self) -> Mounting:
        """Of the first frame, where each brings its own."""
        calibration = self._calibrations[0]
        placed: dict[str, RigidTransform] = {}
        cameras = {}
        for folder, topic in self._ours.items():
            frame, kind = default_frame(topic), _type_of(folder)
            if kind == "lidar":
                placed[frame] = BASE_FROM_LIDAR
            elif kind == "gps" and calibration.lidar_from_imu is not None:
                placed[frame] = BASE_FROM_LIDAR @ calibration.lidar_from_imu
            elif kind == "camera" and (number := int(folder[-1])) in calibration.projections:
                placed[frame] = calibration.base_from_camera(number)
                if (size := self._first_size(folder)) is not None:
                    cameras[frame] = calibration.pinhole(number, *size)
        others = sum(not _is_alike(calibration, other) for other in self._calibrations[1:])
        note = f"{others} frames have another calibration than the first, which is the one written"
        return Mounting(
            method="calibration files of KITTI; base after its drawing of the car",
            base_from=placed,
            cameras=cameras,
            left_out=(note,) if others else (),
        )

    def _first_size(self, folder: str) -> tuple[int, int] | None:
        file = next((file for file in self._files if file.folder == folder), None)
        return None if file is None else picture_size(file.path)


def _open_object(path: Path, topics: Mapping[str, str]) -> KittiSource:
    folders = [folder for folder in _OBJECT if (path / folder).is_dir()]
    numbers = {
        int(file.stem)
        for folder in folders
        for file in (path / folder).iterdir()
        if file.stem.isdigit()
    }
    if not numbers:
        raise ForeignLogError(str(path), "expected frames in image_2 or velodyne, got none")
    files = {
        folder: [
            _File((int(file.stem) + 1) * FRAME_GAP_NS, folder, file)
            for file in sorted((path / folder).iterdir())
            if file.stem.isdigit()
        ]
        for folder in folders
    }
    calibrations = [
        read_object_calibration(path / "calib" / f"{n:06}.txt") for n in sorted(numbers)
    ]
    return KittiSource(
        "KITTI object", files, {}, _chosen(str(path), folders, _OBJECT, topics), calibrations
    )


def _open_raw(path: Path, topics: Mapping[str, str]) -> KittiSource:
    folders = [folder for folder in _RAW if (path / folder / "timestamps.txt").exists()]
    files: dict[str, list[_File]] = {}
    missing = {}
    for folder in folders:
        stamps = _read_stamps(path / folder / "timestamps.txt")
        there = {
            int(file.stem): file
            for file in (path / folder / "data").glob("*.*")
            if file.stem.isdigit()
        }
        files[folder] = [
            _File(stamp_ns, folder, there[n]) for n, stamp_ns in enumerate(stamps) if n in there
        ]
        missing[folder] = len(stamps) - len(files[folder])
    day = path if (path / "calib_velo_to_cam.txt").exists() else path.absolute().parent
    calibration = read_raw_calibration(day)
    ours = _chosen(str(path), folders, _RAW, topics)
    return KittiSource("KITTI raw", files, missing, ours, [calibration])


def _chosen(
    path: str, folders: Sequence[str], usual: Mapping[str, str], topics: Mapping[str, str]
) -> dict[str, str]:
    check_names(path, topics, folders)
    for folder, topic in topics.items():
        if topic.split("/")[0] != _type_of(folder):
            problem = f"expected {folder} to become a topic of kind {_type_of(folder)}, got {topic}"
            raise ForeignLogError(path, problem)
    return dict(topics) or {folder: usual[folder] for folder in folders}


def _read_stamps(path: Path) -> list[int]:
    try:
        return [_stamp_ns(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError(str(path), f"expected a UTC time a line; {error}") from error


def _stamp_ns(line: str) -> int:
    """`2011-09-26 13:02:25.964389445`, UTC as nothing says otherwise."""
    whole, _, fraction = line.strip().partition(".")
    moment = datetime.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S")
    seconds = int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())
    return seconds * NS_PER_S + int(fraction.ljust(9, "0")[:9] or 0)


def _type_of(folder: str) -> str:
    if folder.startswith("image_"):
        return "camera"
    return "gps" if folder == "oxts" else "lidar"


def _sweep(path: Path, stamp_ns: int) -> LidarSweep:
    """KITTI says no more of a point's time than the scan's, taken as the laser faced forward."""
    scan = read_scan(path)
    points = np.zeros((len(scan), 5), np.float32)
    points[:, :4] = scan
    return LidarSweep(stamp_ns=stamp_ns, points=points)


_READERS: dict[str, Callable[[Path, int], Message]] = {
    "camera": frame_from_file,
    "lidar": _sweep,
    "gps": fix_from_oxts,
}


def _is_alike(one: KittiCalibration, other: KittiCalibration) -> bool:
    pairs = [
        (one.rectified_from_lidar.matrix, other.rectified_from_lidar.matrix),
        *((one.projections[n], other.projections[n]) for n in CAMERAS if n in one.projections),
    ]
    return all(np.allclose(a, b) for a, b in pairs)
