"""`fusion-rt fleet`: many logs at once, on this machine or on a Ray cluster."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.errors import FleetError
from fusion_rt.fleet.jobs import RECORDED, open_job
from fusion_rt.fleet.report import write_report
from fusion_rt.fleet.run import Where, agreements_of, logs_of, outcomes_of, planned
from fusion_rt.fleet.table import check_target, write_table
from fusion_rt.fleet.task import Outcome

EXIT_PARTIAL = 1
"""Some tasks have no result; the table says which and why."""


def register(app: typer.Typer) -> None:
    app.command("fleet")(fleet_command)


def fleet_command(
    logs: Annotated[list[str], typer.Argument(help="Logs, folders of parts, or 'logs/*.mcap'.")],
    table: Annotated[
        Path, typer.Option("-o", "--table", help="The results: .json, .csv or .parquet.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model, `recorded` as it was, or `decisions`. Twice compares."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Two models side by side (.html).")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Replays at once.")] = 1,
    cluster: Annotated[
        str | None, typer.Option(help="Ray: its address, ray://HOST:10001, or `local`.")
    ] = None,
    slice_s: Annotated[
        float | None, typer.Option("--slice", min=1, help="Cut logs into parts of so many seconds.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, max=10, help="Of a worker that died.")] = 1,
    limit_s: Annotated[
        float | None, typer.Option("--limit", min=1, help="Seconds that one attempt may take.")
    ] = None,
) -> None:
    """Do a replay for each log, or part of one, and each model. Exits with 1 if some failed."""
    models = list(dict.fromkeys(model or [RECORDED]))
    if html is not None and len(models) != 2:
        raise FleetError("--html", f"expected --model twice to compare, got {len(models)}")
    check_target(table)
    runs = None if html is None else table.absolute().with_suffix(".runs")
    clock = RigClock.starting_now()
    where = Where(
        jobs=jobs,
        cluster=cluster,
        retries=retries,
        limit_ns=None if limit_s is None else round(limit_s * NS_PER_S),
    )
    slice_ns = None if slice_s is None else round(slice_s * NS_PER_S)
    tasks, outcomes = planned(logs_of(logs), models, slice_ns)
    for outcome in _tracked(outcomes_of(tasks, partial(open_job, runs), where, clock), len(tasks)):
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
