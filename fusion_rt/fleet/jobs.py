"""The jobs of a fleet: what a worker does with one slice."""

from pathlib import Path

import msgspec

from fusion_rt.fleet.measures import row_of
from fusion_rt.fleet.run import RUN, detections_of
from fusion_rt.fleet.runs import keep, part_of
from fusion_rt.fleet.task import Job, Row, Slice
from fusion_rt.logs.read import LogReader
from fusion_rt.model_file import find_model, shipped_models
from fusion_rt.replay.open import Networks, opened_replay
from fusion_rt.replay.plan import DECISIONS, ReplayOptions

RECORDED = "recorded"
"""In place of a model: what the rig itself detected, as it stands in the log."""
RIGS_OWN = "own"
"""In place of a model: that of each log's rig."""


def open_job(runs: Path | None, options: ReplayOptions, model: str) -> Job:
    """The job of one model, as `named_model` says it.

    `runs` is where detections are kept, None when nobody compares them.
    """
    if model == RECORDED:
        return _recorded
    own = None if model == RIGS_OWN else model
    return ReplayJob(runs, msgspec.structs.replace(options, model=own), model)


def named_model(text: str) -> str:
    """As workers find it wherever they run; raises ConfigError where there is no such model."""
    if text in (RECORDED, RIGS_OWN, DECISIONS, *shipped_models()):
        return text
    return str(find_model(text).resolve())


def _recorded(part: Slice) -> Row:
    return {**row_of(detections_of(Path(part.log), part)), RUN: part.log}


class ReplayJob:
    """Replays slice after slice in lock step; the networks are loaded once."""

    def __init__(self, runs: Path | None, options: ReplayOptions, name: str) -> None:
        self._runs = runs
        self._options = options
        self._name = name
        self._networks = Networks()

    def __call__(self, part: Slice) -> Row:
        with LogReader(Path(part.log)) as log:
            replay = opened_replay(log, self._options, self._networks, part_of(log, part))
            answers = list(replay.answers())
            result = replay.result()
        return {
            **row_of(answers),
            "failed_sets": sum(bool(one.failure) for one in answers),
            "wait_p50_ms": result.wait_ms.get("p50"),
            "wait_p99_ms": result.wait_ms.get("p99"),
            "speed": result.speed,
            "undecodable": sum(result.undecodable.values()),
            "digest": result.digest,
            "model_digest": self._networks.digest,
            RUN: keep(answers, self._runs, self._name, part),
        }
