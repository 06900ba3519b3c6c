"""The jobs of a fleet: what a worker does with one slice."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from fusion_rt.errors import FleetError
from fusion_rt.faults import FaultSchedule
from fusion_rt.fleet.measures import row_of
from fusion_rt.fleet.run import RUN, detections_of
from fusion_rt.fleet.task import Job, Row, Slice
from fusion_rt.logs.entry import entry
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import Detections
from fusion_rt.replay.decisions import DETECTIONS
from fusion_rt.replay.plan import plan_of
from fusion_rt.replay.run import Replay, RunResult, rig_of, whole
from fusion_rt.replay.run import Slice as Part

RECORDED = "recorded"
"""In place of a model: what the rig itself detected, as it stands in the log."""
DECISIONS = "decisions"
"""In place of a model: the fusion's decisions in lock step, without a network."""


def open_job(runs: Path | None, model: str) -> Job:
    """The job of one model; `runs` is where detections are kept, None when nobody compares."""
    if model == RECORDED:
        return _recorded
    if model == DECISIONS:
        return partial(_decided, runs)
    raise FleetError(model, f"expected {RECORDED} or {DECISIONS}")


def _recorded(part: Slice) -> Row:
    return {**row_of(detections_of(Path(part.log), part)), RUN: part.log}


def _decided(runs: Path | None, part: Slice) -> Row:
    with LogReader(Path(part.log)) as log:
        replay = Replay(log, plan_of(rig_of(log), log), _part(log, part), FaultSchedule())
        kept = None if runs is None else runs / DECISIONS / f"{_name(part)}.mcap"
        row = row_of(_kept(replay.answers(), kept))
        return {**row, **_of_result(replay.result()), RUN: None if kept is None else str(kept)}


def _part(log: LogReader, part: Slice) -> Part:
    all_of_it = whole(log)
    start_ns = all_of_it.start_ns if part.start_ns is None else part.start_ns
    end_ns = all_of_it.end_ns if part.end_ns is None else part.end_ns
    return Part(start_ns, end_ns)


def _of_result(result: RunResult) -> Row:
    wait, compute = result.latency_ms["wait"], result.latency_ms["compute"]
    return {
        "wait_p50_ms": wait.get("p50"),
        "wait_p99_ms": wait.get("p99"),
        "compute_p99_ms": compute.get("p99"),
        "speed": result.speed,
        "undecodable": sum(result.undecodable.values()),
        "digest": result.digest,
    }


def _kept(answers: Iterable[Detections], path: Path | None) -> Iterator[Detections]:
    """The same, written as they pass; a retry starts its log anew."""
    if path is None:
        yield from answers
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with LogWriter(path, compression="lz4") as writer:
        for number, one in enumerate(answers):
            at_ns = one.stamp_ns
            writer.write(entry(DETECTIONS, one, seq=number, sent_ns=at_ns, recv_ns=at_ns))
            yield one


def _name(part: Slice) -> str:
    """Of the log and its place, as logs of one name may lie in several folders."""
    digest = hashlib.sha256(str(part).encode()).hexdigest()[:12]
    return f"{Path(part.log).stem}-{digest}"
