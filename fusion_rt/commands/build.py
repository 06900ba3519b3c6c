"""`fusion-rt build`: every network of a model directory, ready for TensorRT."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from fusion_rt.errors import MissingExtraError

if TYPE_CHECKING:
    from fusion_rt.engine.model_build import Built
    from fusion_rt.engine.plan_builder import Progress as ShowProgress

EXIT_REFUSED_NODES = 1


def register(app: typer.Typer) -> None:
    app.command("build")(build_command)


def build_command(
    model_dir: Annotated[Path, typer.Argument(help="Folder with ONNX files.")],
    target: Annotated[
        list[str] | None, typer.Option(help="sm_86 ... (RTX) or current; several allowed.")
    ] = None,
    precision: Annotated[Literal["fp32", "fp16", "int8"], typer.Option()] = "fp32",
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of NAME.npz; default MODEL_DIR/calibration.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Where plans are kept.")] = None,
    flavour: Annotated[
        str, typer.Option(help="tensorrt or tensorrt_rtx; default: what is installed.")
    ] = "",
    lint_only: Annotated[
        bool, typer.Option("--lint-only", help="Only say what is refused.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was built as a JSON list.")] = False,
) -> None:
    """Check, convert and build every network of a model directory for TensorRT."""
    model_build = _machinery()
    console = Console(stderr=as_json)
    files = model_build.model_files(model_dir)
    if lint_only:
        _lint(console, files, model_build)
        return
    workshop = model_build.open_workshop(flavour, target, cache)
    samples = calibration or model_dir / "calibration"
    with _progress_bars(console) as progress:
        built = [
            model_build.build_one(path, precision, samples / f"{path.stem}.npz", workshop, progress)
            for path in files
        ]
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in built]))
    else:
        _print_built(console, built)


def _machinery() -> ModuleType:
    """Imported when asked for: it needs onnx, which a robot that only runs plans does not have."""
    try:
        from fusion_rt.engine import model_build
    except ImportError as error:
        raise MissingExtraError("tensorrt", str(error)) from error
    return model_build


def _lint(console: Console, files: list[Path], model_build: ModuleType) -> None:
    fatal = 0
    for path in files:
        findings = model_build.findings_of(path)
        fatal += sum(finding.is_fatal for finding in findings)
        console.print(f"{path.name}: {len(findings) or 'no'} findings", highlight=False)
        for finding in findings:
            style = "red" if finding.is_fatal else "yellow"
            console.print(f"  {finding}", style=style, markup=False, soft_wrap=True)
    if fatal:
        raise typer.Exit(EXIT_REFUSED_NODES)


@contextmanager
def _progress_bars(console: Console) -> "Iterator[ShowProgress]":
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def show(phase: str, step: int, steps: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=steps)
            bars.update(tasks[phase], completed=step, total=steps, visible=step < steps)

        yield show


def _print_built(console: Console, built: "list[Built]") -> None:
    table = Table("network", "plans", "size", "against fp32 (relative, cosine)")
    for entry in built:
        plans = [f"{p.target} {'cached' if p.from_cache else 'built'}" for p in entry.plans]
        sizes = [f"{p.size / 2**20:.1f} MiB" for p in entry.plans]
        far = [f"{p.output} {p.relative:.1e} {p.cosine:.5f}" for p in entry.parity]
        table.add_row(entry.model, "\n".join(plans), "\n".join(sizes), "\n".join(far))
    console.print(table)
    for entry in built:
        for finding in entry.findings:
            console.print(f"{entry.model}: {finding}", style="yellow", markup=False)
