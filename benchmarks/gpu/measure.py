"""Everything we want to know of a GPU, in one call; writes the Markdown that goes into docs/gpu.md.

python -m benchmarks.gpu.measure --out gpu.md     (see run.sh for a machine with nothing installed)
python -m benchmarks.gpu.measure --dry-run        says what it would do; needs no GPU
"""

import argparse
import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fusion_rt.engine.engine import EngineOptions
from fusion_rt.engine.open import open_engine
from fusion_rt.gpu import doctor, self_test
from fusion_rt.gpu.device import CudaDevice, open_device
from fusion_rt.gpu.graph_capture import CapturedGraph, import_bindings
from fusion_rt.gpu.kernel_image import kernel_image
from fusion_rt.gpu.measure import Measured, copy_rate, measured
from fusion_rt.gpu.preprocess import GpuImagePreparer
from fusion_rt.preprocess.image_prepare import ImageRecipe, plan_image

SIZES = ((100_000, (1920, 1080)), (1_000_000, (3840, 2160)))


def self_tests(_bench: self_test.Bench) -> list[str]:
    """The checks of `fusion-rt doctor --gpu`."""
    found = doctor.diagnose()
    rows = [f"| {name} | {mark} | {text} |" for mark, name, text in found.lines]
    return ["| check | | |", "|---|---|---|", *rows, "", doctor.verdict(found)]


def bandwidth(bench: self_test.Bench) -> list[str]:
    """Kernels as a share of the copy rate, at the size of a sensor and at the largest."""
    timings = [copy_rate(bench.device, bench.stream)]
    for points, image_size in SIZES:
        timings += self_test.kernel_timings(bench, points, image_size)
    return table(timings)


def torch_chain(bench: self_test.Bench) -> list[str]:
    """One of our kernels and a torch convolution on one stream, plain and as a captured graph."""
    import torch

    torch.cuda.init()  # joins the primary context that is current
    plan = plan_image("bgr8", 1920, 1080, ImageRecipe(448, 256))
    image = GpuImagePreparer(bench.device, bench.module, bench.stream, plan)
    image.load(np.zeros(plan.source.shape, np.uint8))
    view = torch.as_tensor(_CudaArray(int(image.result), plan.out.shape), device="cuda")
    conv = torch.nn.Conv2d(3, 32, 3, stride=2).cuda().eval()
    stream = torch.cuda.ExternalStream(int(bench.stream.handle))
    out = torch.empty(1, 32, 127, 223, device="cuda")

    def chain() -> None:
        image.enqueue()
        with torch.inference_mode(), torch.cuda.stream(stream):
            out.copy_(conv(view.permute(0, 3, 1, 2).float() / 255))

    for _ in range(3):
        chain()
    bench.stream.synchronize()
    plain, handle = out.clone(), int(bench.stream.handle)
    # torch captures this one: its allocator has to know of it.
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        chain()
    out.zero_()
    with torch.cuda.stream(stream):
        graph.replay()
    bench.stream.synchronize()
    equal = bool(torch.equal(plain, out))
    ours = CapturedGraph(import_bindings(), handle, image.enqueue)
    timings = [
        measured(bench.device, bench.stream, "kernel + torch, launched", chain),
        measured(
            bench.device, bench.stream, "kernel + torch, replayed", lambda: _replay(graph, stream)
        ),
        measured(bench.device, bench.stream, "kernel alone, replayed", lambda: ours.launch(handle)),
    ]
    return [*table(timings), "", f"replay equals launch: {equal}"]


def networks(bench: self_test.Bench) -> list[str]:
    """TensorRT on the self-test's network, host to host, with and without a captured graph."""
    timings = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "self_test.onnx"
        self_test.write_small_network(path)
        for name, captured in (("launched", False), ("replayed", True)):
            options = EngineOptions(cache_dir=Path(folder), cuda_graph=captured)
            with open_engine(path, "tensorrt", options) as engine:
                inputs = {n: np.zeros(s.shape, s.dtype) for n, s in engine.inputs.items()}
                work = _run_of(engine, inputs)
                timings.append(
                    measured(bench.device, bench.stream, f"{engine.info.version}, {name}", work)
                )
    return table(timings)


STEPS: dict[str, Callable[[self_test.Bench], list[str]]] = {
    "Self-test": self_tests,
    "Kernels and the copy rate": bandwidth,
    "A kernel and torch in one graph": torch_chain,
    "A network on TensorRT": networks,
}


class _CudaArray:
    """Device memory as torch takes it, without a copy."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "typestr": "|u1",
            "version": 3,
        }


def _replay(graph, stream) -> None:
    import torch

    with torch.cuda.stream(stream):
        graph.replay()


def _run_of(engine, inputs) -> Callable[[], None]:
    def run() -> None:
        engine.run(inputs)

    return run


def table(timings: list[Measured]) -> list[str]:
    """Markdown; shares are of the first row, where bytes are known."""
    rows = ["| on the device | median us | GB/s | of the copy rate |", "|---|---|---|---|"]
    for timing in timings:
        rate = f"{timing.gigabytes_per_s:.0f}" if timing.moved_bytes else ""
        share = f"{timing.gigabytes_per_s / timings[0].gigabytes_per_s:.0%}" if rate else ""
        rows.append(f"| {timing.name} | {timing.median_us:.1f} | {rate} | {share} |")
    return rows


def report(bench: self_test.Bench, steps: dict[str, Callable[[self_test.Bench], list[str]]]) -> str:
    """All steps; one that fails is in the report, and the others still run."""
    today = datetime.date.today().isoformat()
    device = bench.device
    parts = [f"## {device.name}, {today}", f"{device.identity}; `python -m benchmarks.gpu.measure`"]
    for title, step in steps.items():
        parts.append(f"### {title}")
        try:
            parts.append("\n".join(step(bench)))
        except Exception as error:  # a report of three steps of four is worth having
            parts.append(f"failed: {type(error).__name__}: {error}")
    return "\n\n".join(parts) + "\n"


def opened(device: CudaDevice) -> self_test.Bench:
    return self_test.Bench(device, device.module(kernel_image(device.sm)), device.stream())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(arguments)
    if options.dry_run:
        for title, step in STEPS.items():
            print(f"{title}: {step.__doc__}")
        return
    device = open_device()
    with device.current():
        text = report(opened(device), STEPS)
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
