"""`fusion-rt build`: every ONNX of a model directory to a plan, checked and compared."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from fusion_rt.engine import plan_builder
from fusion_rt.engine.onnx_lint import Finding, input_names, lint, read_onnx
from fusion_rt.engine.parity import Parity, parity
from fusion_rt.engine.plan_cache import PlanCache, default_cache_dir, plan_key
from fusion_rt.engine.precision import Precision, in_precision, samples_from
from fusion_rt.errors import EngineBuildError, FusionError
from fusion_rt.gpu.device import open_device

_CONVERTED = (".fp16", ".int8")


@dataclass(frozen=True)
class Plan:
    """One file in the cache."""

    target: str
    path: str
    size: int
    from_cache: bool


@dataclass(frozen=True)
class Built:
    """What became of one ONNX."""

    model: str
    plans: list[Plan]
    findings: list[str]
    parity: list[Parity]  # against fp32; empty for fp32 itself


@dataclass(frozen=True)
class Workshop:
    """What plans are built with and for. `device` names the GPU where a plan is bound to it."""

    trt: ModuleType
    targets: Sequence[str]
    cache: PlanCache
    device: str = ""


def model_files(folder: Path) -> list[Path]:
    """The fp32 ONNX files of a model directory."""
    found = [path for path in sorted(folder.glob("*.onnx")) if not path.stem.endswith(_CONVERTED)]
    if not found:
        raise EngineBuildError(str(folder), "no .onnx file there", "give a model directory")
    return found


def checked(path: Path) -> list[Finding]:
    """Lint findings of an ONNX file; raises if one of them is fatal."""
    findings = lint(read_onnx(path))
    fatal = [str(finding) for finding in findings if finding.is_fatal]
    if fatal:
        problem = f"TensorRT refuses {len(fatal)} of its nodes: " + " | ".join(fatal)
        raise EngineBuildError(path.name, problem, "change the export")
    return findings


def build_one(
    path: Path,
    precision: Precision,
    calibration: Path,
    workshop: Workshop,
    progress: plan_builder.Progress | None = None,
) -> Built:
    """Lint, convert and compare one ONNX, then build a plan per target that has none yet."""
    findings = checked(path)
    converted = in_precision(path, precision, calibration if calibration.is_file() else None)
    return Built(
        model=converted.name,
        plans=[_plan(converted, target, workshop, progress) for target in workshop.targets],
        findings=[str(finding) for finding in findings],
        parity=[] if precision == "fp32" else _compared(path, converted, calibration),
    )


def open_workshop(flavour: str, targets: Sequence[str] | None, cache: PlanCache) -> Workshop:
    """The library that is installed, and its targets: all it can build for, if none are given."""
    trt = plan_builder.import_tensorrt(flavour)
    chosen = list(targets or plan_builder.known_targets(trt))
    device = open_device().identity if plan_builder.CURRENT in chosen else ""
    return Workshop(trt, chosen, cache, device)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def build(
        model_dir: Annotated[Path, typer.Argument(help="folder with ONNX files")],
        target: Annotated[
            list[str] | None, typer.Option(help="sm_86 ... (RTX) or current; several allowed")
        ] = None,
        precision: Annotated[str, typer.Option(help="fp32, fp16 or int8")] = "fp32",
        calibration: Annotated[
            Path | None, typer.Option(help="folder of NAME.npz; default MODEL_DIR/calibration")
        ] = None,
        cache: Annotated[Path | None, typer.Option(help="where plans are kept")] = None,
        flavour: Annotated[
            str, typer.Option(help="tensorrt or tensorrt_rtx; default: what is installed")
        ] = "",
        lint_only: Annotated[bool, typer.Option("--lint-only")] = False,
        as_json: Annotated[bool, typer.Option("--json")] = False,
    ) -> None:
        """Check, convert and build every network of a model directory for TensorRT."""
        console = Console(stderr=as_json)
        try:
            files = model_files(model_dir)
            if lint_only:
                _print_lint(console, files)
                return
            workshop = open_workshop(flavour, target, PlanCache(cache or default_cache_dir()))
            samples = calibration or model_dir / "calibration"
            built = _build_all(console, files, _known_precision(precision), samples, workshop)
        except FusionError as error:
            console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from error
        if as_json:
            typer.echo(json.dumps([asdict(entry) for entry in built]))
        else:
            _print_built(console, built)


def _build_all(
    console: Console, files: list[Path], precision: Precision, calibration: Path, workshop: Workshop
) -> list[Built]:
    with _progress_bars(console) as progress:
        return [
            build_one(path, precision, calibration / f"{path.stem}.npz", workshop, progress)
            for path in files
        ]


def _plan(
    path: Path, target: str, workshop: Workshop, progress: plan_builder.Progress | None
) -> Plan:
    trt, cache = workshop.trt, workshop.cache
    device = workshop.device if target == plan_builder.CURRENT else ""
    key = plan_key(path, plan_builder.library_of(trt), target, device)
    plan, _ = cache.read(key)
    from_cache = plan is not None
    if plan is None:
        timing = cache.folder / "timing.cache"
        content = path.read_bytes()
        plan = plan_builder.build_plan(trt, path.name, content, [target], progress, timing)
        cache.write(key, plan)
    return Plan(target, str(cache.path(key)), len(plan), from_cache)


@contextmanager
def _progress_bars(console: Console) -> Iterator[plan_builder.Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def show(phase: str, step: int, steps: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=steps)
            bars.update(tasks[phase], completed=step, total=steps, visible=step < steps)

        yield show


def _compared(path: Path, converted: Path, calibration: Path) -> list[Parity]:
    if not calibration.is_file():
        return parity(path, converted)
    inputs = input_names(read_onnx(path))
    return parity(path, converted, list(samples_from(calibration, inputs)))


def _known_precision(name: str) -> Precision:
    if name not in ("fp32", "fp16", "int8"):
        raise EngineBuildError("--precision", f"got {name}", "use fp32, fp16 or int8")
    return name  # type: ignore[return-value]  # narrowed above


def _print_lint(console: Console, files: list[Path]) -> None:
    fatal = 0
    for path in files:
        findings = lint(read_onnx(path))
        fatal += sum(finding.is_fatal for finding in findings)
        console.print(f"{path.name}: {len(findings) or 'no'} findings", highlight=False)
        for finding in findings:
            style = "red" if finding.is_fatal else "yellow"
            console.print(f"  {finding}", style=style, highlight=False, markup=False)
    if fatal:
        raise typer.Exit(1)


def _print_built(console: Console, built: list[Built]) -> None:
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
