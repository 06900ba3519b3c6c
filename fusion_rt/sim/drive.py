"""A whole simulated drive, message by message in the order they leave, as fast as may be."""

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import ConfigError
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message
from fusion_rt.rig import Rig
from fusion_rt.sim.audio import SimulatedArray
from fusion_rt.sim.scenario import Scenario
from fusion_rt.sim.schedule import Shot
from fusion_rt.sim.streams import (
    OPTIONS,
    AudioStream,
    Counts,
    LidarStream,
    Stream,
    open_stream,
)
from fusion_rt.sim.truth import Truth, truth_at
from fusion_rt.sim.world import World

TRUTH_PERIOD_NS = 50 * NS_PER_MS


class Made(msgspec.Struct, frozen=True, eq=False):
    """One message of the drive with what is true of it."""

    topic: str
    shot: Shot
    message: Message
    seen: Counts
    """Objects it shows; see streams.Counts."""
    point_ids: npt.NDArray[np.int32] | None
    """(N,): the object each point of a sweep lies on, 0 for none; None for other sensors."""


class Drive:
    """The simulated sensors of a rig in one world."""

    def __init__(self, rig: Rig, scenario: Scenario, seed: int) -> None:
        self.world = World(scenario, seed)
        self.streams: dict[str, Stream] = {}
        for topic, sensor in rig.sensors.items():
            if not isinstance(sensor.options, OPTIONS[sensor.kind]):
                problem = f"expected the driver sim, got {sensor.options.driver}"
                way_out = "the rig `sim` that comes along has four simulated sensors"
                raise ConfigError(str(rig.source), f'sensors."{topic}"', problem, way_out)
            self.streams[topic] = open_stream(topic, sensor.options, self.world, rig.calibration)
        arrays = [s.array for s in self.streams.values() if isinstance(s, AudioStream)]
        self.array: SimulatedArray | None = arrays[0] if arrays else None

    def messages(self, seconds: float) -> Iterator[Made]:
        """Every message measured in that time. Its arrays are the caller's to keep."""
        end_ns = round(seconds * NS_PER_S)
        queues = [self._shots(topic, stream, end_ns) for topic, stream in self.streams.items()]
        for _, topic, shot in heapq.merge(*queues, key=lambda entry: entry[:2]):
            stream = self.streams[topic]
            with stream.message(shot, 0, _own) as message:
                ids = stream.object_ids if isinstance(stream, LidarStream) else None
                yield Made(topic, shot, message, stream.seen(), ids)

    def count(self, seconds: float) -> int:
        """How many messages that makes."""
        end_ns = round(seconds * NS_PER_S)
        return sum(sum(1 for _ in s.schedule.between(0, end_ns)) for s in self.streams.values())

    def truths(self, seconds: float) -> Iterator[Truth]:
        """The truth, every TRUTH_PERIOD_NS."""
        for t_ns in range(0, round(seconds * NS_PER_S), TRUTH_PERIOD_NS):
            yield truth_at(self.world, t_ns, self.array)

    def _shots(self, topic: str, stream: Stream, end_ns: int) -> Iterator[tuple[int, str, Shot]]:
        latest_ns = 0
        for shot in stream.schedule.between(0, end_ns):
            latest_ns = max(latest_ns, shot.sent_ns)  # a device does not overtake itself
            yield latest_ns, topic, msgspec.structs.replace(shot, sent_ns=latest_ns)


class Digest:
    """A fingerprint over everything a drive made: equal for equal scenario, seed and rig."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, made: Made) -> None:
        """Times, every value and every byte of a message, and what is true of it."""
        shot = msgspec.structs.astuple(made.shot)
        self._hash.update(msgspec.msgpack.encode((made.topic, shot, sorted(made.seen.items()))))
        for part in _parts(made.message):
            self._hash.update(part)
        if made.point_ids is not None:
            self._hash.update(made.point_ids.tobytes())

    def add_truth(self, row: Mapping[str, Any]) -> None:
        self._hash.update(msgspec.msgpack.encode(row))

    def hex(self) -> str:
        return self._hash.hexdigest()


def _parts(message: Message) -> Iterator[bytes]:
    if isinstance(message, CameraFrame):
        yield message.image.tobytes()
    elif isinstance(message, LidarSweep):
        yield message.points.tobytes()
        yield b"" if message.ring is None else message.ring.tobytes()
    elif isinstance(message, AudioChunk):
        yield message.samples.tobytes()
    elif isinstance(message, GpsFix):
        yield msgspec.msgpack.encode(message)


@contextmanager
def _own(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    """A loan that is never taken back."""
    yield np.empty(shape, dtype)
