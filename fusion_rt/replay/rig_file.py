"""The rig of a log as a rig of real processes: its sensors played by the driver `replay`."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fusion_rt.drivers.port import KIND_OPTIONS, SensorOptions
from fusion_rt.errors import LogError
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE
from fusion_rt.replay.plan import rig_of
from fusion_rt.sensors import kind_name
from fusion_rt.yaml_file import read_yaml


def write_replayed_rig(
    log: LogReader,
    folder: Path,
    live: Collection[str],
    go: Path,
    from_s: float,
    record: Path | None,
) -> Path:
    """A rig file in `folder`; sensors named in `live`, by topic or kind, keep their devices.

    Raises LogError where the log has no rig inside, or not the sensor that stays live.
    """
    rig = rig_of(log)
    for name in live:
        if not any(name in (topic, kind_name(topic)) for topic in rig.sensors):
            known = ", ".join(rig.sensors)
            problem = f'expected a sensor of the rig to be live, got "{name}"'
            raise LogError(str(log.path), problem, f"known: {known}")
    (folder / RIG_FILE).write_bytes(rig.raw)
    (folder / CALIBRATION_FILE).write_bytes(rig.calibration.raw)
    tree = {**read_yaml(folder / RIG_FILE).tree, "calibration": CALIBRATION_FILE}
    tree.pop("remote", None)
    tree.pop("record", None)
    if record is not None:
        tree["record"] = {"folder": str(record.resolve())}
    played = {"driver": "replay", "log": str(log.path.resolve()), "go": str(go), "from_s": from_s}
    recorded = log.streams()
    tree["sensors"] = {
        topic: entry if _is_live(topic, live) else {**_plain(topic, entry), **played}
        for topic, entry in tree["sensors"].items()
        if _is_live(topic, live) or topic in recorded
    }
    (folder / RIG_FILE).write_text(yaml.safe_dump(tree, sort_keys=False))
    return folder / RIG_FILE


def _is_live(topic: str, live: Collection[str]) -> bool:
    return topic in live or kind_name(topic) in live


def _plain(topic: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What every driver of this kind knows."""
    options = KIND_OPTIONS.get(kind_name(topic), SensorOptions)
    names = [field.name for field in msgspec.structs.fields(options)]
    return {name: entry[name] for name in names if name in entry}
