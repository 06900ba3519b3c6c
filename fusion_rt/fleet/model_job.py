"""Puts slice after slice through one model, which is opened once."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.errors import FleetError
from fusion_rt.fleet.measures import row_of
from fusion_rt.fleet.run import RUN
from fusion_rt.fleet.runs import keep, part_of
from fusion_rt.fleet.task import Row, Slice
from fusion_rt.fusion.inline import InlineFusion
from fusion_rt.fusion.options import REFERENCE_ORDER, FusionPlan
from fusion_rt.fusion.runner import antenna_m, mounts_of
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Detections, Message
from fusion_rt.model_file import Model, ModelFile, find_model, load_model
from fusion_rt.perception import Mounts, open_model
from fusion_rt.replay.decisions import answered, digest_of
from fusion_rt.replay.plan import plan_of, rig_of
from fusion_rt.replay.run import Slice as Part
from fusion_rt.transport.inbox import Received

_AFTER_NS = NS_PER_S // 2
"""The last sets wait for members that will not come."""


class ModelJob:
    """A job of a fleet: lock step with this model, on the CPU or GPU of the worker."""

    def __init__(self, runs: Path | None, name: str) -> None:
        """Raises FusionError where there is no such model, or it cannot be opened."""
        folder = find_model(name, Path.cwd())
        self._model: Model = load_model(folder)
        self._perception = open_model(folder, Mounts())
        self._runs = runs
        self._name = name

    def __call__(self, part: Slice) -> Row:
        with LogReader(Path(part.log)) as log:
            rig = rig_of(log)
            plan = plan_for(self._model.file, plan_of(rig, log))
            self._perception.mount(mounts_of(plan, rig.calibration))
            piece = part_of(log, part)
            fusion = InlineFusion(
                plan, self._perception, piece.start_ns, antenna_m(plan, rig.calibration)
            )
            clock = RigClock.starting_now()
            begun_ns = clock.now_ns()
            answers = list(_answers(log, plan, fusion, piece))
            took_ns = clock.now_ns() - begun_ns
        return {
            **row_of(answers),
            "failed_sets": sum(bool(one.failure) for one in answers),
            "speed": round((piece.end_ns - piece.start_ns) / max(took_ns, 1), 3),
            "digest": digest_of(answered(one) for one in answers),
            "model_digest": self._model.digest,
            RUN: keep(answers, self._runs, self._name, part),
        }


def plan_for(file: ModelFile, plan: FusionPlan) -> FusionPlan:
    """With the streams that the model takes; raises FleetError where there are none."""
    streams = tuple(stream for stream in plan.streams if stream.kind in file.kinds)
    if not streams:
        there = ", ".join(stream.kind for stream in plan.streams)
        raise FleetError(file.name, f"expected one of {', '.join(file.kinds)}, got {there}")
    topics = {stream.kind: stream.topic for stream in streams}
    reference = next((topics[kind] for kind in REFERENCE_ORDER if kind in topics), None)
    return msgspec.structs.replace(plan, streams=streams, reference=reference)


def _answers(
    log: LogReader, plan: FusionPlan, fusion: InlineFusion, piece: Part
) -> Iterator[Detections]:
    topics = [stream.topic for stream in plan.streams]
    for received in log.messages(topics, piece.start_ns, piece.end_ns):
        body = partial(_body, received)
        yield from fusion.arrived(received.header, received.recv_ns, body)
    yield from fusion.advance(piece.end_ns + _AFTER_NS)


def _body(received: Received) -> Message | None:
    """As a subscriber would have it: nothing where the message is not valid."""
    return None if received.message.problem() else received.message
