"""The self-test of a GPU: its verdicts, and that it finds what is broken; emulated on the host."""

import functools
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.gpu import measure
from fusion_rt.errors import BackendMissingError, MissingExtraError
from fusion_rt.gpu import doctor, self_test
from fusion_rt.gpu.device import CudaDevice
from fusion_rt.gpu.measure import Measured, copy_rate, measured
from tests.cuda_emulation import EmulatedDriver, EmulatedStream, compile_kernels
from tests.fake_tensorrt import FakeCuda

COMPILER = shutil.which("g++") or shutil.which("c++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_kernels(COMPILER, tmp_path_factory.mktemp("emulated"))


@pytest.fixture
def quick(monkeypatch) -> None:
    """Time everything once, and less of it: emulation is slow."""
    once = functools.partial(measured, rounds=1, repeats=1)
    monkeypatch.setattr(self_test, "measured", once)
    monkeypatch.setattr(doctor, "copy_rate", lambda d, s, _: copy_rate(d, s, 1 << 20))
    monkeypatch.setattr(doctor, "kernel_image", lambda _sm: b"x")
    small = functools.partial(self_test.kernel_timings, points=1000, image_size=(64, 48))
    monkeypatch.setattr(self_test, "kernel_timings", lambda bench, *_: small(bench))


def without_extras(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_versions", lambda: ["pycuda 2026.1"])


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_good_gpu_passes_every_check(library, monkeypatch):
    without_extras(monkeypatch)
    driver = EmulatedDriver(library)
    found = doctor.diagnose(lambda: CudaDevice(driver))
    assert found.wrong == []
    checked = {name for mark, name, _ in found.lines if mark == "ok"}
    assert {"pillarize", "image_prepare nv12", "project_points", "audio_features"} <= checked
    assert doctor.verdict(found) == (
        "verdict: this GPU can be used (without graph capture, tensorrt)"
    )
    assert doctor.exit_code(found) == 0
    assert len(found.timings) == 3
    assert driver.contexts == 0


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_gpu_that_computes_wrongly_is_found(library, monkeypatch):
    without_extras(monkeypatch)

    class Wrong(EmulatedDriver):
        def memcpy_dtoh_async(self, target, source, stream) -> None:
            super().memcpy_dtoh_async(target, source, stream)
            target.reshape(-1)[::7] += 1

    found = doctor.diagnose(lambda: CudaDevice(Wrong(library)))
    assert "pillarize" in found.wrong
    assert doctor.verdict(found).startswith("verdict: do not use this GPU yet, wrong: pillarize")
    assert doctor.exit_code(found) == 1
    assert any("of the values differ from the CPU's" in text for _, _, text in found.lines)


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_launch_that_fails_is_a_finding(library, monkeypatch):
    without_extras(monkeypatch)

    class Failing(EmulatedDriver):
        def memcpy_htod_async(self, *_: object) -> None:
            raise self.Error("cuMemcpyHtoDAsync failed: an illegal memory access was encountered")

    driver = Failing(library)
    found = doctor.diagnose(lambda: CudaDevice(driver))
    assert {"pillarize", "audio_features", "timing"} <= set(found.wrong)
    assert any("illegal memory access" in text for _, _, text in found.lines)
    assert driver.contexts == 0


def test_without_onnx_the_network_check_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fusion_rt\[tensorrt\]"'):
        self_test.write_small_network(tmp_path / "x.onnx")


def test_no_gpu_is_a_verdict_too(monkeypatch):
    def no_gpu() -> CudaDevice:
        raise BackendMissingError("gpu", "libcuda.so.1: cannot open", "install NVIDIA's driver")

    monkeypatch.setattr(doctor, "open_device", no_gpu)
    monkeypatch.setattr(doctor.diagnose, "__defaults__", (no_gpu,))
    output = io.StringIO()
    assert doctor.run_gpu_doctor(Console(file=output, width=200)) == 2
    assert "install NVIDIA's driver" in output.getvalue()
    assert "verdict: no GPU can be used here; everything runs on the CPU" in output.getvalue()


@needs_compiler
def test_the_capture_check_replays_new_data(library):
    device = CudaDevice(EmulatedDriver(library))
    recorded = []
    cuda = FakeCuda([])

    class Recording(self_test.GpuPillarizer):
        def enqueue(self) -> None:
            recorded.append(super().enqueue)
            super().enqueue()

    cuda.replay = lambda: recorded[-1]()
    with pytest.MonkeyPatch.context() as patch, device.current():
        patch.setattr(self_test, "GpuPillarizer", Recording)
        bench = self_test.Bench(device, device.module(b"x"), device.stream())
        assert self_test.check_capture(bench, cuda) == ""
        cuda.replay = lambda: None  # a graph that does nothing is found out
        assert "differ from the CPU's" in self_test.check_capture(bench, cuda)


def test_the_self_tests_network_runs(tmp_path):
    from fusion_rt.engine.open import open_engine
    from fusion_rt.engine.parity import compare, random_samples

    path = tmp_path / "self_test.onnx"
    self_test.write_small_network(path)
    with open_engine(path, "onnxruntime") as a, open_engine(path, "onnxruntime") as b:
        (same,) = compare(a, b, random_samples(a.inputs.values(), 2))
    assert (same.largest, round(same.cosine, 6)) == (0, 1)


def test_rates_are_bytes_over_time():
    assert Measured("copy", median_us=10.0, moved_bytes=5_000_000).gigabytes_per_s == 500


def test_work_is_timed_back_to_back():
    device, calls = CudaDevice(EmulatedDriver()), []
    result = measured(device, EmulatedStream(1), "x", lambda: calls.append(1), rounds=3, repeats=4)
    assert len(calls) == 1 + 3 * 4
    assert result.median_us >= 0


def test_a_dry_run_says_what_would_be_done(capsys):
    measure.main(["--dry-run"])
    said = capsys.readouterr().out
    assert all(title in said for title in measure.STEPS)


def test_the_report_holds_what_worked_and_what_failed():
    def fails(_bench: self_test.Bench) -> list[str]:
        raise ValueError("no such thing")

    bench = self_test.Bench(CudaDevice(EmulatedDriver()), None, None)
    text = measure.report(bench, {"good": lambda _: ["fine"], "bad": fails})
    assert "## Emulated GPU" in text
    assert "### good\n\nfine" in text
    assert "failed: ValueError: no such thing" in text


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_the_reports_tables_are_filled(library, monkeypatch):
    monkeypatch.setattr(measure, "SIZES", ((1000, (64, 48)),))
    monkeypatch.setattr(measure, "copy_rate", lambda d, s: copy_rate(d, s, 1 << 16))
    device = CudaDevice(EmulatedDriver(library))
    with device.current():
        bench = self_test.Bench(device, device.module(b"x"), device.stream())
        rows = measure.bandwidth(bench)
    assert rows[2].startswith("| device copy |")
    assert rows[2].endswith("| 100% |")
    assert len(rows) == 5


def test_the_one_call_script_runs_dry():
    script = Path(measure.__file__).with_name("run.sh")
    environment = {"GPU_ENVIRONMENT": str(Path(sys.executable).parents[1]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(script), "--dry-run"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "--no-binary pycuda" in done.stdout
    assert "-m benchmarks.gpu.measure --dry-run" in done.stdout
