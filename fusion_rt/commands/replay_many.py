"""Many logs, replayed at once here or on a Ray cluster: a table, and two models compared."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fusion_rt.clock import RigClock
from fusion_rt.errors import FleetError
from fusion_rt.fleet.jobs import named_model, open_job
from fusion_rt.fleet.report import write_report
from fusion_rt.fleet.run import Where, agreements_of, outcomes_of, planned
from fusion_rt.fleet.table import check_target, write_table
from fusion_rt.fleet.task import Outcome
from fusion_rt.replay.plan import ReplayOptions

EXIT_PARTIAL = 1
"""Some tasks have no result; the table says which and why."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with each log, and where it goes."""

    table: Path
    html: Path | None = None
    slice_ns: int | None = None


def replay_many(
    logs: Sequence[Path],
    options: ReplayOptions,
    models: Sequence[str],
    where: Where,
    results: Results,
) -> None:
    """A replay for each log, or part of one, and each model; exits with 1 if some failed."""
    table, html = results.table, results.html
    models = list(dict.fromkeys(named_model(model) for model in models))
    if html is not None and len(models) != 2:
        raise FleetError("--html", f"expected --model twice to compare, got {len(models)}")
    check_target(table)
    runs = None if html is None else table.absolute().with_suffix(".runs")
    opener = partial(open_job, runs, options)
    tasks, outcomes = planned(logs, models, results.slice_ns)
    replays = outcomes_of(tasks, opener, where, RigClock.starting_now())
    for outcome in _tracked(replays, len(tasks)):
        outcomes.append(outcome)
        write_table(outcomes, table)  # whatever happens next, this much is kept
    write_table(outcomes, table)
    if html is not None:
        pair = (models[0], models[1])
        write_report(outcomes, pair, agreements_of(outcomes, pair), html)
    _tell(outcomes, [path for path in (table, html) if path is not None])


def _tracked(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    columns = (TextColumn("replays"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        for outcome in outcomes:
            yield outcome
            progress.advance(task)


def _tell(outcomes: Sequence[Outcome], written: Sequence[Path]) -> None:
    without = [outcome for outcome in outcomes if outcome.verdict != "done"]
    for outcome in without:
        typer.echo(f"{outcome.verdict}: {outcome.task.slice}: {outcome.reason}", err=True)
    typer.echo(f"{len(outcomes) - len(without)} of {len(outcomes)} replays done")
    typer.echo(f"written: {', '.join(str(path) for path in written)}")
    if without:
        raise typer.Exit(EXIT_PARTIAL)
