"""`fusion-rt diff`: the first decision or detection in which two runs differ."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fusion_rt.replay.decisions import AnsweredSet, Difference, first_difference, read_run

EXIT_DIFFERENT = 1


def register(app: typer.Typer) -> None:
    app.command("diff")(diff_command)


def diff_command(
    run_a: Annotated[Path, typer.Argument(help="A run's JSON, or a log with its detections.")],
    run_b: Annotated[Path, typer.Argument(help="The other one.")],
    tolerance: Annotated[
        float, typer.Option(min=0, help="For every number of a detection: metres, rad, m/s.")
    ] = 1e-3,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare two runs set by set. Exit code 0: they agree. 1: they differ, and where is said."""
    found = first_difference(read_run(run_a), read_run(run_b), tolerance)
    if json:
        typer.echo(msgspec.json.encode(found))
    elif found is None:
        typer.echo("the same decisions, and detections within the tolerance")
    else:
        typer.echo(report(found))
    if found is not None:
        raise typer.Exit(EXIT_DIFFERENT)


def report(difference: Difference) -> str:
    """For people: what went before, then where they part."""
    start = difference.number - len(difference.before)
    lines = [f"set {start + n}: {_line(one)}" for n, one in enumerate(difference.before)]
    return "\n".join([*lines, f"set {difference.number}: {difference.what}: {difference.sentence}"])


def _line(one: AnsweredSet) -> str:
    there = [member.topic for member in one.members if member.quality != "missing"]
    return (
        f"{one.stamp_ns} {one.mode} {len(one.boxes)} detections from {', '.join(there) or 'none'}"
    )
