"""What a replay fuses: the streams of the rig in the log that are there to be replayed."""

from fusion_rt.errors import LogError
from fusion_rt.fusion.options import REFERENCE_ORDER, FusionPlan, StreamPlan, planned_stream
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, rig_from
from fusion_rt.logs.write import OWN
from fusion_rt.rig import Rig


def rig_of(log: LogReader, model: str | None = None) -> Rig:
    """The rig a log was recorded on, with another model if need be; raises LogError where the log
    says nothing of it."""
    files = {name: log.attachment(name) for name in (RIG_FILE, CALIBRATION_FILE)}
    missing = [name for name, raw in files.items() if raw is None]
    if missing:
        problem = f"expected the rig's files inside, {' and '.join(missing)} missing"
        raise LogError(str(log.path), problem, "name the rig: --rig RIG")
    return rig_from({name: raw for name, raw in files.items() if raw is not None}, log.path, model)


def plan_of(rig: Rig, log: LogReader) -> FusionPlan:
    """As the rig has it; without the section `fusion`, one stream of each kind and no model.

    Raises LogError where the log holds none of the rig's streams.
    """
    if rig.fusion is not None:
        return rig.fusion
    streams: dict[str, StreamPlan] = {}
    for topic, sensor in rig.sensors.items():
        device = f"the {sensor.kind} device ({sensor.options.driver})"
        planned = planned_stream(topic, sensor.frame, sensor.rate_hz, device)
        streams.setdefault(planned.kind, planned)
    recorded = log.streams()
    if not any(stream.topic in recorded for stream in streams.values()):
        wanted = ", ".join(stream.topic for stream in streams.values())
        there = ", ".join(topic for topic in recorded if not topic.startswith(OWN)) or "nothing"
        raise LogError(str(log.path), f"expected some of {wanted}, it has {there}")
    reference = next(streams[kind].topic for kind in REFERENCE_ORDER if kind in streams)
    return FusionPlan(streams=tuple(streams.values()), reference=reference)
