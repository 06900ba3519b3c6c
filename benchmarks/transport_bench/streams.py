"""What is sent, to whom: the sensor streams of a rig and the scenarios made of them."""

import math

import msgspec
import numpy as np
import numpy.typing as npt

INLINE_BYTES = 16 * 1024
"""Larger arrays count as bulk: few are queued, and few source arrays are kept."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's messages."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    rate_hz: float
    phase_ms: float = 0.0
    """Offset of its ticks; the cameras have none, as if triggered together: the hard case."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_bulk(self) -> bool:
        return self.nbytes > INLINE_BYTES

    @property
    def depth(self) -> int:
        """Messages queued per subscriber, where a transport asks."""
        return 8 if self.is_bulk else 64


class Reader(msgspec.Struct, frozen=True):
    """One subscribing process."""

    name: str
    group: str = ""
    """Readers of one group are reported together."""
    work_ms: float = 0.0
    """Time it takes over each message, holding the array."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Publishers, each a process of its own, and the readers of all their streams."""

    name: str
    title: str
    streams: tuple[str, ...]
    readers: tuple[Reader, ...] = (Reader("reader"),)
    is_flat_out: bool = False
    """Publish as fast as the transport takes it, to measure throughput."""


_HD = (1080, 1920, 3)
STREAMS = {
    stream.name: stream
    for stream in (
        Stream(name="camera0", kind="camera", shape=_HD, dtype="|u1", rate_hz=30),
        Stream(name="camera1", kind="camera", shape=_HD, dtype="|u1", rate_hz=30),
        Stream(name="camera2", kind="camera", shape=_HD, dtype="|u1", rate_hz=30),
        Stream(name="lidar", kind="lidar", shape=(100_000, 5), dtype="<f4", rate_hz=20, phase_ms=7),
        Stream(name="audio", kind="audio", shape=(320, 4), dtype="<i2", rate_hz=50, phase_ms=3),
        Stream(name="gps", kind="gps", shape=(200,), dtype="|u1", rate_hz=10, phase_ms=11),
    )
}
_ALL = tuple(STREAMS)
_THREE = (Reader("fusion"), Reader("recorder"), Reader("viewer"))

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="camera_1", title="1080p camera to 1 subscriber", streams=("camera0",)),
        Scenario(
            name="camera_3",
            title="1080p camera to 3 subscribers",
            streams=("camera0",),
            readers=_THREE,
        ),
        Scenario(name="lidar", title="LiDAR, 2 MB, 20 Hz", streams=("lidar",)),
        Scenario(name="small", title="audio 50 Hz and GPS 10 Hz", streams=("audio", "gps")),
        Scenario(name="mix_1", title="3 cameras, LiDAR, audio, GPS to 1", streams=_ALL),
        Scenario(
            name="mix_3", title="3 cameras, LiDAR, audio, GPS to 3", streams=_ALL, readers=_THREE
        ),
        Scenario(
            name="slow",
            title="camera to a fast reader beside one that needs 100 ms",
            streams=("camera0",),
            readers=(Reader("fast", "fast"), Reader("slow", "slow", work_ms=100)),
        ),
        Scenario(
            name="flat_camera", title="camera flat out", streams=("camera0",), is_flat_out=True
        ),
        Scenario(name="flat_audio", title="audio flat out", streams=("audio",), is_flat_out=True),
    )
}

_MARKS = 64


def marks(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """Up to 64 words spread over the array, first and last included: where the number goes."""
    words = array.reshape(-1).view(np.uint64)
    positions = np.linspace(0, len(words) - 1, min(_MARKS, len(words))).astype(np.intp)
    step = max(1, int(positions[1] - positions[0]))
    return words[(len(words) - 1) % step :: step]


def mark(array: npt.NDArray[np.generic], seq: int) -> None:
    """Write the message's number all over its array, so that a torn frame shows."""
    marks(array)[:] = seq
    array.reshape(-1).view(np.uint64)[0] = seq


def is_intact(array: npt.NDArray[np.generic], seq: int) -> bool:
    """Whether the number stands in every place that `mark` writes."""
    return bool((marks(array) == seq).all()) and int(array.reshape(-1).view(np.uint64)[0]) == seq
