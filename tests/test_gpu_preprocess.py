"""The GPU kernels' code and their launches, emulated on the host: equal to the CPU twins."""

import shutil

import numpy as np
import pytest

from fusion_rt.errors import ArrayError, BackendMissingError, DeviceMemoryError
from fusion_rt.gpu.device import CudaDevice, import_driver
from fusion_rt.gpu.preprocess import (
    GpuAudioFeatures,
    GpuImagePreparer,
    GpuPillarizer,
    GpuPointProjector,
)
from fusion_rt.kernels import _FINGERPRINT_WORDS, fingerprint
from fusion_rt.preprocess.audio_features import AudioFeatures, AudioRecipe
from fusion_rt.preprocess.image_prepare import (
    PIXEL_FORMATS,
    Crop,
    ImagePreparer,
    ImageRecipe,
    plan_image,
)
from fusion_rt.preprocess.pillarize import PillarGrid, Pillarizer
from fusion_rt.preprocess.project_points import Lens, project_params, project_points
from tests.cuda_emulation import EmulatedDriver, EmulatedStream, compile_kernels

COMPILER = shutil.which("g++") or shutil.which("c++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_kernels(COMPILER, tmp_path_factory.mktemp("emulated"))


@pytest.fixture
def device(library):
    device = CudaDevice(EmulatedDriver(library))
    with device.current():
        yield device


def downloaded(allocation, shape, dtype=np.float32) -> np.ndarray:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return allocation.bytes[:count].view(dtype).reshape(shape)


def assert_nearly_all_equal(ours: np.ndarray, twin: np.ndarray) -> None:
    """Without fused multiply-add a point in a thousand may fall on the other side of an edge."""
    assert np.isclose(ours, twin, atol=1e-3).mean() > 0.995


@needs_compiler
def test_pillarize_equals_its_cpu_twin_sweep_after_sweep(device):
    grid, rng = PillarGrid(columns=40, rows=30, y_min_m=-6), np.random.default_rng(0)
    gpu = GpuPillarizer(device, device.module(b"x"), device.stream(), grid, np.eye(4), 3000)
    cpu = Pillarizer(grid, np.eye(4))
    for count in (3000, 1, 0, 777):
        sweep = rng.uniform([0, -8, -2, 0, -0.1], [18, 8, 5, 255, 0], (count, 5))
        sweep = sweep.astype(np.float32)
        gpu.load(sweep, (8, 0, 0), (0, 0, 0.5))
        gpu.enqueue()
        ours = downloaded(gpu.result, grid.raster_spec.shape)
        assert_nearly_all_equal(ours, cpu.run(sweep, (8, 0, 0), (0, 0, 0.5)))
        assert (ours[12] > 0).any() == (cpu.points_kept > 0)


@needs_compiler
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
@pytest.mark.parametrize("values", [{}, {"mean": (123.0, 116.0, 103.0)}], ids=["u8", "f32"])
def test_image_prepare_equals_its_cpu_twin(device, pixel_format, values):
    recipe = ImageRecipe(50, 40, planar=bool(values), **values)
    plan = plan_image(pixel_format, 64, 48, recipe, Crop(4, 6, 50, 30))
    image = np.random.default_rng(0).integers(0, 256, plan.source.shape, np.uint8)
    gpu = GpuImagePreparer(device, device.module(b"x"), device.stream(), plan)
    gpu.load(image)
    gpu.enqueue()
    ours = downloaded(gpu.result, plan.out.shape, plan.out.dtype)
    np.testing.assert_array_equal(ours, ImagePreparer(plan).run(image))


@needs_compiler
@pytest.mark.parametrize("columns", [3, 5])
def test_project_points_equals_its_cpu_twin(device, columns):
    cloud = np.random.default_rng(0).uniform(-9, 9, (1001, columns)).astype(np.float32)
    params = project_params(Lens(640, 480, 500, 500, 320, 240, (-0.1, 0, 0, 0, 0)), np.eye(4))
    gpu = GpuPointProjector(device, device.module(b"x"), device.stream(), params, cloud.shape)
    gpu.load(cloud)
    gpu.enqueue()
    ours, twin = downloaded(gpu.result, (1001, 3)), project_points(cloud, params)
    np.testing.assert_allclose(ours, twin, rtol=1e-4, atol=1e-3)


@needs_compiler
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_audio_features_equal_their_cpu_twin(device, channels):
    recipe = AudioRecipe(channels=channels, frames=5, fft_size=256)
    shape = (recipe.samples, channels)
    samples = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    gpu = GpuAudioFeatures(device, device.module(b"x"), device.stream(), recipe)
    gpu.load(samples)
    gpu.enqueue()
    mel, delays = AudioFeatures(recipe).run(samples)
    np.testing.assert_allclose(downloaded(gpu.result, mel.shape), mel, atol=1e-3)
    np.testing.assert_allclose(downloaded(gpu.delays, delays.shape), delays, atol=1e-4)


def mixed(x: int) -> int:
    """SplitMix64's finalizer, as in fingerprint.cuh."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ x >> shift) * factor % 2**64
    return x ^ x >> 31


@needs_compiler
def test_fingerprint_equals_its_cpu_twin(library):
    """The kernel sums the words; the term of the size is the host's."""
    payload = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8)
    total = np.zeros(1, np.uint64)
    function = EmulatedDriver(library).get_function("fingerprint")
    function.prepare("PQQP")
    arguments = (payload.ctypes.data, payload.nbytes, _FINGERPRINT_WORDS, total.ctypes.data)
    function.prepared_async_call((4, 1), (256, 1, 1), EmulatedStream(0), *arguments)
    assert (int(total[0]) + mixed(payload.nbytes)) % 2**64 == fingerprint(payload)


@needs_compiler
def test_nothing_is_allocated_after_construction(device, monkeypatch):
    plan = plan_image("bgr8", 64, 48, ImageRecipe(32, 32))
    gpu = GpuImagePreparer(device, device.module(b"x"), device.stream(), plan)
    monkeypatch.delattr(EmulatedDriver, "mem_alloc")
    monkeypatch.delattr(EmulatedDriver, "pagelocked_empty")
    gpu.load(np.zeros((48, 64, 3), np.uint8))
    gpu.enqueue()


@needs_compiler
def test_a_sweep_beyond_the_capacity_is_refused(device):
    module, stream = device.module(b"x"), device.stream()
    gpu = GpuPillarizer(device, module, stream, PillarGrid(), np.eye(4), capacity=10)
    with pytest.raises(ArrayError, match="expects at most 10 points, got 11"):
        gpu.load(np.zeros((11, 5), np.float32))


def test_out_of_memory_says_how_much_there_is():
    device = CudaDevice(EmulatedDriver(free_bytes=2 << 20))
    message = r"gpu Emulated GPU: cannot allocate 64.0 MiB, 2.0 MiB are free; close other"
    with device.current(), pytest.raises(DeviceMemoryError, match=message):
        device.allocate(64 << 20)


def test_the_context_is_given_back_also_after_an_error():
    driver = EmulatedDriver()
    device = CudaDevice(driver)
    with pytest.raises(ValueError, match="mine"), device.current():
        raise ValueError("mine")
    assert driver.contexts == 0


def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(BackendMissingError, match="there is no GPU 3, the driver sees 1"):
        CudaDevice(EmulatedDriver(), index=3)


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        ("libcuda.so.1: cannot open shared object file", "install NVIDIA's driver"),
        ("No module named 'pycuda'", r"pip install fusion_rt\[pycuda\]"),
    ],
)
def test_a_missing_driver_or_pycuda_says_what_to_do(monkeypatch, error, way_out):
    def fail(_name: str) -> None:
        raise ImportError(error)

    monkeypatch.setattr("fusion_rt.gpu.device.importlib.import_module", fail)
    with pytest.raises(BackendMissingError, match=way_out):
        import_driver()


def test_a_driver_without_a_gpu_says_what_to_check(monkeypatch):
    class NoGpu(EmulatedDriver):
        def init(self) -> None:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    monkeypatch.setattr("fusion_rt.gpu.device.importlib.import_module", lambda _: NoGpu())
    with pytest.raises(BackendMissingError, match=r"no CUDA-capable device.*; check nvidia-smi"):
        import_driver()
