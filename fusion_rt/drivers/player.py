"""Messages played from a file in memory (`fusion_rt.played`), at real pace or faster, in a loop.

All sensors of a rig start the loop with the session, so what they show belongs together. Faster
means higher rates: messages still take from stamp to sending what they took when they were made.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from fusion_rt.drivers.port import (
    AudioOptions,
    CameraOptions,
    Driver,
    DriverPort,
    Messages,
    SensorOptions,
)
from fusion_rt.errors import DriverError
from fusion_rt.messages import AudioChunk, CameraFrame, LidarSweep, Message
from fusion_rt.pacing import wait_until
from fusion_rt.played import PlayedEntry, PlayedFile

SKIPPED = "skipped"
"""Counter of messages whose time had passed before their turn came: the process was held up."""
Speed = Annotated[float, msgspec.Meta(gt=0, le=100, description="times the pace of the file")]
_LOAN_FIELDS: dict[type[Message], str] = {CameraFrame: "image", LidarSweep: "points"}


class PlayedCamera(CameraOptions, frozen=True, kw_only=True):
    """Options of a played camera."""

    file: str
    speed: Speed = 1.0


class PlayedAudio(AudioOptions, frozen=True, kw_only=True):
    """Options of a played microphone array."""

    file: str
    speed: Speed = 1.0


class PlayedSensor(SensorOptions, frozen=True, kw_only=True):
    """Options of any other played sensor."""

    file: str
    speed: Speed = 1.0


def played(options: Any, port: DriverPort) -> Generator[Message | None, None, None]:
    """The file's messages, each when it is due."""
    file = PlayedFile(Path(options.file))
    if file.index.topic.partition("/")[0] != port.topic.partition("/")[0]:
        problem = f"expected messages of {port.topic}, got {file.index.topic} in {options.file}"
        raise DriverError("player", problem)
    for loop, due_ns, entry in _schedule(file, options.speed, port):
        if due_ns < port.clock.now_ns():
            port.counters[SKIPPED] += 1
            continue
        message = file.message(entry)
        stamp_ns = due_ns - (entry.sent_ns - entry.stamp_ns)
        yield from wait_until(due_ns, port.clock)
        yield from _lent(_restamped(message, stamp_ns, loop, file), port)


def _schedule(
    file: PlayedFile, speed: float, port: DriverPort
) -> Iterator[tuple[int, int, PlayedEntry]]:
    """Loop, time of leaving and entry of every message still to come."""
    loop_ns = round(file.index.loop_ns / speed)
    loop = max(0, port.clock.now_ns() - port.session_start_ns) // loop_ns
    while True:
        origin_ns = port.session_start_ns + loop * loop_ns
        for entry in file.index.entries:
            yield loop, origin_ns + round(entry.sent_ns / speed), entry
        loop += 1


def _restamped(message: Message, stamp_ns: int, loop: int, file: PlayedFile) -> Message:
    if not isinstance(message, AudioChunk):
        return msgspec.structs.replace(message, stamp_ns=stamp_ns)
    per_loop = len(message.samples) * len(file.index.entries)
    first_sample = message.first_sample + loop * per_loop
    return msgspec.structs.replace(message, stamp_ns=stamp_ns, first_sample=first_sample)


def _lent(message: Message, port: DriverPort) -> Iterator[Message]:
    """The message with its large array in the ring, where a driver would have put it."""
    field = _LOAN_FIELDS.get(type(message))
    if field is None:
        yield message
        return
    array: np.ndarray[Any, Any] = getattr(message, field)
    with port.loan(array.shape, array.dtype) as lent:
        lent[...] = array
        yield msgspec.structs.replace(message, **{field: lent})


def _opened() -> Callable[[Any, DriverPort], Messages]:
    """Closing the generator gives back the loan it may be holding."""
    return lambda options, port: closing(played(options, port))


DRIVERS = {
    "camera": Driver(PlayedCamera, _opened(), is_in_time=True),
    "lidar": Driver(PlayedSensor, _opened(), is_in_time=True),
    "audio": Driver(PlayedAudio, _opened(), is_in_time=True),
    "gps": Driver(PlayedSensor, _opened(), is_in_time=True),
}
