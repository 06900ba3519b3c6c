"""The rig of a log as a rig of real processes: its sensors played by the driver `replay`."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fusion_rt.drivers.port import KIND_OPTIONS, SensorOptions
from fusion_rt.errors import LogError
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, sensors_elsewhere
from fusion_rt.replay.plan import rig_of
from fusion_rt.rig import Rig
from fusion_rt.sensors import kind_name
from fusion_rt.yaml_file import read_yaml

log = logging.getLogger(__name__)


class RigReplay(msgspec.Struct, frozen=True, kw_only=True):
    """How the rig of a log is run again."""

    live: tuple[str, ...] = ()
    """Sensors that keep their devices, by topic or kind."""
    from_s: float = 0.0
    record: Path | None = None
    """Folder to record to."""
    model: str | None = None
    """Instead of the rig's own."""


def write_replayed_rig(reader: LogReader, folder: Path, go: Path, replay: RigReplay) -> Path:
    """A rig file in `folder`, whose sensors wait for the file `go`.

    Sensors of other hosts are played like our own, and cannot stay live. Raises LogError where the
    log has no rig inside, or not the sensor that stays live.
    """
    rig = rig_of(reader, replay.model)
    (folder / RIG_FILE).write_bytes(rig.raw)
    (folder / CALIBRATION_FILE).write_bytes(rig.calibration.raw)
    tree = {**read_yaml(folder / RIG_FILE).tree, "calibration": CALIBRATION_FILE}
    own, others = tree.get("sensors", {}), sensors_elsewhere(tree.pop("remote", None))
    _check_live(replay.live, own, reader)
    _take_fusion(tree, rig)
    tree.pop("record", None)
    if replay.record is not None:
        tree["record"] = {"folder": str(replay.record.resolve())}
    played: dict[str, Any] = {"driver": "replay", "log": str(reader.path.resolve())}
    played |= {"go": str(go), "from_s": replay.from_s}
    recorded = reader.streams()
    tree["sensors"] = {
        topic: entry if _is_live(topic, replay.live) else {**_plain(topic, entry), **played}
        for topic, entry in (own | others).items()
        if _is_live(topic, replay.live) or topic in recorded
    }
    (folder / RIG_FILE).write_text(yaml.safe_dump(tree, sort_keys=False))
    return folder / RIG_FILE


def _take_fusion(tree: dict[str, Any], rig: Rig) -> None:
    """With the model where it is here, and none where it is not."""
    written = tree.pop("fusion", None)
    if rig.fusion is not None:
        tree["fusion"] = {**(written or {}), "model": rig.fusion.model}
    elif written is not None:
        log.warning("nothing is fused: the rig's model %s is not here", written.get("model"))


def _check_live(live: Collection[str], sensors: Collection[str], reader: LogReader) -> None:
    for name in live:
        if not any(name in (topic, kind_name(topic)) for topic in sensors):
            problem = f'expected a sensor of the rig to be live, got "{name}"'
            raise LogError(str(reader.path), problem, f"known: {', '.join(sensors)}")


def _is_live(topic: str, live: Collection[str]) -> bool:
    return topic in live or kind_name(topic) in live


def _plain(topic: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What every driver of this kind knows."""
    options = KIND_OPTIONS.get(kind_name(topic), SensorOptions)
    names = [field.name for field in msgspec.structs.fields(options)]
    return {name: entry[name] for name in names if name in entry}
