"""How long work takes on the GPU, by events on its stream, and as a share of the copy rate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_rt.gpu.device import CudaDevice

_COPY_BYTES = 256 << 20


@dataclass(frozen=True)
class Measured:
    """Median time of one piece of work; `moved_bytes` is what it must at least read and write."""

    name: str
    median_us: float
    moved_bytes: int = 0

    @property
    def gigabytes_per_s(self) -> float:
        return self.moved_bytes / (self.median_us * 1e3)


def measured(
    device: CudaDevice,
    stream: Any,
    name: str,
    enqueue: Callable[[], None],
    moved_bytes: int = 0,
    rounds: int = 20,
    repeats: int = 20,
) -> Measured:
    """Median over `rounds` of `repeats` enqueued back to back, so that launch gaps are hidden."""
    start, end = device.event(), device.event()
    enqueue()
    stream.synchronize()
    spent_us = []
    for _ in range(rounds):
        start.record(stream)
        for _ in range(repeats):
            enqueue()
        end.record(stream)
        end.synchronize()
        spent_us.append(end.time_since(start) * 1e3 / repeats)
    return Measured(name, float(np.median(spent_us)), moved_bytes)


def copy_rate(device: CudaDevice, stream: Any, nbytes: int = _COPY_BYTES) -> Measured:
    """Device memory to device memory: the rate that kernels are compared with."""
    source, target = device.allocate(nbytes), device.allocate(nbytes)

    def copy() -> None:
        device.copy(target, source, nbytes, stream)

    return measured(device, stream, "device copy", copy, 2 * nbytes)
