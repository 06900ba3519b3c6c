"""Which backend runs a network: the best that loads, and why."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from fusion_rt.engine.engine import Engine, EngineOptions, model_file
from fusion_rt.errors import BackendMissingError, ConfigError, EngineLoadError

log = logging.getLogger(__name__)

Backend = Literal["auto", "tensorrt", "onnxruntime", "openvino", "torch"]
Loader = Callable[[Path, EngineOptions], Engine]

# Best first: TensorRT needs a GPU; onnxruntime in fp32 beats OpenVINO in fp32. In bf16 OpenVINO is
# far ahead, but whether a model bears that must be measured, so it is used when asked for.
_PREFERENCE: tuple[Backend, ...] = ("tensorrt", "onnxruntime", "openvino", "torch")
_REASONS = {
    "tensorrt": "fastest where there is a GPU",
    "onnxruntime": "fastest in fp32 on a CPU",
    "openvino": "onnxruntime did not load it",
    "torch": "nothing else loaded it",
}
_LOADERS = {
    "tensorrt": ("fusion_rt.engine.tensorrt_engine", "TensorrtEngine"),
    "onnxruntime": ("fusion_rt.engine.onnxruntime_engine", "OnnxruntimeEngine"),
    "openvino": ("fusion_rt.engine.openvino_engine", "OpenvinoEngine"),
    "torch": ("fusion_rt.engine.torch_engine", "TorchEngine"),
}
_INSTALL = {
    "tensorrt": "pip install fusion_rt[tensorrt] or fusion_rt[tensorrt-rtx]",
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install fusion_rt[openvino]",
    "torch": "pip install fusion_rt[train]",
}


def open_engine(
    path: Path, backend: Backend = "auto", options: EngineOptions | None = None
) -> Engine:
    """Open an ONNX file with one backend, or with the best that loads (`engine.info` says why)."""
    options = options or EngineOptions()
    if backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise ConfigError(str(path), "backend", f"expected one of {known}, got {backend}")
    if backend != "torch":  # which has files of its own
        model_file(path, backend)
    engine = (
        _first_that_loads(path, options) if backend == "auto" else _load(backend, path, options)
    )
    log.info("%s", engine.info)
    return engine


def _first_that_loads(path: Path, options: EngineOptions) -> Engine:
    refused: list[str] = []
    for backend in _PREFERENCE:
        try:
            engine = _load(backend, path, options)
        except (BackendMissingError, EngineLoadError) as error:
            refused.append(str(error))
            continue
        engine.info.why = _REASONS[backend]
        engine.info.refused = refused
        return engine
    raise EngineLoadError(str(path), "auto", "no backend loads it: " + " | ".join(refused))


def _load(backend: Backend, path: Path, options: EngineOptions) -> Engine:
    module_name, class_name = _LOADERS[backend]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:  # also a broken install: a shared library that is not there
        raise BackendMissingError(backend, str(error), _INSTALL[backend]) from error
    load: Loader = getattr(module, class_name).load
    return load(path, options)
