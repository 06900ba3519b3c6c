"""Reads from a log where its sensors sit: what exports show beside the messages."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fusion_rt.calibration_file import Calibration, load_calibration
from fusion_rt.errors import ConfigErrors, TopicError
from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE
from fusion_rt.sensors import default_frame
from fusion_rt.topics import topic_kind
from fusion_rt.yaml_file import read_yaml


class Mounts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The places of a log's sensors, as far as it says them."""

    frames: Mapping[str, str]
    """By topic of a sensor."""
    base_from: Mapping[str, RigidTransform] = {}
    cameras: Mapping[str, tuple[str, CameraModel]] = {}
    """By frame: the camera's topic and its model."""
    problem: str = ""
    """Why its calibration could not be used; empty when it could, or there is none."""

    def frame_of(self, topic: str) -> str:
        return self.frames.get(topic) or default_frame(topic)


def mounts_of(log: LogReader) -> Mounts:
    """What the rig and calibration files inside the log say; damaged ones are told, not raised."""
    problem = ""
    calibration: Calibration | None = None
    stated: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            if (raw := log.attachment(CALIBRATION_FILE)) is not None:
                calibration = load_calibration(_file(folder, CALIBRATION_FILE, raw))
            if (raw := log.attachment(RIG_FILE)) is not None:
                stated = _stated_frames(_file(folder, RIG_FILE, raw))
        except ConfigErrors as error:
            problem = str(error).replace(f"{folder}/", "")
    frames = {topic: stated.get(topic, default_frame(topic)) for topic in _sensors(log)}
    if calibration is None:
        return Mounts(frames=frames, problem=problem)
    cameras = {
        frame: (topic, calibration.cameras[frame])
        for topic, frame in frames.items()
        if frame in calibration.cameras
    }
    return Mounts(frames=frames, base_from=calibration.base_from, cameras=cameras, problem=problem)


def _sensors(log: LogReader) -> list[str]:
    found = []
    for topic in log.streams():
        try:
            if topic_kind(topic).is_sensor:
                found.append(topic)
        except TopicError:  # not ours
            continue
    return found


def _file(folder: str, name: str, raw: bytes) -> Path:
    path = Path(folder) / name
    path.write_bytes(raw)
    return path


def _stated_frames(rig: Path) -> dict[str, str]:
    sensors = read_yaml(rig).tree.get("sensors")
    if not isinstance(sensors, dict):
        return {}
    return {
        topic: options["frame"]
        for topic, options in sensors.items()
        if isinstance(options, dict) and isinstance(options.get("frame"), str)
    }
