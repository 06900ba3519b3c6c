"""The reference to compare engines with: a torch.export program run eagerly."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.engine.engine import Engine, EngineInfo, EngineOptions, model_file
from fusion_rt.errors import EngineLoadError, EngineRunError

BACKEND = "torch"
_NAMES_FILE = "fusion_rt_names.json"


def save_reference(
    program: torch.export.ExportedProgram,
    path: Path,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> None:
    """Write a program as `.pt2` with the names its ONNX twin has: torch keeps none of its own."""
    names = json.dumps({"inputs": list(input_names), "outputs": list(output_names)})
    torch.export.save(program, path, extra_files={_NAMES_FILE: names})


class TorchEngine(Engine):
    """Eager torch on the CPU: right, not fast, allocates, and sets torch's global thread count."""

    def __init__(
        self,
        module: torch.nn.Module,
        info: EngineInfo,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        super().__init__(info, inputs, outputs)
        self._module = module

    @classmethod
    def load(cls, path: Path, options: EngineOptions) -> "TorchEngine":
        """Load the `.pt2` written by `save_reference`; for an ONNX file, the one beside it."""
        file = model_file(path.with_suffix(".pt2"), BACKEND)
        names_json = {_NAMES_FILE: ""}
        try:
            program = torch.export.load(file, extra_files=names_json)
            names = json.loads(names_json[_NAMES_FILE])
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            way_out = "write it with fusion_rt.engine.torch_engine.save_reference"
            problem = str(error).splitlines()[0][:400]
            raise EngineLoadError(str(file), BACKEND, problem, way_out) from error
        torch.set_num_threads(options.threads)
        inputs, outputs = _specs(program, names["inputs"], names["outputs"])
        return cls(
            program.module(), EngineInfo(file.name, BACKEND, torch.__version__), inputs, outputs
        )

    def _run(self, inputs: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray]) -> None:
        tensors = [_tensor(inputs[name]) for name in self.inputs]
        try:
            with torch.inference_mode():
                results = self._module(*tensors)
        except RuntimeError as error:
            problem = str(error).splitlines()[0][:400]
            raise EngineRunError(self.info.model, BACKEND, problem) from error
        listed = results if isinstance(results, (tuple, list)) else [results]
        for name, result in zip(self.outputs, listed, strict=True):
            np.copyto(outputs[name], result.numpy(), casting="no")

    def _release(self) -> None:
        del self._module


def _specs(
    program: torch.export.ExportedProgram, input_names: list[str], output_names: list[str]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    pairs_in = zip(input_names, signature.user_inputs, strict=True)
    pairs_out = zip(output_names, signature.user_outputs, strict=True)
    return (
        [_spec(name, values[str(node)]) for name, node in pairs_in],
        [_spec(name, values[str(node)]) for name, node in pairs_out],
    )


def _spec(name: str, value: torch.Tensor) -> TensorSpec:
    dtype = torch.empty(0, dtype=value.dtype).numpy().dtype
    return TensorSpec(name, tuple(int(size) for size in value.shape), dtype)


def _tensor(array: AnyArray) -> torch.Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
