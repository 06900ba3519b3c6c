"""All graphs of a model one after another on one thread: python -m benchmarks.chain [--model NAME].

Times how long the chain takes by each backend, in turns, and beside it what one core does in
arithmetic alone at that hour (a product of float32 matrices), since both go up and down together on
a shared machine.
"""

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.rounds import Timing, machine, timed_in_turns
from fusion_rt.engine.engine import Engine, EngineOptions
from fusion_rt.engine.open import open_engine
from fusion_rt.errors import BackendMissingError
from fusion_rt.model_file import BF16, find_model, load_model

WAYS = {
    "onnxruntime": ("onnxruntime", EngineOptions()),
    "openvino f32": ("openvino", EngineOptions()),
    "openvino bf16": ("openvino", EngineOptions(openvino_precision=BF16)),
}
FLOOR = "floor"
_SIDE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    folder = find_model(arguments.model)
    print(f"{machine()}; one thread, median of {arguments.rounds} rounds in turns\n")
    with contextlib.ExitStack() as opened:
        rivals = {FLOOR: _matrix_product()}
        for way in WAYS:
            with contextlib.suppress(BackendMissingError):
                rivals |= _graphs(folder, way, opened)
        timings = timed_in_turns(rivals, arguments.rounds, warm_up=10)
    print(_table(timings))


def _graphs(
    folder: Path, way: str, opened: contextlib.ExitStack
) -> dict[str, Callable[[], object]]:
    """One run of each graph, on noise, all streams present."""
    backend, options = WAYS[way]
    model = load_model(folder)
    found: dict[str, Callable[[], object]] = {}
    for name, _ in model.file.networks():
        engine = opened.enter_context(open_engine(model.path(name), backend, options))
        inputs = _noise(engine)
        found[f"{way}/{name}"] = lambda engine=engine, inputs=inputs: engine.run(inputs)
    return found


def _noise(engine: Engine) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    scale = {np.dtype(np.uint8): 255.0}
    noise = {
        name: (rng.random(spec.shape) * scale.get(spec.dtype, 1.0)).astype(spec.dtype)
        for name, spec in engine.inputs.items()
    }
    return noise | {name: np.ones_like(noise[name]) for name in {"present", "valid"} & set(noise)}


def _matrix_product() -> Callable[[], object]:
    a, b = np.random.default_rng(0).random((2, _SIDE, _SIDE), np.float32)
    c = np.empty_like(a)
    return lambda: np.matmul(a, b, out=c)


def _table(timings: list[Timing]) -> str:
    ms = {timing.name: timing.median_us / 1e3 for timing in timings}
    floor = 2 * _SIDE**3 / (ms.pop(FLOOR) * 1e6)
    graphs = list(dict.fromkeys(name.split("/")[1] for name in ms))
    lines = [f"matrix product: {floor:.0f} GFLOP/s", "", f"| ms | {' | '.join(graphs)} | all |"]
    lines.append("|" + "---|" * (len(graphs) + 2))
    for way in dict.fromkeys(name.split("/")[0] for name in ms):
        each = [ms[f"{way}/{graph}"] for graph in graphs]
        cells = " | ".join(f"{value:.1f}" for value in [*each, sum(each)])
        lines.append(f"| {way} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
