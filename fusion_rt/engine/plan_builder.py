"""ONNX to TensorRT plan: one path for `tensorrt` 10, 11 and `tensorrt_rtx`, strongly typed."""

import importlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fusion_rt.errors import BackendMissingError, EngineBuildError

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # phase, step, steps
FLAVOURS = ("tensorrt", "tensorrt_rtx")
CURRENT = "current"


def import_tensorrt(flavour: str = "") -> ModuleType:
    """The asked-for module, or the first of `FLAVOURS` that imports."""
    missing = []
    for name in (flavour,) if flavour else FLAVOURS:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: its shared libraries are not there
            missing.append(f"{name}: {error}")
    way_out = "pip install fusion_rt[tensorrt] or fusion_rt[tensorrt-rtx]; JetPack brings tensorrt"
    raise BackendMissingError("tensorrt", " | ".join(missing), way_out)


def library_name(trt: ModuleType) -> str:
    """Name and version, as plans are keyed by: a plan is good for exactly one version."""
    return f"{trt.__name__} {trt.__version__}"


def is_rtx(trt: ModuleType) -> bool:
    """Whether this flavour builds for GPUs that are not here, and compiles kernels at first run."""
    return hasattr(trt, "ComputeCapability")


def known_targets(trt: ModuleType) -> list[str]:
    """What may be asked of this flavour: full TensorRT builds only for the GPU at hand."""
    if not is_rtx(trt):
        return [CURRENT]
    names = [name for name in dir(trt.ComputeCapability) if name.startswith("SM")]
    return sorted((f"sm_{name[2:]}" for name in names), key=lambda name: int(name[3:]))


def build_plan(
    trt: ModuleType,
    model: str,
    onnx: bytes,
    targets: Sequence[str],
    progress: Progress | None = None,
    timing_cache: Path | None = None,
) -> bytes:
    """Build a plan for `targets` ("sm_86" ..., or "current"); `model` names it in errors."""
    said = _Said(trt)
    builder = trt.Builder(said.logger)
    network = _parsed(trt, builder, said, model, onnx)
    config = builder.create_builder_config()
    _set_targets(trt, config, model, targets)
    if progress is not None:
        config.progress_monitor = _monitor(trt, progress)
    cache = None if is_rtx(trt) else _load_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        way_out = "see the log above; fusion-rt build --lint-only names refused operators"
        raise EngineBuildError(model, said.problem() or "the builder gave no plan", way_out)
    if cache is not None and timing_cache is not None:
        _save_timing_cache(cache, timing_cache)
    return bytes(plan)


class _Said:
    """The library's log: warnings go to ours, errors are kept for the exception."""

    def __init__(self, trt: ModuleType) -> None:
        self.errors: list[str] = []
        severity = trt.ILogger.Severity
        said = self

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, level: Any, text: str) -> None:
                if level in (severity.ERROR, severity.INTERNAL_ERROR):
                    said.errors.append(text)
                elif level == severity.WARNING:
                    log.warning("%s: %s", trt.__name__, text)

        self.logger = Logger()

    def problem(self) -> str:
        return " | ".join(self.errors)[:600]


def _parsed(trt: ModuleType, builder: Any, said: _Said, model: str, onnx: bytes) -> Any:
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, said.logger)
    if parser.parse(onnx):
        return network
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    problem = " | ".join(f'{e.node_operator()} "{e.node_name()}": {e.desc()}' for e in errors)
    way_out = "export the network without it; fusion-rt build --lint-only lists alternatives"
    raise EngineBuildError(model, problem[:600] or said.problem(), way_out)


def _set_targets(trt: ModuleType, config: Any, model: str, targets: Sequence[str]) -> None:
    known = known_targets(trt)
    unknown = [target for target in targets if target not in (*known, CURRENT)]
    if unknown or not targets:
        problem = f"{library_name(trt)} cannot build for {', '.join(unknown) or 'no target'}"
        way_out = f"it knows {', '.join(known)}; build others on the device itself"
        raise EngineBuildError(model, problem, way_out)
    if not is_rtx(trt):
        return
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        name = "CURRENT" if target == CURRENT else f"SM{target[3:]}"
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)


def _monitor(trt: ModuleType, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, _parent: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self._steps[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            steps = self._steps.pop(phase_name)
            progress(phase_name, steps, steps)

    return Monitor()


def _load_timing_cache(config: Any, path: Path | None) -> Any:
    """Full TensorRT only: RTX has no tactics to time, and asking it would query a GPU."""
    if path is None:
        return None
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    if not config.set_timing_cache(cache, False) and content:  # of another version: start afresh
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _save_timing_cache(cache: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(bytes(cache.serialize()))
    temporary.replace(path)
