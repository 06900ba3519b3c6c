"""What a replay fuses: the streams of the rig in the log that are there to be replayed."""

from fusion_rt.errors import LogError
from fusion_rt.fusion.options import REFERENCE_ORDER, FusionPlan, StreamPlan, planned_stream
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.write import OWN
from fusion_rt.rig import Rig


def plan_of(rig: Rig, log: LogReader) -> FusionPlan:
    """One stream of each kind, as a rig without the section `fusion` has them.

    Raises LogError where the log holds none of the rig's streams.
    """
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
