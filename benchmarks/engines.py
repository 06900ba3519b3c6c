"""Backends side by side on the test networks and one as big as a camera encoder, one thread.

python -m benchmarks.engines [--rounds N]     (needs the [train] and [openvino] extras)

"bare run_with_iobinding" is onnxruntime without our wrapper, everything bound beforehand: the
difference to "onnxruntime" is what the wrapper costs.
"""

import argparse
import contextlib
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch

from benchmarks.rounds import machine, table, timed_in_turns
from fusion_rt.engine.engine import Engine, EngineOptions
from fusion_rt.engine.open import open_engine
from fusion_rt.errors import BackendMissingError
from tests.engine_graphs import GRAPHS, Graph

BASE = "onnxruntime"


class CameraSized(torch.nn.Module):
    """1.2 GFLOP of convolutions on a 256 x 448 image: the size of a small camera encoder."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 16, 32, 64, 64, 128, 128]
        strides = [2, 2, 2, 1, 2, 1]
        layers = []
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [torch.nn.Conv2d(before, after, 3, stride, 1), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image.to(torch.float32).permute(0, 3, 1, 2) * (1 / 255.0))


def bare(path: Path, engine: Engine, inputs: dict[str, np.ndarray]) -> object:
    """onnxruntime as fast as it can be called from Python."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    outputs = {name: np.zeros(spec.shape, spec.dtype) for name, spec in engine.outputs.items()}
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(keep: object = (inputs, outputs)) -> None:  # noqa: ARG001  the binding holds pointers
        session.run_with_iobinding(binding)

    return run


def compare(graph: Graph, folder: Path, rounds: int) -> str:
    path = graph.export(folder)
    inputs = graph.arrays()
    with contextlib.ExitStack() as stack:
        rivals = {}
        for name, backend, options in (
            (BASE, "onnxruntime", EngineOptions()),
            ("openvino f32", "openvino", EngineOptions()),
            ("openvino bf16", "openvino", EngineOptions(openvino_precision="bf16")),
            ("torch eager", "torch", EngineOptions()),
            ("tensorrt", "tensorrt", EngineOptions()),
        ):
            try:
                engine = stack.enter_context(open_engine(path, backend, options))
            except BackendMissingError as error:
                print(f"left out: {error}")
                continue
            rivals[name] = lambda engine=engine: engine.run(inputs)
            if name == BASE:
                rivals["bare run_with_iobinding"] = bare(path, engine, inputs)
                fresh = [{n: a.copy() for n, a in inputs.items()} for _ in range(2)]
                rivals["onnxruntime, other arrays each call"] = _alternating(engine, fresh)
        return table(graph.name, timed_in_turns(rivals, rounds), BASE)


def _alternating(engine: Engine, sets: list[dict[str, np.ndarray]]) -> object:
    """Every call binds anew, as when each message brings its own array."""

    def run() -> None:
        sets.reverse()
        engine.run(sets[0])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # torch's exporter about itself
    versions = f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
    print(f"{machine()}, {versions}; one thread per engine, {rounds} rounds in turns\n")
    camera = Graph("camera_sized", CameraSized, {"image": (1, 256, 448, 3)}, ("features",))
    with tempfile.TemporaryDirectory() as folder:
        for graph in (*GRAPHS.values(), camera):
            print(compare(graph, Path(folder), rounds))


if __name__ == "__main__":
    main()
