"""The jobs of a fleet: what a worker does with one slice."""

from functools import partial
from pathlib import Path

from fusion_rt.faults import FaultSchedule
from fusion_rt.fleet.measures import row_of
from fusion_rt.fleet.model_job import ModelJob
from fusion_rt.fleet.run import RUN, detections_of
from fusion_rt.fleet.runs import keep, part_of
from fusion_rt.fleet.task import Job, Row, Slice
from fusion_rt.logs.read import LogReader
from fusion_rt.replay.lockstep import DecisionsOnly
from fusion_rt.replay.plan import plan_of, rig_of
from fusion_rt.replay.run import Replay, RunResult

RECORDED = "recorded"
"""In place of a model: what the rig itself detected, as it stands in the log."""
DECISIONS = "decisions"
"""In place of a model: the fusion's decisions in lock step, without a network."""


def open_job(runs: Path | None, model: str) -> Job:
    """The job of one model: its folder, or the name of one that comes along.

    `runs` is where detections are kept, None when nobody compares them. Raises FusionError.
    """
    if model == RECORDED:
        return _recorded
    if model == DECISIONS:
        return partial(_decided, runs)
    return ModelJob(runs, model)


def _recorded(part: Slice) -> Row:
    return {**row_of(detections_of(Path(part.log), part)), RUN: part.log}


def _decided(runs: Path | None, part: Slice) -> Row:
    with LogReader(Path(part.log)) as log:
        plan, piece = plan_of(rig_of(log), log), part_of(log, part)
        fusion = DecisionsOnly(plan, piece.start_ns)
        replay = Replay(log, plan, fusion, piece, FaultSchedule())
        answers = list(replay.answers())
        kept = keep(answers, runs, DECISIONS, part)
        return {**row_of(answers), **_of_result(replay.result()), RUN: kept}


def _of_result(result: RunResult) -> Row:
    return {
        "wait_p50_ms": result.wait_ms.get("p50"),
        "wait_p99_ms": result.wait_ms.get("p99"),
        "speed": result.speed,
        "undecodable": sum(result.undecodable.values()),
        "digest": result.digest,
    }
