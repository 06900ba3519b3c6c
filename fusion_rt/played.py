"""Messages of one sensor in a file, to be played from memory: a driver that costs next to nothing.

A benchmark that renders while it measures, measures the renderer. The file holds the arrays as they
are, read through a memory map; behind them a msgpack index; in front where that begins.
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import RecordingError
from fusion_rt.messages import Message
from fusion_rt.topics import topic_kind
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.wire import MessageCodec

_MAGIC = b"fusion_rt played\n"
_HEAD = struct.Struct("<17sQ")
_ALIGNMENT = 64


class PlayedArray(msgspec.Struct, frozen=True, array_like=True):
    """Where an array lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class PlayedEntry(msgspec.Struct, frozen=True, array_like=True):
    """One message; times from the start of the loop."""

    sent_ns: int
    """When it leaves the device."""
    stamp_ns: int
    body: bytes
    arrays: tuple[PlayedArray, ...]


class PlayedIndex(msgspec.Struct, frozen=True):
    """What is in the file."""

    topic: str
    rate_hz: float
    loop_ns: int
    """After so long it begins anew."""
    entries: tuple[PlayedEntry, ...]


def write_played(
    path: Path,
    topic: str,
    rate_hz: float,
    loop_ns: int,
    messages: Iterable[tuple[int, Message]],
) -> None:
    """Keep messages, each with the time it leaves; times and stamps from the start of the loop."""
    codec = MessageCodec(topic_kind(topic).message)
    entries = []
    with path.open("wb") as file:
        file.write(_HEAD.pack(_MAGIC, 0))
        for sent_ns, message in messages:
            body, arrays = codec.encode(message)
            places = []
            for array in arrays:
                file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
                places.append(PlayedArray(array.dtype.str, array.shape, file.tell()))
                file.write(np.ascontiguousarray(array).data)
            entries.append(PlayedEntry(sent_ns, message.stamp_ns, body, tuple(places)))
        at = file.tell()
        index = PlayedIndex(topic, rate_hz, loop_ns, tuple(entries))
        file.write(msgspec.msgpack.encode(index))
        file.seek(0)
        file.write(_HEAD.pack(_MAGIC, at))


class PlayedFile:
    """A file of messages, mapped; arrays are read-only views of it."""

    def __init__(self, path: Path) -> None:
        try:
            self._memory = np.memmap(path, np.uint8, "r")
            magic, at = _HEAD.unpack(self._memory[: _HEAD.size].tobytes())
        except (OSError, ValueError, struct.error) as error:
            raise RecordingError(str(path), str(error)) from error
        if magic != _MAGIC or not _HEAD.size <= at < len(self._memory):
            raise RecordingError(str(path), "expected messages to play, got another file")
        index = self._memory[at:].tobytes()
        try:
            self.index = msgspec.msgpack.decode(index, type=PlayedIndex)
        except msgspec.MsgspecError as error:
            raise RecordingError(str(path), f"its index is damaged ({error})") from error
        self._path = path
        self._codec = MessageCodec(topic_kind(self.index.topic).message)

    def message(self, entry: PlayedEntry) -> Message:
        """One of its messages, stamped from the start of the loop."""
        arrays = [self._array(place) for place in entry.arrays]
        message = self._codec.decode(msgspec.Raw(entry.body), arrays)
        if isinstance(message, Drop):
            raise RecordingError(str(self._path), f"a message is {message.value}")
        return message

    def _array(self, place: PlayedArray) -> npt.NDArray[Any]:
        return np.ndarray(place.shape, place.dtype, self._memory, place.offset)
