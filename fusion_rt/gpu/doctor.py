"""`fusion-rt doctor --gpu`: a self-test for a new machine, from driver to captured network."""

import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fusion_rt.engine.engine import EngineOptions
from fusion_rt.engine.open import open_engine
from fusion_rt.engine.parity import compare, random_samples
from fusion_rt.errors import FusionError
from fusion_rt.gpu import self_test
from fusion_rt.gpu.device import CudaDevice, open_device
from fusion_rt.gpu.graph_capture import import_bindings
from fusion_rt.gpu.kernel_image import kernel_image, shipped_image
from fusion_rt.gpu.measure import Measured, copy_rate

_PACKAGES = ("pycuda", "cuda-bindings", "tensorrt", "tensorrt_rtx", "onnxruntime", "torch")
_MOST_DIFFERENT = 2e-2  # TF32 and other sums of convolutions, relative


@dataclass
class Diagnosis:
    """What was found, in order. `wrong` is empty where the GPU can be used."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)  # mark, name, text
    wrong: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # optional parts that are not installed
    timings: list[Measured] = field(default_factory=list)
    caught: tuple[type[Exception], ...] = (FusionError, RuntimeError)  # and PyCUDA's

    def note(self, name: str, text: str) -> None:
        self.lines.append(("-", name, text))

    def check(self, name: str, test: Callable[[], str]) -> None:
        """Run a test that returns what is wrong; an error is what is wrong."""
        try:
            problem = test()
        except self.caught as error:
            problem = str(error)
        self.lines.append(("failed" if problem else "ok", name, problem))
        if problem:
            self.wrong.append(name)


def diagnose(open_gpu: Callable[[], CudaDevice] = open_device) -> Diagnosis:
    """Test everything that this machine has; stops where nothing further can work."""
    found = Diagnosis()
    found.note("packages", ", ".join(_versions()) or "none of " + ", ".join(_PACKAGES))
    try:
        device = open_gpu()
        image = kernel_image(device.sm)
    except FusionError as error:
        found.lines.append(("failed", "gpu", str(error)))
        found.wrong.append("gpu")
        return found
    memory = f"{device.total_bytes / 2**30:.1f} GiB"
    driver = f"driver for CUDA {device.driver_version / 1000:.1f}"
    found.note("gpu", f"{device.name}, {device.sm}, {memory}, {driver}")
    found.note("kernels", "shipped" if shipped_image().is_file() else "compiled here")
    found.caught += (device.error,)
    with device.current():
        _test(found, self_test.Bench(device, device.module(image), device.stream()))
    return found


def run_gpu_doctor(console: Console | None = None) -> int:
    """Print a diagnosis; 0: all works, 1: something is wrong, 2: no GPU can be used."""
    console = console or Console()
    found = diagnose()
    styles = {"ok": "green", "failed": "red", "absent": "yellow", "-": "dim"}
    for mark, name, text in found.lines:
        console.print(f"{mark:>7}", style=styles[mark], end="  ")
        console.print(f"{name:<24} {text}", markup=False, highlight=False, soft_wrap=True)
    if found.timings:
        console.print(_table(found.timings))
    console.print(verdict(found), style="bold", markup=False, soft_wrap=True)
    return exit_code(found)


def verdict(found: Diagnosis) -> str:
    """One sentence on which a person can act."""
    if "gpu" in found.wrong:
        return "verdict: no GPU can be used here; everything runs on the CPU"
    if found.wrong:
        return f"verdict: do not use this GPU yet, wrong: {', '.join(found.wrong)}"
    without = f" (without {', '.join(found.absent)})" if found.absent else ""
    return f"verdict: this GPU can be used{without}"


def exit_code(found: Diagnosis) -> int:
    """As `run_gpu_doctor` returns it."""
    if "gpu" in found.wrong:
        return 2
    return 1 if found.wrong else 0


def _test(found: Diagnosis, bench: self_test.Bench) -> None:
    for name, check in self_test.kernel_checks(bench).items():
        found.check(name, check)
    _if_installed(found, "graph capture", lambda: _capture(bench))
    _if_installed(found, "tensorrt", _network)
    found.check("timing", lambda: _time(found, bench))


def _time(found: Diagnosis, bench: self_test.Bench) -> str:
    found.timings.append(copy_rate(bench.device, bench.stream, 64 << 20))
    found.timings += self_test.kernel_timings(bench, 100_000, (1920, 1080))
    return ""


def _if_installed(found: Diagnosis, name: str, test: Callable[[], str]) -> None:
    """A missing extra is no fault; a broken one is."""
    packages = {"graph capture": ["cuda-bindings"], "tensorrt": ["tensorrt", "tensorrt_rtx"]}[name]
    if any(version.split()[0] in packages for version in _versions()):
        found.check(name, test)
    else:
        found.absent.append(name)
        found.lines.append(("absent", name, f"install {' or '.join(packages)}"))


def _capture(bench: self_test.Bench) -> str:
    return self_test.check_capture(bench, import_bindings())


def _network() -> str:
    """Build, run twice (the second is a replay) and compare with onnxruntime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "self_test.onnx"
        self_test.write_small_network(path)
        options = EngineOptions(cache_dir=Path(folder))
        with (
            open_engine(path, "onnxruntime") as cpu,
            open_engine(path, "tensorrt", options) as gpu,
        ):
            samples = random_samples(cpu.inputs.values(), 2)
            (result,) = compare(cpu, gpu, samples)
    if result.relative <= _MOST_DIFFERENT:
        return ""
    return f"answers differ by {result.relative:.1%} from onnxruntime's"


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _table(timings: list[Measured]) -> Table:
    copy = timings[0].gigabytes_per_s
    table = Table("on the device", "median us", "GB/s", "of the copy rate")
    for timing in timings:
        rate = timing.gigabytes_per_s
        table.add_row(timing.name, f"{timing.median_us:.1f}", f"{rate:.0f}", f"{rate / copy:.0%}")
    return table
