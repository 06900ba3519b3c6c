"""Replays many logs with one or two models, here or on a cluster, and keeps what came of it."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from fusion_rt.clock import Clock
from fusion_rt.errors import FleetError, LogError
from fusion_rt.fleet.cluster import run_on_ray
from fusion_rt.fleet.local import run_locally
from fusion_rt.fleet.measures import Agreement, agreement
from fusion_rt.fleet.task import OpenJob, Outcome, Slice, Task, slices_of
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Detections

RUN = "run"
"""Column of the table: the log with what the replay detected, where the job kept one."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines do the work, and how hard they try."""

    jobs: int | None = None
    """At once; None: one here, and as many as fit on a cluster."""
    cluster: str | None = None
    """A Ray address or `local`; None: processes of this machine."""
    retries: int = 1
    limit_ns: int | None = None
    """Of one attempt; processes of this machine only."""


def logs_of(patterns: Sequence[str]) -> list[Path]:
    """Files, folders of parts, and patterns such as `logs/*.mcap`; raises FleetError for none."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        if not paths:
            raise FleetError(pattern, "expected logs, no file fits")
        found.update(dict.fromkeys(map(Path, paths)))
    return list(found)


def planned(
    logs: Sequence[Path], models: Sequence[str], slice_ns: int | None
) -> tuple[list[Task], list[Outcome]]:
    """What is to be done, and the outcomes of logs that cannot even be opened."""
    tasks: list[Task] = []
    refused: list[Outcome] = []
    for log in logs:
        name = str(log.absolute())  # workers may stand in another folder
        try:
            with LogReader(log) as opened:
                parts = slices_of(name, opened.start_ns, opened.end_ns + 1, slice_ns)
        except LogError as error:
            whole = Slice(log=name)
            refused += [
                Outcome(task=Task(slice=whole, model=m), verdict="refused", reason=str(error))
                for m in models
            ]
            continue
        tasks += [Task(slice=part, model=model) for model in models for part in parts]
    return sorted(tasks, key=lambda task: models.index(task.model)), refused


def outcomes_of(
    tasks: Sequence[Task], open_job: OpenJob, where: Where, clock: Clock
) -> Iterator[Outcome]:
    """As they come, one for each task."""
    if where.cluster is None:
        yield from run_locally(
            tasks,
            open_job,
            clock,
            jobs=where.jobs or 1,
            retries=where.retries,
            limit_ns=where.limit_ns,
        )
        return
    yield from run_on_ray(
        tasks,
        open_job,
        where.cluster,
        fleet=clock.now_ns(),
        jobs=where.jobs,
        retries=where.retries,
    )


def agreements_of(
    outcomes: Sequence[Outcome],
    models: tuple[str, str],
    progress: Callable[[int], None] = lambda _: None,
) -> Mapping[Slice, Agreement]:
    """Of the slices of which both models' runs were kept."""
    runs = {
        (outcome.task.slice, outcome.task.model): Path(str(outcome.row[RUN]))
        for outcome in outcomes
        if outcome.verdict == "done" and outcome.row.get(RUN)
    }
    found: dict[Slice, Agreement] = {}
    for part, model in runs:
        if model == models[0] and (other := runs.get((part, models[1]))) is not None:
            found[part] = agreement(detections_of(runs[part, model]), detections_of(other))
            progress(1)
    return found


def detections_of(log: Path, part: Slice | None = None) -> Iterator[Detections]:
    """The sets of detections that a log holds, in order."""
    start_ns, end_ns = (part.start_ns, part.end_ns) if part else (None, None)
    with LogReader(log) as opened:
        topics = [topic for topic in opened.streams() if topic.startswith("detections/")]
        for received in opened.messages(topics, start_ns, end_ns):
            if isinstance(received.message, Detections):
                yield received.message
