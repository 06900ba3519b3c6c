"""The GPU as this runtime uses it: memory, pinned buffers, streams and launches, through PyCUDA.

The primary context is retained, the one torch and TensorRT use too, so pointers are shared. PyCUDA
is imported when a device is opened, never before: without a driver it cannot be imported at all.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy.typing as npt

from fusion_rt.arrays import AnyArray
from fusion_rt.errors import BackendMissingError, DeviceMemoryError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: torch's default stream must not make ours wait


def import_driver() -> ModuleType:
    """`pycuda.driver`, initialized."""
    try:
        driver = importlib.import_module("pycuda.driver")
    except ImportError as error:
        text = str(error)
        no_driver = "libcuda" in text
        way_out = "install NVIDIA's driver" if no_driver else "pip install fusion_rt[pycuda]"
        raise BackendMissingError("gpu", text, way_out) from error
    try:
        driver.init()
    except driver.Error as error:
        way_out = "check nvidia-smi: is there a GPU, and may this user open it?"
        raise BackendMissingError("gpu", str(error), way_out) from error
    return driver


class Kernel:
    """A kernel and its arguments' layout as `struct` has it: P pointer, I 32 bits, 52s bytes."""

    def __init__(self, function: Any, layout: str) -> None:
        function.prepare(layout)
        self._launch = function.prepared_async_call

    def launch(
        self,
        grid: tuple[int, int],
        block: tuple[int, int, int],
        stream: Any,
        *arguments: object,
        shared_bytes: int = 0,
    ) -> None:
        """Put a launch on a stream. Pointers are allocations or their integers."""
        self._launch(grid, block, stream, *arguments, shared_size=shared_bytes)


class CudaDevice:
    """One GPU. Every use happens inside `with device.current():`, in any thread."""

    def __init__(self, driver: ModuleType, index: int = 0) -> None:
        if index >= driver.Device.count():
            problem = f"there is no GPU {index}, the driver sees {driver.Device.count()}"
            raise BackendMissingError("gpu", problem, "check nvidia-smi and CUDA_VISIBLE_DEVICES")
        self._driver = driver
        self.error: type[Exception] = driver.Error  # what a failing launch or copy raises
        device = driver.Device(index)
        self.name = str(device.name())
        major, minor = device.compute_capability()
        self.sm = f"sm_{major}{minor}"
        self.driver_version = int(driver.get_driver_version())
        self.total_bytes = int(device.total_memory())
        self._context = device.retain_primary_context()

    @property
    def identity(self) -> str:
        """What a plan or cache made on this GPU is bound to."""
        return f"{self.name} {self.sm} driver {self.driver_version // 1000}"

    @contextmanager
    def current(self) -> Iterator["CudaDevice"]:
        """Make this GPU's context the calling thread's for a while."""
        self._context.push()
        try:
            yield self
        finally:
            self._driver.Context.pop()

    def stream(self) -> Any:
        """A stream that does not wait for the default one; `.handle` is its address."""
        return self._driver.Stream(_NON_BLOCKING)

    def allocate(self, nbytes: int) -> Any:
        """Device memory; freed when the object is. `int(...)` is its address."""
        try:
            return self._driver.mem_alloc(max(nbytes, 1))
        except self._driver.MemoryError as error:
            free, _ = self._driver.mem_get_info()
            raise DeviceMemoryError(self.name, nbytes, free) from error

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> AnyArray:
        """A page-locked host array: copies to and from it run beside other work."""
        array: AnyArray = self._driver.pagelocked_empty(shape, dtype)
        return array

    def upload(self, target: Any, pinned: AnyArray, stream: Any) -> None:
        """Host to device on a stream; the array must stay as it is until the stream is through."""
        self._driver.memcpy_htod_async(target, pinned, stream)

    def download(self, pinned: AnyArray, source: Any, stream: Any) -> None:
        """Device to host on a stream."""
        self._driver.memcpy_dtoh_async(pinned, source, stream)

    def copy(self, target: Any, source: Any, nbytes: int, stream: Any) -> None:
        """Device to device on a stream: also the floor that kernels are compared with."""
        self._driver.memcpy_dtod_async(target, source, nbytes, stream)

    def clear(self, target: Any, nbytes: int, stream: Any) -> None:
        """Zeros on a stream."""
        self._driver.memset_d8_async(target, 0, nbytes, stream)

    def module(self, image: bytes) -> Any:
        """A loaded cubin, fatbin or PTX; `get_function` finds kernels in it."""
        return self._driver.module_from_buffer(image)

    def event(self) -> Any:
        """A mark on a stream; `time_since` is in milliseconds."""
        return self._driver.Event()


def open_device(index: int = 0) -> CudaDevice:
    """The GPU of that number, or a BackendMissingError that says what is missing."""
    return CudaDevice(import_driver(), index)
