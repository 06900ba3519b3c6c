"""Reads a rig file: which sensors there are, how they are watched, and where each of them sits.

Frames of reference, all right-handed, in metres. Frames of sensors are named KIND_NAME after the
topic (`camera_front` for `camera/front`) unless the rig says otherwise.

- `base`: the vehicle; origin on the ground below the middle of the rear axle; x forward, y left,
  z up.
- camera (optical frame): origin in the centre of projection; x right, y down, z forward, along
  the optical axis.
- lidar: origin where the beams meet; x forward, y left, z up.
- audio: the origin of the array's own drawing, to which the microphones' places refer; x forward,
  y left, z up.
- gps: origin in the antenna's phase centre; axes parallel to `base`, nothing measures them.
- `world`: east, north, up at the position where the rig started; x east, y north, z up.
"""

import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import msgspec

from fusion_rt.calibration_file import Calibration, load_calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.config import Problems, checked, known_names
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.fusion.options import FusionOptions, FusionPlan, plan_fusion
from fusion_rt.latency.budgets import LatencyOptions, check_budgets
from fusion_rt.logs.options import FoxgloveOptions, RecordOptions
from fusion_rt.mounting import check_mounting, check_watched
from fusion_rt.remote import Remote, RemoteFile, RemoteTopic, remote_from_file
from fusion_rt.sensors import FindDriver, Sensor, sensors_from_tree
from fusion_rt.topics import topic_kind
from fusion_rt.yaml_file import YamlFile, read_yaml

RigName = Annotated[
    str,
    msgspec.Meta(
        pattern="^[a-z][a-z0-9_-]{0,31}$",
        description="name of the rig: lower case letters, digits, '_' and '-'",
    ),
]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=600_000)]


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How soon, and how often, a node that died is started again."""

    backoff_ms: Milliseconds = 100
    """Before the second restart in a row, the first is at once; doubles with each later one."""
    backoff_max_ms: Milliseconds = 5000
    limit: Annotated[int, msgspec.Meta(ge=0, le=1000, description="exits per window_s")] = 10
    """More exits than this within `window_s`: the node stays down, and its stream missing."""
    window_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60

    def __post_init__(self) -> None:
        if self.backoff_max_ms < self.backoff_ms:
            wanted = f"expected backoff_max_ms >= backoff_ms ({self.backoff_ms})"
            raise ValueError(f"{wanted}, got {self.backoff_max_ms}")

    @property
    def backoff_ns(self) -> int:
        return self.backoff_ms * NS_PER_MS

    @property
    def backoff_max_ns(self) -> int:
        return self.backoff_max_ms * NS_PER_MS

    @property
    def window_ns(self) -> int:
        return round(self.window_s * NS_PER_S)


class SupervisorPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the supervisor waits for its nodes."""

    startup_ms: Milliseconds = 20_000
    """From a node's start to its READY; engines that must be built first need more."""
    heartbeat_ms: Annotated[int, msgspec.Meta(ge=1000, le=600_000)] = 2000
    """A node silent for longer hangs: it is killed and started again."""
    stop_ms: Milliseconds = 5000
    """From SIGTERM to SIGKILL."""
    restart: RestartPolicy = RestartPolicy()

    @property
    def startup_ns(self) -> int:
        return self.startup_ms * NS_PER_MS

    @property
    def heartbeat_ns(self) -> int:
        return self.heartbeat_ms * NS_PER_MS

    @property
    def stop_ns(self) -> int:
        return self.stop_ms * NS_PER_MS


class RigSections(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sections of a rig file that hold as they are written."""

    supervisor: SupervisorPolicy = SupervisorPolicy()
    latency: LatencyOptions = LatencyOptions()
    record: RecordOptions | None = None
    """None when `fusion-rt run` records nothing by itself."""
    foxglove: FoxgloveOptions | None = None
    """None when `fusion-rt run` serves no viewer by itself."""
    watch_mountings: Annotated[
        dict[str, str],
        msgspec.Meta(description="cameras, each with the LiDAR its mounting is watched against"),
    ] = {}


class RigFile(RigSections, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rig file may say; each entry of `sensors` is checked by its driver's options."""

    rig: RigName
    calibration: Annotated[
        str, msgspec.Meta(description="path of the calibration, relative to the rig file")
    ]
    sensors: Annotated[
        dict[str, dict[str, Any]], msgspec.Meta(description="one entry per topic, KIND/NAME")
    ]
    fusion: FusionOptions | None = None
    remote: RemoteFile | None = None


class Rig(RigSections, frozen=True, kw_only=True, eq=False):
    """A rig that can be run as written: its sections, and what the rest of its file comes to."""

    name: str
    source: Path
    raw: bytes
    """The file as read, for the recorder to attach."""
    calibration: Calibration
    sensors: dict[str, Sensor]
    """By topic, in the order of the file."""
    fusion: FusionPlan | None
    """None when nothing is fused."""
    remote: Remote | None
    """None when the rig keeps to its host."""

    @property
    def remote_topics(self) -> dict[str, RemoteTopic]:
        """Topics had from other hosts."""
        return self.remote.topics if self.remote else {}

    @property
    def late_ns(self) -> dict[str, int]:
        """By topic, what is taken off a sensor's stamps, where the calibration has them late."""
        late = {
            topic: self.calibration.lateness_ns(sensor.frame)
            for topic, sensor in self.sensors.items()
            if not sensor.is_in_time
        }
        return {topic: late_ns for topic, late_ns in late.items() if late_ns}

    @property
    def digest(self) -> str:
        """SHA-256 over rig and calibration as read: equal for equal set-ups."""
        parts = (hashlib.sha256(raw).digest() for raw in (self.raw, self.calibration.raw))
        return hashlib.sha256(b"".join(parts)).hexdigest()


def load_rig(source: Path) -> Rig:
    """Read a rig file and the calibration it names; raises ConfigErrors with all that is wrong."""
    return rig_from_file(read_yaml(source), source)


def rig_from_file(file: YamlFile, source: Path, find: FindDriver = find_driver) -> Rig:
    """As `load_rig`, of a file that was read; paths in it are relative to `source`."""
    problems = Problems(file)
    written = checked(file.tree, RigFile, (), problems)
    sensors = sensors_from_tree(file.tree.get("sensors"), source.parent, problems, find)
    remote = None
    if written is not None and written.remote is not None:
        remote = remote_from_file(written.remote, source.parent, problems)
    calibration, elsewhere = _calibration(file.tree.get("calibration"), source, problems)
    if written is not None:
        _check_topics(written, remote, problems)
        topics = [*written.sensors, *(remote.topics if remote else ())]
        check_budgets(written.latency, topics, problems)
    if calibration is not None:
        check_mounting(sensors, remote.topics if remote else (), calibration, problems)
    if written is not None:
        check_watched(written.watch_mountings, sensors, problems)
    fusion = None
    if written is not None and written.fusion is not None:
        fusion = plan_fusion(written.fusion, source.parent, sensors, remote, calibration, problems)
    if written is None or calibration is None or problems.errors:
        raise ConfigErrors([*problems.as_error().errors, *elsewhere])
    return Rig(
        name=written.rig,
        source=source,
        raw=file.raw,
        calibration=calibration,
        sensors=sensors,
        fusion=fusion,
        remote=remote,
        **{name: getattr(written, name) for name in RigSections.__struct_fields__},
    )


def _calibration(
    written: object, rig: Path, problems: Problems
) -> tuple[Calibration | None, tuple[ConfigError, ...]]:
    """The calibration, and what is wrong in its own file."""
    if not isinstance(written, str):
        return None, ()  # reported with the file's other fields
    source = rig.parent / written
    if not os.path.isfile(source):  # unlike Path.is_file, also where the name cannot be one
        way_out = "the path is relative to the rig file"
        problems.add(("calibration",), f"expected a file, found none at {source}", way_out)
        return None, ()
    try:
        return load_calibration(source), ()
    except ConfigErrors as error:
        return None, error.errors


def _check_topics(written: RigFile, remote: Remote | None, problems: Problems) -> None:
    if not written.sensors and not (remote and remote.topics):
        problems.add(("sensors",), "expected at least one sensor, here or under remote.topics")
    if remote is None:
        return
    for topic in remote.topics.keys() & written.sensors.keys():
        place = ("remote", "topics", topic)
        problems.add(place, "expected a sensor of another host, got one of this rig")
    for topic in remote.listen.keys() - written.sensors.keys():
        if topic_kind(topic).is_sensor:
            place = ("remote", "listen", topic)
            way_out = known_names(topic, written.sensors)
            problems.add(place, "expected a topic of this rig", way_out)


def find_rig(name: str) -> Path:
    """The rig file a person means: a path, or the name of a rig that comes with the package."""
    if os.path.isfile(name):
        return Path(name)
    shipped = shipped_rigs()
    if name in shipped:
        return shipped[name]
    way_out = f"rigs that come with the package: {', '.join(shipped) or 'none'}"
    raise ConfigError(name, "", "expected a rig file or the name of a rig, found none", way_out)


def shipped_rigs() -> dict[str, Path]:
    """The rigs that come with the package, by name."""
    package = resources.files("fusion_rt.calibration")
    with resources.as_file(package / "rigs") as folder:  # wheels are unpacked: a real folder
        found = sorted(folder.glob("*.yaml"))
    return {path.stem: path for path in found if not path.stem.endswith(".calibration")}
