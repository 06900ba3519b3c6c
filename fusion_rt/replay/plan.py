"""What a replay fuses, and how: the rig in the log, its streams, a model, faults on purpose."""

import msgspec

from fusion_rt.errors import FaultError, LogError
from fusion_rt.faults import FaultSchedule, parse_schedule
from fusion_rt.fusion.options import REFERENCE_ORDER, FusionPlan, StreamPlan, planned_stream
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, logged_rig, rig_from
from fusion_rt.logs.write import OWN
from fusion_rt.rig import Rig, find_rig, load_rig

DECISIONS = "decisions"
"""In place of a model: sets and modes, without a network."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a log is replayed with: the same for one and for many."""

    model: str | None = None
    """A directory, the name of a shipped one, or DECISIONS; None: the rig's own."""
    rig: str | None = None
    """In place of the one inside the log."""
    faults: tuple[str, ...] = ()
    seed: int = 0


def planned(log: LogReader, options: ReplayOptions) -> tuple[Rig, FusionPlan]:
    """The rig and its fusion; raises LogError and ConfigErrors where they cannot be had."""
    model = None if options.model == DECISIONS else options.model
    if options.rig is None:
        rig = rig_of(log, model)
    else:
        rig = load_rig(find_rig(options.rig))
        if model is not None:
            rig = rig_from(logged_rig(rig).files, rig.source, model)
    plan = plan_of(rig, log)
    return rig, msgspec.structs.replace(plan, model="") if options.model == DECISIONS else plan


def schedule_for(options: ReplayOptions, rig: Rig) -> FaultSchedule:
    """Raises FaultError, also for one that would befall nobody: it is a mistake."""
    schedule = parse_schedule(options.faults, options.seed)
    for one in schedule.faults:
        if not any(one.concerns(topic) for topic in rig.sensors):
            known = ", ".join(rig.sensors)
            raise FaultError(one.who, f"expected a sensor of the rig {rig.name}", f"known: {known}")
    return schedule


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
