"""Writes the rig of an imported log, so that it can be replayed like one of our own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fusion_rt.errors import ConfigErrors
from fusion_rt.imports.calibration_text import text_of, too_far
from fusion_rt.imports.source import ForeignTopic, Mounting, Source
from fusion_rt.logs.rig import (
    CALIBRATION_FILE,
    NO_RIG,
    RIG_FILE,
    LoggedRig,
    logged_rig,
    rig_from,
)
from fusion_rt.sensors import default_frame

DRIVER = "imported"
"""No driver has this name: such a rig can be replayed and not run."""
_HEADER = b"# Written by fusion-rt import.\n"


def rig_of(source: Source, output: Path) -> tuple[LoggedRig, tuple[str, ...]]:
    """What the log keeps of the rig, and what is to be said of that.

    Sensors that nobody placed are left out of the rig, not of the log.
    """
    mounting = source.mounting()
    if mounting is None:
        return NO_RIG, ("no rig in the log: give `fusion-rt replay` one with --rig",)
    calibration = text_of(mounting)
    sensors = dict(_sensors(source, mounting))
    if not sensors:
        return _places_only(mounting, calibration), ("no rig in the log: no sensor is placed",)
    tree = {"rig": _name(output.stem), "calibration": CALIBRATION_FILE, "sensors": sensors}
    rig = _HEADER + yaml.safe_dump(tree, sort_keys=False, default_flow_style=None).encode()
    try:
        whole = rig_from({RIG_FILE: rig, CALIBRATION_FILE: calibration}, output)
    except ConfigErrors as error:
        return _places_only(mounting, calibration), (f"no rig in the log: {error.errors[0]}",)
    return logged_rig(whole), ()


def _sensors(source: Source, mounting: Mounting) -> Iterator[tuple[str, dict[str, Any]]]:
    for topic in source.topics:
        frame = default_frame(topic.ours)
        if frame not in mounting.base_from or frame in too_far(mounting):
            continue
        kind = topic.ours.split("/")[0]
        if kind == "audio" or (kind == "camera" and frame not in mounting.cameras):
            continue  # a rig needs to know its microphones, and its cameras' intrinsics
        yield topic.ours, _entry(topic)


def _entry(topic: ForeignTopic) -> dict[str, Any]:
    entry: dict[str, Any] = {"driver": DRIVER}
    if topic.rate_hz is not None:
        entry["rate_hz"] = topic.rate_hz
    return entry


def _places_only(mounting: Mounting, calibration: bytes) -> LoggedRig:
    """What a viewer can still show."""
    return LoggedRig(
        name="",
        digest="",
        files={CALIBRATION_FILE: calibration},
        frames={},
        base_from=mounting.base_from,
        cameras=mounting.cameras,
    )


def _name(stem: str) -> str:
    """A rig's name begins with a letter and has at most 32 characters."""
    name = re.sub(r"[^a-z0-9_-]+", "_", stem.lower()).strip("_-")
    return (name if name[:1].isalpha() else f"log_{name}")[:32]
