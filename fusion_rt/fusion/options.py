"""Reads the section `fusion` of a rig file: which model, which streams, how long a set may wait."""

from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.config import Problems, known_names
from fusion_rt.engine.open import Backend
from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.geometry import Pinhole
from fusion_rt.model_file import STREAM_KINDS, Model, find_model, load_model
from fusion_rt.remote import Remote
from fusion_rt.sensors import Sensor, default_frame, kind_name
from fusion_rt.sync.frame_set import Mode as MatchMode
from fusion_rt.topics import topic_kind

FUSION_TOPIC = "detections/fused"
TICK = "tick"
REFERENCE_ORDER = ("lidar", "camera", "audio", "gps")
_MATCH: dict[str, tuple[MatchMode, int]] = {
    "camera": ("nearest", 60),
    "lidar": ("nearest", 60),
    "audio": ("at_hand", 300),
    "gps": ("at_hand", 1000),
}
"""How a kind is matched, and how far off the reference it may be, in milliseconds.

Sound changes little within a tenth of a second and GPS is extrapolated: neither is waited for.
"""
AUDIO_STRIDE_NS = 100 * NS_PER_MS

Kind = Literal["camera", "lidar", "audio", "gps"]
ToleranceMs = Annotated[int, msgspec.Meta(ge=1, le=10_000, description="milliseconds")]
Cores = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=1023)], ...], msgspec.Meta()]


class TrackerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Identities, smoother velocities, and predictions through short gaps."""

    enabled: bool = True
    coast_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    """A track that nothing was seen of is predicted for so long."""
    gate_m: Annotated[float, msgspec.Meta(gt=0, le=50)] = 4.0
    """Farthest a box may lie from where its track is expected."""


class FusionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rig file may say under `fusion`."""

    model: Annotated[
        str, msgspec.Meta(description="directory of a model, or the name of a shipped one")
    ] = "reference"
    backend: Backend = "auto"
    precision: str | None = None
    """One of the model's own, `int8` for example, or `bf16` by OpenVINO; a graph that has none of
    its own in it runs as usual."""
    streams: dict[Kind, str] = {}
    """Topic by kind, where the rig has several of a kind."""
    reference: str | None = None
    """The topic whose messages are answered, or `tick`; None: the LiDAR, else the camera, ..."""
    tick_hz: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 10.0
    max_wait_ms: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 80
    """No set waits longer for its members, from its reference's arrival."""
    tolerance_ms: dict[Kind, ToleranceMs] = {}
    tracker: TrackerOptions = TrackerOptions()
    encode_all: bool = False
    """Encode every frame, also those that lie too far from any expected reference to be used."""
    cores: dict[Literal["camera", "lidar", "audio", "fuse"], Cores] = {}
    """Pin the thread of a stream, or of the fusion, to these cores."""


class StreamPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of the fusion."""

    topic: str
    kind: Kind
    frame: str
    rate_hz: float
    match: MatchMode
    tolerance_ns: int
    device: str
    """For people: what to look at when it fails."""

    @property
    def period_ns(self) -> int:
        return round(NS_PER_S / self.rate_hz)


class FusionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that the fusion node needs to know, settled."""

    streams: tuple[StreamPlan, ...]
    reference: str | None
    """A topic of `streams`; None: a tick."""
    model: str = ""
    """The model's directory."""
    options: FusionOptions = FusionOptions()

    @property
    def max_wait_ns(self) -> int:
        return self.options.max_wait_ms * NS_PER_MS

    def topic_of(self, kind: str) -> str | None:
        return next((stream.topic for stream in self.streams if stream.kind == kind), None)


def plan_fusion(
    options: FusionOptions,
    rig_folder: Path,
    sensors: dict[str, Sensor],
    remote: Remote | None,
    calibration: Calibration | None,
    problems: Problems,
) -> FusionPlan | None:
    """The fusion that a rig asks for; None when that added to `problems`."""
    before = len(problems.errors)
    model = _model(options, rig_folder, problems)
    if model is None:
        return None
    streams = _streams(options, model, _offered(sensors, remote), problems)
    if not any(stream.kind in ("camera", "lidar", "audio") for stream in streams):
        wanted = ", ".join(kind for kind in model.file.kinds if kind != "gps")
        problem = f"expected a sensor that the model takes ({wanted}), got none"
        problems.add(("fusion",), problem)
    if calibration is not None:
        _check_camera(streams, calibration, problems)
    reference = _reference(options, streams, problems)
    if len(problems.errors) > before:
        return None
    return FusionPlan(
        streams=tuple(streams),
        reference=reference,
        model=str(model.folder.resolve()),
        options=options,
    )


def _model(options: FusionOptions, rig_folder: Path, problems: Problems) -> Model | None:
    try:
        model = load_model(find_model(options.model, rig_folder))
    except ConfigErrors as error:
        for each in error.errors:
            problems.add(("fusion", "model"), str(each))
        return None
    except ConfigError as error:
        problems.add(("fusion", "model"), error.problem, error.way_out)
        return None
    refusal = model.refusal(options.precision, options.backend)
    if refusal is not None:
        problems.add(("fusion", "precision"), *refusal)
    return model


def _offered(sensors: dict[str, Sensor], remote: Remote | None) -> list[StreamPlan]:
    """Every sensor topic of the rig, whatever the model takes."""
    here = [
        planned_stream(
            topic, sensor.frame, sensor.rate_hz, f"the {sensor.kind} device (driver {name})"
        )
        for topic, sensor in sensors.items()
        if (name := sensor.options.driver)
    ]
    there = [
        planned_stream(
            topic, default_frame(topic), topic_kind(topic).rate_hz, f"the host at {at.address}"
        )
        for topic, at in (remote.topics if remote else {}).items()
        if topic_kind(topic).is_sensor
    ]
    return [*here, *there]


def planned_stream(topic: str, frame: str, rate_hz: float, device: str) -> StreamPlan:
    kind = kind_name(topic)
    match, tolerance_ms = _MATCH.get(kind, ("nearest", 60))
    return StreamPlan(
        topic=topic,
        kind=cast("Kind", kind),  # sensors of other kinds are left out later
        frame=frame,
        rate_hz=rate_hz,
        match=match,
        tolerance_ns=tolerance_ms * NS_PER_MS,
        device=device,
    )


def _streams(
    options: FusionOptions, model: Model, offered: list[StreamPlan], problems: Problems
) -> list[StreamPlan]:
    """One stream of each kind that the model takes and the rig has."""
    for kind, topic in options.streams.items():
        topics = [stream.topic for stream in offered if stream.kind == kind]
        if topic not in topics:
            problem = f"expected a {kind} topic of this rig, got {topic}"
            problems.add(("fusion", "streams", kind), problem, known_names(topic, topics))
    found = []
    for kind in cast("tuple[Kind, ...]", model.file.kinds):
        streams = [stream for stream in offered if stream.kind == kind]
        chosen = options.streams.get(kind)
        if chosen is not None:
            streams = [stream for stream in streams if stream.topic == chosen]
        elif len(streams) > 1:
            names = ", ".join(stream.topic for stream in streams)
            problem = f"expected one {kind} for the model, the rig has {names}"
            problems.add(("fusion", "streams"), problem, f"choose: streams: {{{kind}: TOPIC}}")
        found += [_with_tolerance(stream, options) for stream in streams[:1]]
    return sorted(found, key=lambda stream: STREAM_KINDS.index(stream.kind))


def _with_tolerance(stream: StreamPlan, options: FusionOptions) -> StreamPlan:
    own_ms = options.tolerance_ms.get(stream.kind)
    if own_ms is None:
        return stream
    return msgspec.structs.replace(stream, tolerance_ns=own_ms * NS_PER_MS)


def _reference(options: FusionOptions, streams: list[StreamPlan], problems: Problems) -> str | None:
    if options.reference == TICK:
        return None
    topics = {stream.kind: stream.topic for stream in streams}
    if options.reference is None:
        return next((topics[kind] for kind in REFERENCE_ORDER if kind in topics), None)
    if options.reference not in topics.values():
        problem = f"expected a fused topic or {TICK}, got {options.reference}"
        known = known_names(options.reference, [*topics.values(), TICK])
        problems.add(("fusion", "reference"), problem, known)
    return options.reference


def _check_camera(streams: list[StreamPlan], calibration: Calibration, problems: Problems) -> None:
    for stream in streams:
        lens = calibration.cameras.get(stream.frame) if stream.kind == "camera" else None
        if lens is not None and not isinstance(lens, Pinhole):
            problem = f"expected a pinhole camera for the model, {stream.topic} is calibrated as "
            problems.add(("fusion", "streams"), f"{problem}{type(lens).__name__.lower()}")
