"""`fusion-rt doctor`: what is wrong with this machine or this rig, and the way out."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from fusion_rt.diagnosis import Finding, examine_machine, examine_rig, examine_run
from fusion_rt.gpu.doctor import run_gpu_doctor
from fusion_rt.session import default_run_dir

_MARKS = {"ok": ("ok  ", "green"), "warning": ("warn", "yellow"), "failure": ("FAIL", "bold red")}
EXIT_UNFIT = 1


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor_command)


def doctor_command(
    rig: Annotated[str | None, typer.Argument(help="Also a rig: a file or a shipped name.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where it runs, if not the default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as a JSON list.")] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Only the GPU: try out all that it is used for.")
    ] = False,
) -> None:
    """Examine the machine, and a rig with its running processes if one is named."""
    if gpu:
        raise typer.Exit(run_gpu_doctor())
    findings = examine_machine()
    name = None
    if rig is not None:
        finding, name = examine_rig(rig)
        findings += finding
    if name is not None:
        run_dir = run_dir or default_run_dir(name)
    if run_dir is not None:
        findings += examine_run(run_dir)
    if as_json:
        typer.echo(msgspec.json.encode(findings))
    else:
        _print(findings)
    if any(finding.verdict == "failure" for finding in findings):
        raise typer.Exit(EXIT_UNFIT)


def _print(findings: list[Finding]) -> None:
    console = Console()
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        line = Text.assemble((mark, style), f"  {finding.subject}: {finding.found}")
        console.print(line, soft_wrap=True)
        if finding.way_out:
            console.print(f"      -> {finding.way_out}", soft_wrap=True, style="dim")
