"""Imports nuScenes: one scene of its tables, or a list that MMDetection3D made of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fusion_rt.datasets.nuscenes import (
    FORWARD_FROM_RIGHT,
    INTENSITY_MAX,
    Recording,
    read_infos,
    read_scan,
    read_scene,
    scene_names,
    tables_folder,
)
from fusion_rt.errors import DatasetError, ForeignLogError
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.imports.image_file import frame_from_file, picture_size
from fusion_rt.imports.source import ForeignTopic, Imported, Mounting, rate_of
from fusion_rt.imports.topic_map import check_names
from fusion_rt.messages import LidarSweep, Message
from fusion_rt.sensors import default_frame


def is_nuscenes(path: Path) -> bool:
    """Whether `path` is a data set's folder or a list of one."""
    return path.suffix == ".json" if path.is_file() else tables_folder(path) is not None


def open_nuscenes(path: Path, topics: Mapping[str, str], scene: str | None) -> "NuscenesSource":
    """Raises ForeignLogError."""
    try:
        if path.is_file():
            return NuscenesSource(path, "nuScenes by MMDetection3D", read_infos(path), topics)
        tables = tables_folder(path)
        if tables is None:
            raise ForeignLogError(str(path), "expected a folder v1.0-*, got none")
        recordings = read_scene(tables, scene or _only_scene(tables))
        return NuscenesSource(path, f"nuScenes {tables.name}", recordings, topics)
    except DatasetError as error:
        raise ForeignLogError(error.path, error.problem, error.way_out) from error


def _only_scene(tables: Path) -> str:
    names = scene_names(tables)
    if len(names) != 1:
        known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise ForeignLogError(
            str(tables), f"expected one scene, got {len(names)}: {known}", "choose by --scene"
        )
    return names[0]


class NuscenesSource:
    """One drive, channel by channel ours."""

    def __init__(
        self, path: Path, label: str, recordings: Sequence[Recording], topics: Mapping[str, str]
    ) -> None:
        self.format = label
        self.counters: Counter[str] = Counter()
        counts = Counter(recording.channel for recording in recordings)
        check_names(str(path), topics, counts)
        self._ours = dict(topics) or {name: _topic(name) for name in counts if _kind(name)}
        for name, topic in self._ours.items():
            if topic.split("/")[0] != _kind(name):
                kind = _kind(name) or "none of ours"
                raise ForeignLogError(
                    str(path), f"expected {name} to become a topic of kind {kind}, got {topic}"
                )
        self.topics = tuple(
            ForeignTopic(
                name=name,
                type=name.split("_")[0].lower(),
                count=count,
                rate_hz=_rate_hz([one.stamp_ns for one in recordings if one.channel == name]),
                ours=self._ours.get(name, ""),
                reason=self._reason(name),
            )
            for name, count in sorted(counts.items())
        )
        self._recordings = [one for one in recordings if one.channel in self._ours]

    def _reason(self, name: str) -> str:
        if name in self._ours:
            return ""
        return "not in the map" if _kind(name) else "unknown type"

    def messages(self) -> Iterator[Imported]:
        for recording in self._recordings:
            try:
                message = _message(recording)
            except (DatasetError, OSError, ValueError) as error:
                problem = error.problem if isinstance(error, DatasetError) else str(error)
                self.counters[f"{recording.channel}: {problem}"] += 1
                continue
            yield Imported(self._ours[recording.channel], message, recording.stamp_ns)

    def mounting(self) -> Mounting:
        """nuScenes calibrates each drive once."""
        placed: dict[str, RigidTransform] = {}
        cameras: dict[str, Pinhole] = {}
        for recording in self._recordings:
            frame = default_frame(self._ours[recording.channel])
            if frame in placed:
                continue
            placed[frame] = recording.base_from_sensor
            if recording.camera_matrix is None:
                placed[frame] = recording.base_from_sensor @ FORWARD_FROM_RIGHT.inverse()
            elif (size := picture_size(recording.file)) is not None:
                cameras[frame] = _pinhole(recording, *size)
        return Mounting(
            method="tables of nuScenes, whose vehicle frame is base",
            base_from=placed,
            cameras=cameras,
        )


def _rate_hz(stamps_ns: Sequence[int]) -> float | None:
    return rate_of(len(stamps_ns), stamps_ns[-1] - stamps_ns[0])


def _kind(channel: str) -> str:
    """Ours; empty of what we have no kind for: radars."""
    return {"CAM": "camera", "LIDAR": "lidar"}.get(channel.split("_")[0], "")


def _topic(channel: str) -> str:
    """`CAM_FRONT_LEFT` is `camera/front_left`."""
    return f"{_kind(channel)}/{channel.partition('_')[2].lower()}"


def _message(recording: Recording) -> Message:
    if recording.camera_matrix is not None:
        return frame_from_file(recording.file, recording.stamp_ns)
    scan = read_scan(recording.file)
    points = np.zeros((len(scan), 5), np.float32)
    # The rotation, FORWARD_FROM_RIGHT, without rounding.
    points[:, 0], points[:, 1], points[:, 2] = scan[:, 1], -scan[:, 0], scan[:, 2]
    points[:, 3] = scan[:, 3] / np.float32(INTENSITY_MAX)
    return LidarSweep(stamp_ns=recording.stamp_ns, points=points, ring=scan[:, 4].astype(np.uint16))


def _pinhole(recording: Recording, width: int, height: int) -> Pinhole:
    """nuScenes' pictures are rectified."""
    k = recording.camera_matrix
    assert k is not None
    return Pinhole(
        width=width,
        height=height,
        fx_px=float(k[0, 0]),
        fy_px=float(k[1, 1]),
        cx_px=float(k[0, 2]),
        cy_px=float(k[1, 2]),
    )
