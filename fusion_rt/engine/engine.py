"""Encode and fuse: one interface to a network, whatever runs it."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.errors import ArrayError, EngineLoadError, EngineRunError


@dataclass(frozen=True)
class EngineOptions:
    """How engines run. Defaults suit several engines side by side on a few cores.

    A second thread per engine buys little on busy cores and, with spinning, costs the tail.
    """

    threads: int = 1
    spinning: bool = False
    openvino_precision: Literal["f32", "bf16", "f16"] = "f32"
    cuda_graph: bool = True
    cache_dir: Path | None = None  # of built plans; None: the user's cache folder


@dataclass
class EngineInfo:
    """What was opened and why: for the log, `doctor` and the benchmark's tables."""

    model: str
    backend: str
    version: str
    device: str = "cpu"
    why: str = "asked for"
    refused: list[str] = field(default_factory=list)  # better backends that did not load, and why

    def __str__(self) -> str:
        refused = "".join(f"; not {reason}" for reason in self.refused)
        where = f"{self.backend} {self.version} on {self.device}"
        return f"{self.model}: {where} ({self.why}{refused})"


class Engine(ABC):
    """A loaded network with fixed shapes. Close it, or use it in a `with` block.

    Thread-safe: concurrent calls of `run` take turns. The arrays returned are the engine's own and
    the next `run` overwrites them; threads that share an engine pass `outputs` of their own.
    """

    def __init__(
        self, info: EngineInfo, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        self.info = info
        self.inputs = {spec.name: spec for spec in inputs}
        self.outputs = {spec.name: spec for spec in outputs}
        self._where = f"engine {info.model}"
        self._own_outputs = {spec.name: self._allocated(spec) for spec in outputs}
        self._turn = threading.Lock()
        self._is_open = True

    def run(
        self, inputs: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray] | None = None
    ) -> Mapping[str, AnyArray]:
        """Outputs by name. Inputs must match `inputs` exactly and stay as they are meanwhile."""
        self._check(self.inputs, inputs)
        if outputs is None:
            outputs = self._own_outputs
        else:
            self._check(self.outputs, outputs)
        with self._turn:
            if not self._is_open:
                raise EngineRunError(self.info.model, self.info.backend, "is closed")
            self._run(inputs, outputs)
        return outputs

    def close(self) -> None:
        """Free what the backend holds; waits for a running call. Closing again does nothing."""
        with self._turn:
            if self._is_open:
                self._is_open = False
                self._release()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _run(self, inputs: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray]) -> None:
        """Fill `outputs`; both mappings have been checked."""

    @abstractmethod
    def _release(self) -> None:
        """Drop the backend's objects."""

    def _check(self, specs: Mapping[str, TensorSpec], arrays: Mapping[str, AnyArray]) -> None:
        if arrays.keys() != specs.keys():
            known, given = ", ".join(specs), ", ".join(arrays) or "nothing"
            raise ArrayError(self._where, "tensors", known, given)
        for name, spec in specs.items():
            spec.check(arrays[name], self._where)

    def _allocated(self, spec: TensorSpec) -> AnyArray:
        try:
            return np.zeros(spec.shape, spec.dtype)
        except (MemoryError, ValueError) as error:  # ValueError: beyond the address space
            problem = f'"{spec.name}" {spec} needs {spec.nbytes / 2**30:.1f} GiB'
            way_out = "export a smaller output or free memory"
            raise EngineLoadError(self.info.model, self.info.backend, problem, way_out) from error


def model_file(path: Path, backend: str) -> Path:
    """The path itself, if there is a file to load."""
    if not path.is_file():
        folder = path.parent
        others = sorted(p.name for p in folder.glob(f"*{path.suffix}")) if folder.is_dir() else []
        way_out = f"{folder} has {', '.join(others)}" if others else "check the path"
        raise EngineLoadError(str(path), backend, "no such file", way_out)
    return path


def static_spec(
    model: str, backend: str, name: str, shape: Sequence[object], dtype: np.dtype[Any]
) -> TensorSpec:
    """A spec from a backend's shape, refusing dimensions that are not fixed."""
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    if len(sizes) < len(shape):
        problem = f'"{name}" has the shape {list(shape)} with open dimensions'
        raise EngineLoadError(model, backend, problem, "export it with fixed shapes")
    return TensorSpec(name, tuple(sizes), dtype)
