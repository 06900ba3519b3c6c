"""CUDA graphs on PyCUDA's streams, by cuda-bindings: PyCUDA has no stream capture itself."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from fusion_rt.errors import BackendMissingError, EngineRunError


def import_bindings() -> ModuleType:
    """`cuda.bindings.driver`."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise BackendMissingError(
            "cuda graphs", str(error), "pip install fusion_rt[pycuda]"
        ) from error
    found: ModuleType = driver
    return found


class CapturedGraph:
    """Work recorded once and replayed with one call, with the addresses and shapes it had then.

    Warm up first: what allocates or compiles at its first run cannot be captured.
    """

    def __init__(self, cuda: ModuleType, stream: int, enqueue: Callable[[], None]) -> None:
        self._cuda = cuda
        self._call(cuda.cuStreamBeginCapture, stream, _thread_local(cuda))
        try:
            enqueue()
        except BaseException:
            cuda.cuStreamEndCapture(stream)  # leaves the stream usable; the cause is on its way up
            raise
        graph = self._call(cuda.cuStreamEndCapture, stream)
        try:
            self._executable = self._call(cuda.cuGraphInstantiate, graph, 0)
        finally:
            self._call(cuda.cuGraphDestroy, graph)

    def launch(self, stream: int) -> None:
        """Put a replay on a stream."""
        self._call(self._cuda.cuGraphLaunch, self._executable, stream)

    def close(self) -> None:
        """Free the executable graph."""
        if self._executable is not None:
            self._call(self._cuda.cuGraphExecDestroy, self._executable)
            self._executable = None

    def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        status, *values = function(*arguments)
        if status != self._cuda.CUresult.CUDA_SUCCESS:
            raise EngineRunError("cuda graph", "cuda", f"{function.__name__} gave {status!s}")
        return values[0] if values else None


def _thread_local(cuda: ModuleType) -> Any:
    """Other threads may go on allocating while this one captures."""
    return cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
