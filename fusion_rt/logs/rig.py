"""The rig a log was recorded on: its files as attachments, and what a viewer needs of them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fusion_rt.drivers.port import KIND_OPTIONS, Driver, DriverPort, SensorOptions
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import ConfigError, DriverError
from fusion_rt.fusion.options import FusionOptions
from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.model_file import find_model
from fusion_rt.rig import Rig, rig_from_file
from fusion_rt.sensors import default_frame, kind_name
from fusion_rt.session import Session
from fusion_rt.topics import sensor_kinds, topic_kind
from fusion_rt.yaml_file import read_yaml

_REMOTE = "remote"
"""Stands for the driver of a sensor that another host has: none is called so."""
RIG_FILE = "rig.yaml"
CALIBRATION_FILE = "calibration.yaml"


class LoggedRig(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a log keeps of a rig."""

    name: str
    digest: str
    """Of rig and calibration (`Rig.digest`)."""
    files: Mapping[str, bytes]
    """RIG_FILE and CALIBRATION_FILE, as they were read."""
    frames: Mapping[str, str]
    """Frame of reference by topic, where it is not KIND_NAME."""
    base_from: Mapping[str, RigidTransform]
    cameras: Mapping[str, CameraModel]

    def frame_of(self, topic: str) -> str:
        return self.frames.get(topic) or default_frame(topic)


NO_RIG = LoggedRig(name="", digest="", files={}, frames={}, base_from={}, cameras={})
"""Of logs that come from elsewhere."""


def logged_rig(rig: Rig) -> LoggedRig:
    return LoggedRig(
        name=rig.name,
        digest=rig.digest,
        files={RIG_FILE: rig.raw, CALIBRATION_FILE: rig.calibration.raw},
        frames={topic: sensor.frame for topic, sensor in rig.sensors.items()},
        base_from=rig.calibration.base_from,
        cameras=rig.calibration.cameras,
    )


def sensed(session: Session) -> tuple[str, ...]:
    """The sensor topics of a running rig, those of other hosts too."""
    return (*session.sensors, *(t for t in session.sources if topic_kind(t).is_sensor))


def rig_from(files: Mapping[str, bytes], source: Path, model: str | None = None) -> Rig:
    """The rig whose files a log or a session holds; `source` is named where it is wrong.

    Its sensors need not be here: drivers that do not load are taken at their word, and sensors of
    other hosts are its own. Its fusion is left out where the model is not here; `model` names
    another, by its path from here. Raises ConfigErrors.
    """
    with _written(files) as folder:
        file = read_yaml(folder / RIG_FILE)
        tree = {**file.tree, "calibration": CALIBRATION_FILE}
        elsewhere = sensors_elsewhere(tree.pop("remote", None))
        _take_model(tree, model)
        if isinstance(sensors := tree.get("sensors", {}), dict):
            here = {topic: _plain(topic, entry) for topic, entry in sensors.items()}
            tree["sensors"] = here | elsewhere
        named = msgspec.structs.replace(file, name=f"{source}: {RIG_FILE}", tree=tree)
        rig = rig_from_file(named, folder / RIG_FILE, _driver_or_none)
    return msgspec.structs.replace(rig, source=source)


def sensors_elsewhere(remote: object) -> dict[str, object]:
    """Entries for the sensors of other hosts, from what stands as section `remote` of a rig."""
    topics = remote.get("topics") if isinstance(remote, dict) else None
    named = [t for t in topics if isinstance(t, str)] if isinstance(topics, dict) else []
    return {t: {"driver": _REMOTE} for t in named if kind_name(t) in sensor_kinds()}


def _take_model(tree: dict[str, Any], model: str | None) -> None:
    fusion = tree.get("fusion")
    if model is not None:
        named = find_model(model)
        tree["fusion"] = {
            **(fusion if isinstance(fusion, dict) else {}),
            "model": str(named.resolve()),
        }
    elif isinstance(fusion, dict):
        try:
            fusion["model"] = str(find_model(fusion.get("model", FusionOptions().model)).resolve())
        except ConfigError:
            del tree["fusion"]


@contextmanager
def _written(files: Mapping[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fusion_rt-rig-") as folder:
        for name in (RIG_FILE, CALIBRATION_FILE):
            Path(folder, name).write_bytes(files[name])
        yield Path(folder)


def _plain(topic: str, entry: object) -> object:
    """Without the fields of a driver that is not here."""
    if not isinstance(entry, dict) or not isinstance(name := entry.get("driver"), str):
        return entry
    kind = kind_name(topic)
    try:
        find_driver(name, kind)
    except DriverError:
        known = msgspec.structs.fields(_options(kind))
        return {field.name: entry[field.name] for field in known if field.name in entry}
    return entry


def _driver_or_none(name: str, kind: str) -> Driver:
    try:
        return find_driver(name, kind)
    except DriverError:
        return Driver(_options(kind), _refuse)


def _options(kind: str) -> type[SensorOptions]:
    return KIND_OPTIONS.get(kind, SensorOptions)


def _refuse(options: Any, _: DriverPort) -> Any:
    raise DriverError(options.driver, "is known only from a log")
