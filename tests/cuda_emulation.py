"""A stand-in for `pycuda.driver` whose device is host memory and whose kernels are kernels/all.cu,
compiled for the host: launch geometry, argument layout and the GPU-side code run without a GPU.
"""

import ctypes
import struct
import subprocess
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
KERNELS = (
    "audio_features",
    "fingerprint",
    "image_prepare_f32",
    "image_prepare_u8",
    "pillarize_cells",
    "pillarize_points",
    "project_points",
)


def compile_kernels(compiler: str, folder: Path) -> ctypes.CDLL:
    """kernels/all.cu as a host library."""
    source = folder / "emulated.cpp"
    lines = ['#include "cuda_emulation.h"', '#include "all.cu"']
    source.write_text("\n".join(lines + [f"EMULATED({name})" for name in KERNELS]) + "\n")
    library = folder / "emulated.so"
    include = [f"-I{HERE}", f"-I{HERE.parent / 'kernels'}"]
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off"]
    subprocess.run([compiler, *flags, *include, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


class EmulatedFunction:
    def __init__(self, call: ctypes._CFuncPtr, calls: list) -> None:
        self._call, self._calls = call, calls
        self._layout = ""

    def prepare(self, layout: str) -> None:
        self._layout = layout

    def prepared_async_call(self, grid, block, stream, *arguments, shared_size=0) -> None:
        values = [int(a) if hasattr(a, "__index__") else a for a in arguments]
        packed = struct.pack(self._layout, *values)
        self._calls.append((self._call.__name__, grid, block, shared_size))
        x, y = (1, 1) if shared_size else block[:2]
        assert shared_size <= 4 * (1 << 18)
        self._call(*grid, x, y, packed)
        assert stream is not None


class Allocation:
    def __init__(self, nbytes: int) -> None:
        self.bytes = np.full(nbytes, 0xCD, np.uint8)  # device memory comes with rubbish in it

    def __int__(self) -> int:
        return self.bytes.ctypes.data

    __index__ = __int__


class EmulatedEvent:
    def record(self, stream: "EmulatedStream") -> None:
        assert isinstance(stream, EmulatedStream)
        self.at_ns = time.perf_counter_ns()

    def synchronize(self) -> None:
        pass

    def time_since(self, start: "EmulatedEvent") -> float:
        return (self.at_ns - start.at_ns) / 1e6


class EmulatedStream:
    def __init__(self, flags: int) -> None:
        self.flags, self.handle = flags, id(self)

    def synchronize(self) -> None:
        pass


class EmulatedDriver:
    """What fusion_rt.gpu uses of `pycuda.driver`; `calls` records what it was asked to do."""

    class Error(Exception):
        pass

    class MemoryError(Error):  # noqa: A001  PyCUDA names it so
        pass

    def __init__(self, library: ctypes.CDLL | None = None, free_bytes: int = 1 << 30) -> None:
        self.calls: list = []
        self.contexts = 0
        self._library, self._free = library, free_bytes
        driver = self

        class Context:
            def push(self) -> None:
                driver.contexts += 1

            @staticmethod
            def pop() -> None:
                driver.contexts -= 1

        class Device:
            def __init__(self, index: int) -> None:
                assert index == 0

            @staticmethod
            def count() -> int:
                return 1

            def name(self) -> str:
                return "Emulated GPU"

            def compute_capability(self) -> tuple[int, int]:
                return 8, 9

            def total_memory(self) -> int:
                return 1 << 30

            def retain_primary_context(self) -> Context:
                return Context()

        self.Context, self.Device, self.Stream = Context, Device, EmulatedStream
        self.Event = EmulatedEvent

    def init(self) -> None:
        pass

    def get_driver_version(self) -> int:
        return 13000

    def mem_get_info(self) -> tuple[int, int]:
        return self._free, 1 << 30

    def mem_alloc(self, nbytes: int) -> Allocation:
        self._needs_context()
        if nbytes > self._free:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        return Allocation(nbytes)

    def pagelocked_empty(self, shape, dtype) -> np.ndarray:
        self._needs_context()
        return np.zeros(shape, dtype)

    def memcpy_htod_async(self, target, source: np.ndarray, stream) -> None:
        self._note("upload", stream)
        ctypes.memmove(int(target), source.ctypes.data, source.nbytes)

    def memcpy_dtoh_async(self, target: np.ndarray, source, stream) -> None:
        self._note("download", stream)
        ctypes.memmove(target.ctypes.data, int(source), target.nbytes)

    def memcpy_dtod_async(self, target, source, nbytes: int, stream) -> None:
        self._note("copy", stream)
        ctypes.memmove(int(target), int(source), nbytes)

    def memset_d8_async(self, target, value: int, nbytes: int, stream) -> None:
        self._note("clear", stream)
        ctypes.memset(int(target), value, nbytes)

    def module_from_buffer(self, image: bytes):
        assert image
        return self

    def get_function(self, name: str) -> EmulatedFunction:
        return EmulatedFunction(getattr(self._library, f"emulated_{name}"), self.calls)

    def _note(self, what: str, stream: EmulatedStream) -> None:
        self._needs_context()
        assert isinstance(stream, EmulatedStream)
        self.calls.append((what,))

    def _needs_context(self) -> None:
        assert self.contexts > 0, "no current context"
