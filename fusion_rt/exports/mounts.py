"""Reads from a log where its sensors sit: what exports show beside the messages."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fusion_rt.calibration_file import Calibration, load_calibration
from fusion_rt.errors import ConfigErrors, LogError, TopicError
from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, rig_from
from fusion_rt.sensors import default_frame
from fusion_rt.topics import topic_kind


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
    names = (RIG_FILE, CALIBRATION_FILE)
    files = {name: raw for name in names if (raw := log.attachment(name)) is not None}
    problem = ""
    calibration: Calibration | None = None
    stated: Mapping[str, str] = {}
    try:
        calibration, stated = _read(files, log.path)
    except (ConfigErrors, LogError) as error:
        problem = str(error)
    frames = {topic: stated.get(topic, default_frame(topic)) for topic in _sensors(log)}
    if calibration is None:
        return Mounts(frames=frames, problem=problem)
    cameras = {
        frame: (topic, calibration.cameras[frame])
        for topic, frame in frames.items()
        if frame in calibration.cameras
    }
    return Mounts(frames=frames, base_from=calibration.base_from, cameras=cameras)


def _read(files: Mapping[str, bytes], log: Path) -> tuple[Calibration | None, Mapping[str, str]]:
    """The calibration, and the frames of the rig's sensors by topic."""
    if CALIBRATION_FILE not in files:
        return None, {}
    if RIG_FILE in files:
        rig = rig_from(files, log)
        return rig.calibration, {topic: sensor.frame for topic, sensor in rig.sensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, CALIBRATION_FILE)
        path.write_bytes(files[CALIBRATION_FILE])
        try:
            return load_calibration(path), {}
        except ConfigErrors as error:
            raise LogError(str(log), str(error).replace(f"{folder}/", "")) from error


def _sensors(log: LogReader) -> list[str]:
    found = []
    for topic in log.streams():
        try:
            if topic_kind(topic).is_sensor:
                found.append(topic)
        except TopicError:  # not ours
            continue
    return found
