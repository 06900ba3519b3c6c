"""Encode and fuse on an NVIDIA GPU: one class for `tensorrt` 10 and 11 and for `tensorrt_rtx`.

What differs between them is asked for with `hasattr`, never by version. Buffers are static: one
warm-up run, then copies and network are one captured CUDA graph.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.engine.engine import Engine, EngineInfo, EngineOptions, model_file, static_spec
from fusion_rt.engine.plan_builder import (
    CURRENT,
    build_plan,
    import_tensorrt,
    is_rtx,
    known_targets,
    library_name,
)
from fusion_rt.engine.plan_cache import PlanCache, PlanKey, default_cache_dir, plan_key
from fusion_rt.errors import BackendMissingError, EngineLoadError, EngineRunError
from fusion_rt.gpu.device import CudaDevice, open_device
from fusion_rt.gpu.graph_capture import CapturedGraph, import_bindings

log = logging.getLogger(__name__)
BACKEND = "tensorrt"


class TensorrtEngine(Engine):
    """A plan with its execution context, device buffers and a stream of its own.

    `run` goes through pinned host buffers. A pipeline that stays on the device writes to
    `addresses[input]`, calls `enqueue(stream)` and reads `addresses[output]` in stream order.
    """

    def __init__(
        self,
        trt: ModuleType,
        loaded: Any,
        device: CudaDevice,
        info: EngineInfo,
        options: EngineOptions,
    ) -> None:
        super().__init__(
            info,
            _specs(trt, loaded, info.model, trt.TensorIOMode.INPUT),
            _specs(trt, loaded, info.model, trt.TensorIOMode.OUTPUT),
        )
        self._device = device
        self._graph: CapturedGraph | None = None
        self._wants_graph = options.cuda_graph
        self._cache_dir = options.cache_dir or default_cache_dir()
        with device.current():
            self._stream = device.stream()
            self._runtime_cache = _RuntimeCache(loaded, info, device, self._cache_dir)
            self._context = self._runtime_cache.context()
            specs = {**self.inputs, **self.outputs}
            self._memory = {name: device.allocate(spec.nbytes) for name, spec in specs.items()}
            self._pinned = {n: device.pinned(s.shape, s.dtype) for n, s in specs.items()}
        self.addresses = {name: int(memory) for name, memory in self._memory.items()}
        for name, address in self.addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise EngineLoadError(info.model, BACKEND, f'refuses an address for "{name}"')
        self._loaded = loaded  # the context needs it alive

    @classmethod
    def load(cls, path: Path, options: EngineOptions) -> "TensorrtEngine":
        """Load an ONNX through the cache: built first if there is no plan of this content."""
        model_file(path, BACKEND)
        trt = import_tensorrt()
        device = open_device()
        key = _key(path, trt, device)
        with device.current():
            loaded = _from_cache(
                path, trt, key, PlanCache(options.cache_dir or default_cache_dir())
            )
            info = EngineInfo(path.name, BACKEND, library_name(trt), device.name)
            return cls(trt, loaded, device, info, options)

    def enqueue(self, stream: Any) -> None:
        """Put the network on a stream, inputs and outputs on the device; capturable after a run."""
        if not self._context.execute_async_v3(int(stream.handle)):
            raise EngineRunError(self.info.model, BACKEND, "refused to enqueue; see its log")

    def _run(self, inputs: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray]) -> None:
        for name, array in inputs.items():
            np.copyto(self._pinned[name], array)
        with self._device.current():
            if self._graph is not None:
                self._graph.launch(int(self._stream.handle))
                self._stream.synchronize()
            else:
                self._enqueue_with_copies()
                self._stream.synchronize()
                self._capture()
        for name, array in outputs.items():
            np.copyto(array, self._pinned[name])

    def _enqueue_with_copies(self) -> None:
        for name in self.inputs:
            self._device.upload(self._memory[name], self._pinned[name], self._stream)
        self.enqueue(self._stream)
        for name in self.outputs:
            self._device.download(self._pinned[name], self._memory[name], self._stream)

    def _capture(self) -> None:
        """After the first run; where capture is not possible the engine runs without."""
        if not self._wants_graph:
            return
        self._wants_graph = False
        handle = int(self._stream.handle)
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(handle):
            log.warning("engine %s: its work cannot be captured in a CUDA graph", self.info.model)
            return
        try:
            self._graph = CapturedGraph(import_bindings(), handle, self._enqueue_with_copies)
        except (BackendMissingError, EngineRunError) as error:
            log.warning("engine %s runs without a CUDA graph: %s", self.info.model, error)

    def _release(self) -> None:
        with self._device.current():
            if self._graph is not None:
                self._graph.close()
            self._runtime_cache.save()
            del self._context, self._loaded, self._stream
            self._memory.clear()
            self._pinned.clear()


class _RuntimeCache:
    """TensorRT-RTX compiles kernels when a context first runs; this keeps them between starts.

    The library checks the content against GPU, driver and its own version, and refuses what is
    from elsewhere. Full TensorRT has none, and `context` is all it does here.
    """

    def __init__(self, loaded: Any, info: EngineInfo, device: CudaDevice, folder: Path) -> None:
        self._loaded = loaded
        self._cache: Any = None
        self._config: Any = None
        name = hashlib.sha256(f"{device.identity} {info.version}".encode()).hexdigest()[:16]
        self._path = folder / f"{Path(info.model).stem}-{name}.runtime"
        if not hasattr(loaded, "create_runtime_config"):
            return
        config = loaded.create_runtime_config()
        if hasattr(config, "create_runtime_cache"):
            self._config, self._cache = config, config.create_runtime_cache()
            if self._path.is_file() and not self._cache.deserialize(self._path.read_bytes()):
                log.info("%s is of another GPU or version: starting afresh", self._path.name)
            config.set_runtime_cache(self._cache)

    def context(self) -> Any:
        if self._config is None:
            return self._loaded.create_execution_context()
        return self._loaded.create_execution_context(self._config)

    def save(self) -> None:
        if self._cache is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(bytes(self._cache.serialize()))
        temporary.replace(self._path)


def _key(path: Path, trt: ModuleType, device: CudaDevice) -> PlanKey:
    # A plan for a stated architecture runs on any GPU of it; one for "current" on this one only.
    if is_rtx(trt) and device.sm in known_targets(trt):
        return plan_key(path, library_name(trt), device.sm)
    return plan_key(path, library_name(trt), CURRENT, device.identity)


def _from_cache(path: Path, trt: ModuleType, key: PlanKey, cache: PlanCache) -> Any:
    """The plan's engine; what the library refuses is built once more."""
    runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
    plan, reason = cache.read(key)
    if plan is not None:
        if (loaded := runtime.deserialize_cuda_engine(plan)) is not None:
            return loaded
        reason = "the library refuses the cached plan"
        cache.discard(key)
    log.info("%s: building for %s (%s)", path.name, key.target, reason)
    timing = cache.folder / "timing.cache"
    plan = build_plan(trt, path.name, path.read_bytes(), [key.target], timing_cache=timing)
    cache.write(key, plan)
    if (loaded := runtime.deserialize_cuda_engine(plan)) is None:
        way_out = "see its log; fusion-rt doctor --gpu checks driver and versions"
        problem = f"{key.built_by} refuses the plan it just built"
        raise EngineLoadError(path.name, BACKEND, problem, way_out)
    return loaded


def _specs(trt: ModuleType, loaded: Any, model: str, mode: Any) -> list[TensorSpec]:
    names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
    return [
        static_spec(
            model,
            BACKEND,
            name,
            [int(size) for size in loaded.get_tensor_shape(name)],
            np.dtype(trt.nptype(loaded.get_tensor_dtype(name))),
        )
        for name in names
        if loaded.get_tensor_mode(name) == mode
    ]
