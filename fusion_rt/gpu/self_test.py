"""Does this GPU give the CPU's answers? Kernels against their twins, captured and replayed work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_rt.arrays import AnyArray
from fusion_rt.errors import MissingExtraError
from fusion_rt.gpu.device import CudaDevice
from fusion_rt.gpu.graph_capture import CapturedGraph
from fusion_rt.gpu.measure import Measured, measured
from fusion_rt.gpu.preprocess import (
    GpuAudioFeatures,
    GpuImagePreparer,
    GpuPillarizer,
    GpuPointProjector,
)
from fusion_rt.preprocess.audio_features import AudioFeatures, AudioRecipe
from fusion_rt.preprocess.image_prepare import (
    PIXEL_FORMATS,
    ImagePreparer,
    ImageRecipe,
    PixelFormat,
    plan_image,
)
from fusion_rt.preprocess.pillarize import CELL_BYTES, PillarGrid, Pillarizer
from fusion_rt.preprocess.project_points import Lens, project_params, project_points

_LENS = Lens(1920, 1080, 1000.0, 1000.0, 960.0, 540.0, (-0.15, 0.1, 1e-3, -5e-4, -0.02))


@dataclass(frozen=True)
class Bench:
    """A device with its kernels loaded and a stream to put them on."""

    device: CudaDevice
    module: Any
    stream: Any

    def fetched(self, source: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> AnyArray:
        """A result on the host, once the stream is through."""
        pinned = self.device.pinned(shape, dtype)
        self.device.download(pinned, source, self.stream)
        self.stream.synchronize()
        return pinned.copy()


def largest_share_off(ours: AnyArray, twin: AnyArray, tolerance: float) -> float:
    """Share of values farther than `tolerance` from the CPU's; NaN equals NaN."""
    return float(1 - np.isclose(ours, twin, rtol=0, atol=tolerance, equal_nan=True).mean())


def check_pillarize(bench: Bench) -> str:
    """Fused multiply-add may put a point in ten thousand on the other side of a cell's edge."""
    grid, sweep = PillarGrid(), random_sweep(100_000)
    gpu = GpuPillarizer(bench.device, bench.module, bench.stream, grid, np.eye(4), len(sweep))
    gpu.load(sweep, (12.0, 0, 0), (0, 0, 0.3))
    gpu.enqueue()
    ours = bench.fetched(gpu.result, grid.raster_spec.shape, np.float32)
    twin = Pillarizer(grid, np.eye(4)).run(sweep, (12.0, 0, 0), (0, 0, 0.3))
    return _verdict(largest_share_off(ours, twin, 2e-3), 2e-3)


def check_image_prepare(bench: Bench, pixel_format: PixelFormat) -> str:
    """Integers: not one bit may differ."""
    plan = plan_image(pixel_format, 640, 480, ImageRecipe(448, 256))
    image = np.random.default_rng(0).integers(0, 256, plan.source.shape, np.uint8)
    gpu = GpuImagePreparer(bench.device, bench.module, bench.stream, plan)
    gpu.load(image)
    gpu.enqueue()
    ours = bench.fetched(gpu.result, plan.out.shape, plan.out.dtype)
    return _verdict(largest_share_off(ours, ImagePreparer(plan).run(image), 0), 0)


def check_project_points(bench: Bench) -> str:
    """To a hundredth of a pixel; a point on the picture's very edge may be in or out."""
    cloud = np.ascontiguousarray(random_sweep(20_000)[:, [1, 2, 0]])
    params = project_params(_LENS, np.eye(4))
    gpu = GpuPointProjector(bench.device, bench.module, bench.stream, params, cloud.shape)
    gpu.load(cloud)
    gpu.enqueue()
    ours = bench.fetched(gpu.result, cloud.shape, np.float32)
    return _verdict(largest_share_off(ours, project_points(cloud, params), 1e-2), 1e-3)


def check_audio_features(bench: Bench) -> str:
    """To a thousandth of the logarithm."""
    recipe = AudioRecipe()
    shape = (recipe.samples, recipe.channels)
    samples = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    gpu = GpuAudioFeatures(bench.device, bench.module, bench.stream, recipe)
    gpu.load(samples)
    gpu.enqueue()
    mel, delays = AudioFeatures(recipe).run(samples)
    ours = bench.fetched(gpu.result, mel.shape, np.float32)
    off = largest_share_off(ours, mel, 2e-3)
    ours = bench.fetched(gpu.delays, delays.shape, np.float32)
    return _verdict(max(off, largest_share_off(ours, delays, 1e-3)), 1e-3)


def check_capture(bench: Bench, cuda: ModuleType) -> str:
    """A captured chain of copies and kernels follows new data at each replay."""
    grid = PillarGrid()
    gpu = GpuPillarizer(bench.device, bench.module, bench.stream, grid, np.eye(4), 5000)
    gpu.load(random_sweep(5000))
    gpu.enqueue()
    bench.stream.synchronize()
    handle = int(bench.stream.handle)
    graph = CapturedGraph(cuda, handle, gpu.enqueue)
    twin, off = Pillarizer(grid, np.eye(4)), 0.0
    for seed, count in ((1, 5000), (2, 1000), (3, 0)):
        sweep = random_sweep(count, seed)
        gpu.load(sweep, (seed, 0, 0))
        graph.launch(handle)
        ours = bench.fetched(gpu.result, grid.raster_spec.shape, np.float32)
        off = max(off, largest_share_off(ours, twin.run(sweep, (seed, 0, 0)), 2e-3))
    graph.close()
    return _verdict(off, 2e-3)


def kernel_checks(bench: Bench) -> dict[str, Callable[[], str]]:
    """Every kernel against its CPU twin, by name."""
    images: dict[str, Callable[[], str]] = {
        f"image_prepare {kind}": lambda kind=kind: check_image_prepare(bench, kind)  # type: ignore[misc]
        for kind in PIXEL_FORMATS
    }
    return {
        "pillarize": lambda: check_pillarize(bench),
        **images,
        "project_points": lambda: check_project_points(bench),
        "audio_features": lambda: check_audio_features(bench),
    }


def kernel_timings(bench: Bench, points: int, image_size: tuple[int, int]) -> list[Measured]:
    """The two kernels that move much, on data that is already on the device."""
    grid, sweep = PillarGrid(), random_sweep(points)
    pillars = GpuPillarizer(bench.device, bench.module, bench.stream, grid, np.eye(4), points)
    pillars.load(sweep)
    pillars.enqueue()
    cells = 2 * grid.rows * grid.columns * CELL_BYTES
    moved = sweep.nbytes + cells + grid.raster_spec.nbytes
    width, height = image_size
    plan = plan_image("bgr8", width, height, ImageRecipe(width, height))
    image = GpuImagePreparer(bench.device, bench.module, bench.stream, plan)
    image.load(np.zeros(plan.source.shape, np.uint8))
    image.enqueue()
    copied = plan.source.nbytes + plan.out.nbytes
    work = {
        f"pillarize, {points} points": (pillars.enqueue_kernels, moved),
        f"image_prepare, bgr8 {width} x {height} at full size": (image.enqueue_kernels, copied),
    }
    return [
        measured(bench.device, bench.stream, name, enqueue, nbytes)
        for name, (enqueue, nbytes) in work.items()
    ]


def random_sweep(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Points around the raster's middle, a tenth of a second long."""
    low, high = [-5, -30, -2, 0, -0.1], [60, 30, 5, 255, 0]
    return np.random.default_rng(seed).uniform(low, high, (count, 5)).astype(np.float32)


def write_small_network(path: Path) -> None:
    """An ONNX of two convolutions, to see that building and running work at all."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:  # JetPack brings tensorrt without our extra
        raise MissingExtraError("tensorrt", str(error)) from error
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in (("w1", (16, 3, 3, 3)), ("w2", (8, 16, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["features"], pads=[1, 1, 1, 1]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    out = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, 32, 32])
    graph = helper.make_graph(nodes, "self_test", [image], [out], weights)
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )


def _verdict(off: float, allowed: float) -> str:
    """Empty if all is well, else what is wrong."""
    if off <= allowed:
        return ""
    return f"{off:.2%} of the values differ from the CPU's (allowed {allowed:.2%})"
