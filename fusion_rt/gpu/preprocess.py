"""Sensor data -> network input on the GPU: the launches of kernels/, twins of fusion_rt.preprocess.

Inputs are uploaded from pinned buffers, results stay on the device (`.result`, an allocation) so
that an engine reads them there. Nothing is allocated after construction, and `enqueue` may be
captured in a graph: what changes per message is read from memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_rt.arrays import AnyArray, Floats
from fusion_rt.errors import ArrayError
from fusion_rt.gpu.device import CudaDevice, Kernel
from fusion_rt.preprocess.audio_features import AudioRecipe, audio_tables
from fusion_rt.preprocess.image_prepare import ImagePlan
from fusion_rt.preprocess.pillarize import CELL_BYTES, PillarGrid, check_sweep, pillar_params
from fusion_rt.preprocess.project_points import check_points

_THREADS = 256


def _blocks(count: int, threads: int = _THREADS) -> int:
    return max(1, -(-count // threads))


def _uploaded(device: CudaDevice, array: AnyArray, stream: Any) -> Any:
    memory = device.allocate(array.nbytes)
    pinned = device.pinned(array.shape, array.dtype)
    pinned[...] = array
    device.upload(memory, pinned, stream)
    stream.synchronize()
    return memory


class GpuPillarizer:
    """`Pillarizer` on the GPU, for sweeps of up to `capacity` points."""

    def __init__(
        self,
        device: CudaDevice,
        module: Any,
        stream: Any,
        grid: PillarGrid,
        base_from_lidar: AnyArray,
        capacity: int,
    ) -> None:
        self._device, self._stream, self._capacity = device, stream, capacity
        self._cell_count = grid.rows * grid.columns
        params = pillar_params(grid, base_from_lidar)
        self._param_bytes = device.pinned((params.nbytes,), np.uint8)
        self._params = self._param_bytes.view(params.dtype)
        self._params[0] = params
        self._count = device.pinned((1,), np.uint32)
        self._points = device.pinned((capacity, 5), np.float32)
        self._device_params = device.allocate(params.nbytes)
        self._device_count = device.allocate(self._count.nbytes)
        self._device_points = device.allocate(self._points.nbytes)
        self._cells = device.allocate(self._cell_count * CELL_BYTES)
        self.result = device.allocate(grid.raster_spec.nbytes)
        device.clear(self._cells, self._cell_count * CELL_BYTES, stream)
        self._place = Kernel(module.get_function("pillarize_points"), "PPPP")
        self._finish = Kernel(module.get_function("pillarize_cells"), "PPI")

    def load(
        self,
        points_lidar: Floats,
        linear_mps: Sequence[float] = (0.0, 0.0, 0.0),
        angular_radps: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Take a sweep into the pinned buffer; the last `enqueue` must be through."""
        check_sweep(points_lidar)
        if len(points_lidar) > self._capacity:
            expected = f"at most {self._capacity} points"
            raise ArrayError("pillarize", "points_lidar", expected, f"{len(points_lidar)}")
        self._points[: len(points_lidar)] = points_lidar
        self._count[0] = len(points_lidar)
        self._params["linear_mps"][0] = linear_mps
        self._params["angular_radps"][0] = angular_radps

    def enqueue(self) -> None:
        """Upload what was loaded and make the raster."""
        self._device.upload(self._device_points, self._points, self._stream)
        self._device.upload(self._device_params, self._param_bytes, self._stream)
        self._device.upload(self._device_count, self._count, self._stream)
        self.enqueue_kernels()

    def enqueue_kernels(self) -> None:
        """The launches alone, on what is on the device: what bandwidth is measured on."""
        threads = (_THREADS, 1, 1)
        self._place.launch(
            (_blocks(self._capacity), 1),
            threads,
            self._stream,
            self._device_points,
            self._cells,
            self._device_params,
            self._device_count,
        )
        self._finish.launch(
            (_blocks(self._cell_count), 1),
            threads,
            self._stream,
            self._cells,
            self.result,
            self._cell_count,
        )


class GpuImagePreparer:
    """`ImagePreparer` on the GPU."""

    def __init__(self, device: CudaDevice, module: Any, stream: Any, plan: ImagePlan) -> None:
        self._device, self._stream, self._plan = device, stream, plan
        self._image = device.pinned(plan.source.shape, np.uint8)
        self._device_image = device.allocate(plan.source.nbytes)
        self._taps = _uploaded(device, plan.taps, stream)
        self.result = device.allocate(plan.out.nbytes)
        kind = "f32" if plan.out.dtype == np.float32 else "u8"
        function = module.get_function(f"image_prepare_{kind}")
        self._kernel = Kernel(function, f"PPP{plan.params.nbytes}s")

    def load(self, image: npt.NDArray[np.uint8]) -> None:
        """Take a frame into the pinned buffer; the last `enqueue` must be through."""
        self._plan.source.check(image, "image_prepare")
        self._image[...] = image

    def enqueue(self) -> None:
        """Upload what was loaded and prepare it."""
        self._device.upload(self._device_image, self._image, self._stream)
        self.enqueue_kernels()

    def enqueue_kernels(self) -> None:
        """The launch alone, on what is on the device."""
        width, height = (int(size) for size in self._plan.params["out_size"])
        self._kernel.launch(
            (_blocks(width, 32), _blocks(height, 8)),
            (32, 8, 1),
            self._stream,
            self._device_image,
            self._taps,
            self.result,
            self._plan.params.tobytes(),
        )


class GpuPointProjector:
    """`project_points` on the GPU, for clouds of exactly `count` points."""

    def __init__(
        self, device: CudaDevice, module: Any, stream: Any, params: AnyArray, shape: tuple[int, int]
    ) -> None:
        self._device, self._stream = device, stream
        self._count, self._columns = shape
        self._params = params.tobytes()
        self._points = device.pinned(shape, np.float32)
        self._device_points = device.allocate(self._points.nbytes)
        self.result = device.allocate(self._count * 3 * 4)
        layout = f"PPQI{len(self._params)}s"
        self._kernel = Kernel(module.get_function("project_points"), layout)

    def load(self, points: Floats) -> None:
        """Take a cloud into the pinned buffer; the last `enqueue` must be through."""
        check_points(points)
        self._points[...] = points

    def enqueue(self) -> None:
        """Upload what was loaded and project it."""
        self._device.upload(self._device_points, self._points, self._stream)
        self.enqueue_kernels()

    def enqueue_kernels(self) -> None:
        """The launch alone, on what is on the device."""
        self._kernel.launch(
            (_blocks(self._count), 1),
            (_THREADS, 1, 1),
            self._stream,
            self._device_points,
            self.result,
            self._count,
            self._columns,
            self._params,
        )


class GpuAudioFeatures:
    """`AudioFeatures` on the GPU, float32 samples; two results."""

    def __init__(self, device: CudaDevice, module: Any, stream: Any, recipe: AudioRecipe) -> None:
        self._device, self._stream, self._frames = device, stream, recipe.frames
        tables = audio_tables(recipe)
        arrays = (tables.window, tables.twiddles, tables.bands, tables.band_weights, tables.pairs)
        self._tables = [_uploaded(device, array, stream) for array in arrays]
        self._params = tables.params.tobytes()
        self._samples = device.pinned((recipe.samples, recipe.channels), np.float32)
        self._device_samples = device.allocate(self._samples.nbytes)
        self.result = device.allocate(recipe.channels * recipe.bands * recipe.frames * 4)
        self.delays = device.allocate(len(recipe.pairs) * recipe.frames * recipe.lags * 4)
        bins = recipe.fft_size // 2 + 1
        self._shared_bytes = 8 * (recipe.fft_size + recipe.channels * bins)
        self._kernel = Kernel(module.get_function("audio_features"), f"P5PPP{len(self._params)}s")

    def load(self, samples: Floats) -> None:
        """Take samples into the pinned buffer; the last `enqueue` must be through."""
        self._samples[...] = samples

    def enqueue(self) -> None:
        """Upload what was loaded and make the features."""
        self._device.upload(self._device_samples, self._samples, self._stream)
        self.enqueue_kernels()

    def enqueue_kernels(self) -> None:
        """The launch alone, on what is on the device."""
        self._kernel.launch(
            (self._frames, 1),
            (_THREADS, 1, 1),
            self._stream,
            self._device_samples,
            *self._tables,
            self.result,
            self.delays,
            self._params,
            shared_bytes=self._shared_bytes,
        )
