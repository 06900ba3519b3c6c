"""Before the first run: every ONNX of a model directory to plans, checked and compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from fusion_rt.engine import plan_builder
from fusion_rt.engine.onnx_lint import Finding, input_names, lint, read_onnx
from fusion_rt.engine.parity import Parity, parity
from fusion_rt.engine.plan_builder import library_name
from fusion_rt.engine.plan_cache import PlanCache, default_cache_dir, plan_key
from fusion_rt.engine.precision import Precision, in_precision, samples_from
from fusion_rt.errors import EngineBuildError
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


def findings_of(path: Path) -> list[Finding]:
    """Lint findings of an ONNX file, the fatal ones first."""
    return lint(read_onnx(path))


def checked(path: Path) -> list[Finding]:
    """The same, but raises if one of them is fatal."""
    findings = findings_of(path)
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


def open_workshop(flavour: str, targets: Sequence[str] | None, cache_dir: Path | None) -> Workshop:
    """The library that is installed, and its targets: all it can build for, if none are given."""
    trt = plan_builder.import_tensorrt(flavour)
    chosen = list(targets or plan_builder.known_targets(trt))
    device = open_device().identity if plan_builder.CURRENT in chosen else ""
    return Workshop(trt, chosen, PlanCache(cache_dir or default_cache_dir()), device)


def _plan(
    path: Path, target: str, workshop: Workshop, progress: plan_builder.Progress | None
) -> Plan:
    trt, cache = workshop.trt, workshop.cache
    device = workshop.device if target == plan_builder.CURRENT else ""
    key = plan_key(path, library_name(trt), target, device)
    plan, _ = cache.read(key)
    from_cache = plan is not None
    if plan is None:
        timing = cache.folder / "timing.cache"
        content = path.read_bytes()
        plan = plan_builder.build_plan(trt, path.name, content, [target], progress, timing)
        cache.write(key, plan)
    return Plan(target, str(cache.path(key)), len(plan), from_cache)


def _compared(path: Path, converted: Path, calibration: Path) -> list[Parity]:
    if not calibration.is_file():
        return parity(path, converted)
    inputs = input_names(read_onnx(path))
    return parity(path, converted, list(samples_from(calibration, inputs)))
