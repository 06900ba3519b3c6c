"""The TensorRT path without a GPU: what is called, in which order, and what happens when it fails.

The library and the device are stand-ins; that the real modules have every name used here is
checked against them where they are installed.
"""

import ast
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.engine import tensorrt_engine
from fusion_rt.engine.engine import EngineOptions
from fusion_rt.engine.open import open_engine
from fusion_rt.engine.tensorrt_engine import TensorrtEngine
from fusion_rt.errors import ArrayError, BackendMissingError, EngineLoadError, EngineRunError
from fusion_rt.gpu.device import CudaDevice
from fusion_rt.gpu.graph_capture import CapturedGraph, import_bindings
from tests.cuda_emulation import EmulatedDriver
from tests.fake_tensorrt import PLAN, FakeCuda, FakeRtxEngine, FakeTensorrt

SOURCES = Path(tensorrt_engine.__file__).parent


@pytest.fixture(autouse=True)
def trt(monkeypatch) -> FakeTensorrt:
    fake = FakeTensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(tensorrt_engine, "build_plan", fake.build)
    return fake


@pytest.fixture(autouse=True)
def driver(monkeypatch) -> EmulatedDriver:
    driver = EmulatedDriver()
    monkeypatch.setattr(tensorrt_engine, "open_device", lambda: CudaDevice(driver))
    return driver


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "adder.onnx"
    path.write_bytes(b"the fake builder reads nothing")
    return path


@pytest.fixture
def options(tmp_path) -> EngineOptions:
    return EngineOptions(cuda_graph=False, cache_dir=tmp_path / "cache")


def inputs(value: float = 1.0) -> dict[str, np.ndarray]:
    return {"a": np.full((2, 3), value, np.float32), "b": np.ones((2, 3), np.float32)}


def test_runs_from_host_to_host(trt, driver, model, options):
    with open_engine(model, "tensorrt", options) as engine:
        assert (engine.run(inputs(4))["sum"] == 5).all()
        assert str(engine.info).startswith("adder.onnx: tensorrt tensorrt 10.9.0 on Emulated GPU")
    assert trt.calls == ["execute"]
    assert driver.contexts == 0


def test_auto_prefers_it(model, options):
    with open_engine(model, options=options) as engine:
        assert engine.info.backend == "tensorrt"
        assert engine.info.why == "fastest where there is a GPU"


def test_copies_up_runs_copies_down(trt, driver, model, options):
    with TensorrtEngine.load(model, options) as engine:
        driver.calls.clear()
        trt.calls = driver.calls
        engine.run(inputs())
    assert driver.calls[:4] == [("upload",), ("upload",), "execute", ("download",)]


def test_stays_on_the_device_for_a_pipeline(driver, model, options):
    with TensorrtEngine.load(model, options) as engine:
        stream = driver.Stream(1)
        driver.calls.clear()
        engine.enqueue(stream)
        assert driver.calls == []
        assert len(set(engine.addresses.values())) == 3


def test_refuses_wrong_inputs_before_the_device_sees_them(driver, model, options):
    with TensorrtEngine.load(model, options) as engine:
        driver.calls.clear()
        with pytest.raises(ArrayError, match=r'"a" expects \(2, 3\) float32, got \(2, 3\) float64'):
            engine.run({**inputs(), "a": np.ones((2, 3))})
    assert driver.calls == []


def test_the_first_run_warms_up_and_captures_the_next_replay(model, options, monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(tensorrt_engine, "import_bindings", lambda: cuda)
    with TensorrtEngine.load(model, EngineOptions(cache_dir=options.cache_dir)) as engine:
        cuda = FakeCuda(calls, replay=engine._enqueue_with_copies)
        engine.run(inputs())
        capture = ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"]
        assert calls == [*capture, "cuGraphDestroy"]
        calls.clear()
        assert (engine.run(inputs(6))["sum"] == 7).all()
        assert calls == ["cuGraphLaunch"]
    assert calls[-1] == "cuGraphExecDestroy"


def test_without_capture_it_runs_on_and_says_so(model, options, monkeypatch, caplog):
    cuda = FakeCuda([], fails_at="cuStreamBeginCapture")
    monkeypatch.setattr(tensorrt_engine, "import_bindings", lambda: cuda)
    with TensorrtEngine.load(model, EngineOptions(cache_dir=options.cache_dir)) as engine:
        with caplog.at_level(logging.WARNING):
            engine.run(inputs())
        assert (engine.run(inputs(2))["sum"] == 3).all()
    assert "adder.onnx runs without a CUDA graph" in caplog.text


def test_a_failed_enqueue_is_an_error(trt, driver, model, options):
    with TensorrtEngine.load(model, options) as engine:
        trt.fails = True
        with pytest.raises(EngineRunError, match=r"adder.onnx \(tensorrt\): refused to enqueue"):
            engine.run(inputs())
    assert driver.contexts == 0


def test_builds_once_then_reads_the_cache(trt, model, options):
    for _ in range(2):
        TensorrtEngine.load(model, options).close()
    assert trt.builds == 1


def test_a_changed_graph_or_another_library_is_built_again(trt, model, options):
    TensorrtEngine.load(model, options).close()
    model.write_bytes(b"another network")
    TensorrtEngine.load(model, options).close()
    trt.__version__ = "10.10.0"
    TensorrtEngine.load(model, options).close()
    assert trt.builds == 3


@pytest.mark.parametrize("damage", [b"", b"rubbish" * 100])
def test_a_damaged_plan_is_built_again(trt, model, options, damage):
    TensorrtEngine.load(model, options).close()
    (plan,) = options.cache_dir.glob("*.plan")
    plan.write_bytes(damage)
    TensorrtEngine.load(model, options).close()
    TensorrtEngine.load(model, options).close()
    assert trt.builds == 2


def test_a_plan_the_library_refuses_is_built_again(trt, model, options):
    TensorrtEngine.load(model, options).close()
    trt.refuses.add(PLAN + b"1")
    TensorrtEngine.load(model, options).close()
    assert trt.builds == 2


def test_a_library_that_refuses_its_own_plan_is_an_error(trt, model, options):
    trt.refuses.add(PLAN + b"1")
    with pytest.raises(EngineLoadError, match=r"tensorrt 10.9.0 refuses the plan it just built"):
        TensorrtEngine.load(model, options)


def test_an_address_it_does_not_take_is_an_error(model, options, monkeypatch):
    monkeypatch.setattr("tests.fake_tensorrt.FakeContext.set_tensor_address", lambda *_: False)
    with pytest.raises(EngineLoadError, match='refuses an address for "a"'):
        TensorrtEngine.load(model, options)


def test_a_plan_is_bound_to_the_gpu_it_was_built_on(trt, driver, model, options):
    TensorrtEngine.load(model, options).close()
    driver.Device.name = lambda _self: "Another GPU"
    TensorrtEngine.load(model, options).close()
    assert trt.builds == 2


def test_capture_ends_even_when_recording_fails():
    calls: list[str] = []

    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        CapturedGraph(FakeCuda(calls), 1, fail)
    assert calls == ["cuStreamBeginCapture", "cuStreamEndCapture"]


def test_a_failing_driver_call_is_named():
    cuda = FakeCuda([], fails_at="cuGraphInstantiate")
    with pytest.raises(EngineRunError, match=r"cuGraphInstantiate gave .*CAPTURE_UNSUPPORTED"):
        CapturedGraph(cuda, 1, lambda: None)


def test_missing_bindings_say_how_to_get_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(
        BackendMissingError, match=r"cuda graphs: .*pip install fusion_rt\[pycuda\]"
    ):
        import_bindings()


def names_used_of(module: str, file: Path) -> set[str]:
    """Attributes read from a variable of that name, anywhere in a file."""
    return {
        node.attr
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == module
    }


def test_the_real_library_has_every_name_that_is_used():
    real = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    used = names_used_of("trt", SOURCES / "tensorrt_engine.py")
    used |= names_used_of("trt", SOURCES / "plan_builder.py")
    assert {"Runtime", "TensorIOMode", "Builder", "IProgressMonitor"} <= used
    assert {name for name in used if not hasattr(real, name)} == set()
    classes = {
        real.IExecutionContext: ["set_tensor_address", "execute_async_v3", "is_stream_capturable"],
        real.Runtime: ["deserialize_cuda_engine"],
        real.IRuntimeConfig: ["create_runtime_cache", "set_runtime_cache"],
        real.IRuntimeCache: ["deserialize", "serialize"],
        real.ICudaEngine: [
            "create_execution_context",
            "create_runtime_config",
            "get_tensor_dtype",
            "get_tensor_mode",
            "get_tensor_name",
            "get_tensor_shape",
            "num_io_tensors",
        ],
    }
    missing = [name for kind, names in classes.items() for name in names if not hasattr(kind, name)]
    assert missing == []


def test_the_real_library_refuses_a_plan_with_none_as_the_stand_in_does():
    real = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    runtime = real.Runtime(real.Logger(real.Logger.INTERNAL_ERROR))
    assert runtime.deserialize_cuda_engine(b"no plan at all") is None


def test_the_real_bindings_have_every_name_that_is_used():
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    file = SOURCES.parent / "gpu" / "graph_capture.py"
    used = names_used_of("cuda", file)
    assert "cuStreamBeginCapture" in used
    assert {name for name in used if not hasattr(real, name)} == set()
    assert hasattr(real.CUstreamCaptureMode, "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL")


def test_compiled_kernels_are_kept_between_starts(trt, model, options, monkeypatch):
    """TensorRT-RTX compiles at the first run; what another GPU left behind is not used."""
    monkeypatch.setattr("tests.fake_tensorrt.FakeEngine", FakeRtxEngine)
    TensorrtEngine.load(model, options).close()
    assert trt.runtime_cache == b""
    (kept,) = options.cache_dir.glob("*.runtime")
    TensorrtEngine.load(model, options).close()
    assert trt.runtime_cache == b"compiled kernels"
    kept.write_bytes(b"of another GPU")
    TensorrtEngine.load(model, options).close()
    assert trt.runtime_cache == b""
