"""Reads the sensor entries of a rig file: each topic finds its row, its driver and its options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from fusion_rt.calibration_file import FRAME_NAME
from fusion_rt.config import Problems, checked, known_names, shown
from fusion_rt.drivers.port import Driver, SensorOptions, with_absolute_paths
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import DriverError, TopicError
from fusion_rt.topics import sensor_kinds, topic_kind

FindDriver = Callable[[str, str], Driver]
"""Of a driver's name and a kind of sensor; raises DriverError."""


class Sensor(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor of the rig, with nothing left to default."""

    topic: str
    options: SensorOptions
    """Of the driver's own type."""
    rate_hz: float
    frame: str
    is_in_time: bool = False
    """Its stamps are rig time whatever the calibration says (`Driver.is_in_time`)."""

    @property
    def bytes_per_s(self) -> float | None:
        """Of payload; None where only the device knows."""
        size = self.options.payload_bytes()
        return None if size is None else size * self.rate_hz

    @property
    def kind(self) -> str:
        return kind_name(self.topic)


def kind_name(topic: str) -> str:
    """The kind of a topic: what comes before the slash."""
    return topic.partition("/")[0]


def default_frame(topic: str) -> str:
    """The frame of a sensor whose entry names none."""
    return topic.replace("/", "_")


def sensors_from_tree(
    tree: object, folder: Path, problems: Problems, find: FindDriver = find_driver
) -> dict[str, Sensor]:
    """The sensors that are right; what is wrong with the others goes to `problems`.

    Paths in their options are relative to `folder`, the rig file's.
    """
    if not isinstance(tree, dict):
        return {}  # reported with the file's other fields
    found = {topic: _sensor(topic, entry, folder, problems, find) for topic, entry in tree.items()}
    return {topic: sensor for topic, sensor in found.items() if sensor is not None}


def _sensor(
    topic: str, entry: object, folder: Path, problems: Problems, find: FindDriver
) -> Sensor | None:
    place = ("sensors", topic)
    kind = kind_name(topic)
    if kind not in sensor_kinds():
        problem = f'expected a sensor, KIND/NAME, got the kind "{kind}"'
        problems.add(place, problem, known_names(kind, sensor_kinds()))
        return None
    try:
        row = topic_kind(topic)
    except TopicError as error:
        problems.add(place, error.problem)
        return None
    if not isinstance(entry, dict):
        return None  # reported with the file's other fields
    driver = _driver(topic, entry, problems, find)
    if driver is None:
        return None
    options = checked(entry, driver.options, place, problems)
    if options is None:
        return None
    frame = options.frame or default_frame(topic)
    if not FRAME_NAME.fullmatch(frame):
        way_out = "letters, digits, '_', '.' and '-', without \"_from_\""
        problems.add((*place, "frame"), f"expected a frame name, got {shown(frame)}", way_out)
        return None
    options = with_absolute_paths(options, folder)
    rate_hz = options.stated_rate_hz() or row.rate_hz
    return Sensor(
        topic=topic, options=options, rate_hz=rate_hz, frame=frame, is_in_time=driver.is_in_time
    )


def _driver(
    topic: str, entry: dict[str, Any], problems: Problems, find: FindDriver
) -> Driver | None:
    place = ("sensors", topic)
    name = entry.get("driver")
    if not isinstance(name, str):
        problems.add((*place, "driver"), f"expected the name of a driver, got {shown(name)}")
        return None
    try:
        return find(name, kind_name(topic))
    except DriverError as error:
        problems.add((*place, "driver"), str(error))
        return None
