"""Encode and fuse on the CPU by OpenVINO: faster than onnxruntime where bf16 or INT8 will do."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino

from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.engine.engine import Engine, EngineInfo, EngineOptions, model_file, static_spec
from fusion_rt.errors import EngineLoadError, EngineRunError

BACKEND = "openvino"


class OpenvinoEngine(Engine):
    """One infer request on the CPU. Inputs are copied in: OpenVINO would hold on to an array that
    it shares, and a slot of shared memory must not be held beyond the call. Outputs are in place.
    """

    def __init__(self, compiled: openvino.CompiledModel, info: EngineInfo) -> None:
        super().__init__(
            info,
            [_spec(info.model, port) for port in compiled.inputs],
            [_spec(info.model, port) for port in compiled.outputs],
        )
        self._request = compiled.create_infer_request()
        self._own_inputs = {name: self._allocated(spec) for name, spec in self.inputs.items()}
        for name, array in self._own_inputs.items():
            self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        self._bound: dict[str, AnyArray] = {}

    @classmethod
    def load(cls, path: Path, options: EngineOptions) -> "OpenvinoEngine":
        """Load an ONNX file. Precision is always said: OpenVINO's own default may be bf16."""
        name = str(model_file(path, BACKEND))
        hints = {
            "INFERENCE_PRECISION_HINT": options.openvino_precision,
            "INFERENCE_NUM_THREADS": str(options.threads),
            "NUM_STREAMS": "1",
            "SNIPPETS_MODE": "DISABLE",  # 2026.4 crashes fusing around a MatMul, on one thread
        }
        try:
            compiled = openvino.Core().compile_model(name, "CPU", hints)
        except RuntimeError as error:
            way_out = "check the model with onnx.checker, or use the onnxruntime backend"
            raise EngineLoadError(name, BACKEND, _last_line(error), way_out) from error
        computes_in = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        version = f"{openvino.__version__.split('-')[0]} {computes_in}"
        return cls(compiled, EngineInfo(path.name, BACKEND, version))

    def _run(self, inputs: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray]) -> None:
        for name, array in inputs.items():
            np.copyto(self._own_inputs[name], array)
        for name, array in outputs.items():
            if self._bound.get(name) is not array:
                self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
                self._bound[name] = array
        try:
            self._request.infer()
        except RuntimeError as error:
            raise EngineRunError(self.info.model, BACKEND, _last_line(error)) from error

    def _release(self) -> None:
        del self._request
        self._bound.clear()


def _spec(model: str, port: openvino.ConstOutput) -> TensorSpec:
    shape = [d.get_length() if d.is_static else str(d) for d in port.get_partial_shape()]
    dtype = np.dtype(port.get_element_type().to_dtype())
    return static_spec(model, BACKEND, _onnx_name(port), shape, dtype)


def _onnx_name(port: openvino.ConstOutput) -> str:
    """A port may carry several names after optimization; its node keeps the one of the ONNX."""
    name = str(port.get_node().get_friendly_name()).removesuffix("/sink_port_0")
    return name if name in port.get_names() else str(port.get_any_name())


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__
