"""`fusion-rt report`: where a run's time went, as a page with pictures, a trace, or numbers."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fusion_rt.latency.perfetto import perfetto_trace
from fusion_rt.latency.summary import read_run, summarise
from fusion_rt.report import report_page


def register(app: typer.Typer) -> None:
    app.command("report")(report_command)


def report_command(
    run: Annotated[Path, typer.Argument(help="Folder that `run --rows` wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; default: RUN/report.html.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Also a trace for ui.perfetto.dev, here.")
    ] = None,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds to leave out.")] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers instead of writing a page.")
    ] = False,
) -> None:
    """Where a run's time went: budgets, percentiles, the worst answers, what became of frames."""
    found = read_run(run, warm_up)
    if trace is not None:
        trace.write_bytes(perfetto_trace(found))
        typer.echo(f"trace in {trace}: open it at https://ui.perfetto.dev", err=as_json)
    if as_json:
        typer.echo(msgspec.json.encode(summarise(found)))
        return
    output = output or run / "report.html"
    output.write_text(report_page(found))
    typer.echo(f"report in {output}")
