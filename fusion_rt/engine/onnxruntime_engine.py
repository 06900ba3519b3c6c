"""Encode and fuse on the CPU by onnxruntime: the default wherever there is no GPU."""

from collections.abc import Callable, Mapping
from pathlib import Path
from weakref import ReferenceType, ref

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.engine.engine import Engine, EngineInfo, EngineOptions, model_file, static_spec
from fusion_rt.errors import EngineLoadError, EngineRunError

BACKEND = "onnxruntime"
_ERRORS = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxruntimeEngine(Engine):
    """One session on the CPU. Arrays are bound in place: nothing is copied in or out."""

    def __init__(self, session: onnxruntime.InferenceSession, info: EngineInfo) -> None:
        super().__init__(
            info,
            [_spec(info.model, node) for node in session.get_inputs()],
            [_spec(info.model, node) for node in session.get_outputs()],
        )
        self._session = session
        self._binding = session.io_binding()
        # The binding holds bare pointers, used during a run only. Weak, because an input may be a
        # view of a slot in shared memory, which must not be held beyond the call.
        self._bound: dict[str, ReferenceType[AnyArray]] = {}

    @classmethod
    def load(cls, path: Path, options: EngineOptions) -> "OnnxruntimeEngine":
        """Load an ONNX file."""
        name = str(model_file(path, BACKEND))
        info = EngineInfo(path.name, BACKEND, onnxruntime.__version__)
        try:
            session = onnxruntime.InferenceSession(
                name, _session_options(options), providers=["CPUExecutionProvider"]
            )
        except _ERRORS as error:
            raise EngineLoadError(name, BACKEND, _first_line(error), _way_out(error)) from error
        return cls(session, info)

    def _run(self, inputs: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray]) -> None:
        for name, array in inputs.items():
            self._bind(self._binding.bind_input, name, array)
        for name, array in outputs.items():
            self._bind(self._binding.bind_output, name, array)
        try:
            self._session.run_with_iobinding(self._binding)
        except (*_ERRORS, RuntimeError) as error:
            raise EngineRunError(self.info.model, BACKEND, _first_line(error)) from error

    def _bind(self, bind: Callable[..., None], name: str, array: AnyArray) -> None:
        bound = self._bound.get(name)
        if bound is None or bound() is not array:
            bind(name, "cpu", 0, array.dtype, array.shape, _address(array))
            self._bound[name] = ref(array)

    def _release(self) -> None:
        del self._binding, self._session
        self._bound.clear()


def _session_options(options: EngineOptions) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if options.spinning else "0"
    )
    settings.log_severity_level = 4  # what matters is raised, and said once by us
    return settings


def _spec(model: str, node: onnxruntime.NodeArg) -> TensorSpec:
    if node.type not in _DTYPES:
        problem = f'"{node.name}" is a {node.type}'
        raise EngineLoadError(model, BACKEND, problem, f"known types: {', '.join(_DTYPES)}")
    return static_spec(model, BACKEND, node.name, node.shape, np.dtype(_DTYPES[node.type]))


def _address(array: AnyArray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:400]


def _way_out(error: Exception) -> str:
    if isinstance(error, ort_state.InvalidProtobuf):
        return "the file is damaged or no ONNX: export or copy it again"
    unknown = ("No Op registered", "not a registered", "NOT_IMPLEMENTED")
    if any(phrase in str(error) for phrase in unknown):
        return f"export it for an opset that onnxruntime {onnxruntime.__version__} knows"
    return "check the model with onnx.checker"
