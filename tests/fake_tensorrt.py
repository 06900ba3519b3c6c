"""A stand-in for `tensorrt` whose one network adds "a" and "b" in (emulated) device memory.

It records calls and keeps the rules the real libraries have: every tensor needs an address before
a run, a plan of another build is refused with None, and a plan is only good for its own library.
"""

import ctypes
from enum import Enum
from types import ModuleType

import numpy as np

PLAN = b"plan: adder"
SHAPE = (2, 3)
NAMES = ("a", "b", "sum")


class _Mode(Enum):
    INPUT = 0
    OUTPUT = 1


class FakeContext:
    def __init__(self, trt: "FakeTensorrt") -> None:
        self._trt = trt
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in NAMES

    def execute_async_v3(self, stream: int) -> bool:
        assert isinstance(stream, int)
        assert stream != 0, "the default stream cannot be captured"
        self._trt.calls.append("execute")
        if self._trt.fails:
            return False
        a, b, total = (_floats(self._addresses[name]) for name in NAMES)
        np.add(a, b, out=total)
        return True


def _floats(address: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_float * 6).from_address(address)).reshape(SHAPE)


class FakeEngine:
    num_io_tensors = len(NAMES)

    def __init__(self, trt: "FakeTensorrt") -> None:
        self._trt = trt

    def get_tensor_name(self, index: int) -> str:
        return NAMES[index]

    def get_tensor_mode(self, name: str) -> _Mode:
        return _Mode.OUTPUT if name == "sum" else _Mode.INPUT

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        return SHAPE

    def get_tensor_dtype(self, _name: str) -> str:
        return "float"

    def create_execution_context(self) -> FakeContext:
        return FakeContext(self._trt)


class FakeTensorrt(ModuleType):
    """Install as `sys.modules["tensorrt"]`; `builds` counts, `refuses` lists plans it refuses."""

    __version__ = "10.9.0"
    TensorIOMode = _Mode

    def __init__(self) -> None:
        super().__init__("tensorrt")
        self.calls: list[str] = []
        self.builds = 0
        self.refuses: set[bytes] = set()
        self.fails = False
        trt = self

        class Logger:
            WARNING = 1

            def __init__(self, level: int) -> None:
                assert level == Logger.WARNING

        class Runtime:
            def __init__(self, _logger: Logger) -> None:
                pass

            def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
                good = plan.startswith(PLAN) and plan not in trt.refuses
                return FakeEngine(trt) if good else None

        self.Logger, self.Runtime = Logger, Runtime

    @staticmethod
    def nptype(name: str) -> type:
        return {"float": np.float32}[name]

    def build(self, *_: object, **__: object) -> bytes:
        """In place of plan_builder.build_plan; no two builds give the same bytes."""
        self.builds += 1
        return PLAN + str(self.builds).encode()


class FakeCuda:
    """In place of `cuda.bindings.driver`: replays what was recorded, as a graph does."""

    class CUresult(Enum):
        CUDA_SUCCESS = 0
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900

    class CUstreamCaptureMode(Enum):
        CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1

    def __init__(self, calls: list, replay=lambda: None, fails_at: str = "") -> None:
        self.calls, self.replay, self.fails_at = calls, replay, fails_at

    def __getattr__(self, name: str):
        def function(*_: object) -> tuple:
            self.calls.append(name)
            if name == self.fails_at:
                return (self.CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,)
            if name == "cuGraphLaunch":
                self.replay()
            values = ("handle",) if name in ("cuStreamEndCapture", "cuGraphInstantiate") else ()
            return (self.CUresult.CUDA_SUCCESS, *values)

        function.__name__ = name
        return function


class FakeTimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+timed"


class FakeConfig:
    """A builder's configuration as full TensorRT has it: with a timing cache."""

    def __init__(self) -> None:
        self.cache: FakeTimingCache | None = None

    def create_timing_cache(self, content: bytes) -> FakeTimingCache:
        return FakeTimingCache(content)

    def set_timing_cache(self, cache: FakeTimingCache, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.cache = cache
        return not cache.content.startswith(b"other version")


class FakeBuilderTrt(ModuleType):
    """The building half of full TensorRT 10: `plan` is what a build gives, None a failure."""

    __version__ = "10.9.0"

    class NetworkDefinitionCreationFlag(Enum):
        STRONGLY_TYPED = 1

        def __int__(self) -> int:
            return int(self.value)

    class ILogger:
        class Severity(Enum):
            INTERNAL_ERROR = 0
            ERROR = 1
            WARNING = 2

    def __init__(self, plan: bytes | None = b"plan") -> None:
        super().__init__("tensorrt")
        self.flags = -1
        trt = self

        class Builder:
            def __init__(self, logger: object) -> None:
                self._logger = logger

            def create_network(self, flags: int) -> str:
                trt.flags = flags
                return "network"

            def create_builder_config(self) -> FakeConfig:
                return FakeConfig()

            def build_serialized_network(self, _network: str, config: FakeConfig) -> bytes | None:
                trt.config = config
                if plan is None:
                    self._logger.log(trt.ILogger.Severity.ERROR, "no tactic for node 7")
                    self._logger.log(trt.ILogger.Severity.WARNING, "something slow")
                return plan

        class OnnxParser:
            def __init__(self, network: str, _logger: object) -> None:
                assert network == "network"

            def parse(self, _onnx: bytes) -> bool:
                return True

        self.Builder, self.OnnxParser = Builder, OnnxParser


class FakeRuntimeCache:
    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        if not content.startswith(b"compiled"):
            return False
        self.content = content
        return True

    def serialize(self) -> bytes:
        return b"compiled kernels"


class FakeRuntimeConfig:
    def create_runtime_cache(self) -> FakeRuntimeCache:
        return FakeRuntimeCache()

    def set_runtime_cache(self, cache: FakeRuntimeCache) -> None:
        self.cache = cache


class FakeRtxEngine(FakeEngine):
    """With what TensorRT-RTX has more: a runtime configuration with a cache."""

    def create_runtime_config(self) -> FakeRuntimeConfig:
        return FakeRuntimeConfig()

    def create_execution_context(self, config: FakeRuntimeConfig | None = None) -> FakeContext:
        assert config is not None
        self._trt.runtime_cache = config.cache.content
        return FakeContext(self._trt)
