"""Training curves as TensorBoard reads them: an event file of scalars, written without its package.

The format is TensorFlow's: records of length, payload and masked CRC-32C; the payload is an Event
message of protobuf, of which scalars need five fields.
"""

import struct
from pathlib import Path
from types import TracebackType

from fusion_rt.clock import NS_PER_S, Clock

_POLYNOMIAL = 0x82F63B78


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class EventLog:
    """One event file in a folder, appended to within a `with`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        started_s = clock.now_ns() // NS_PER_S
        self._file = (folder / f"events.out.tfevents.{started_s}.fusion_rt").open("ab")
        self._write(_event(self._now_s(), 0, version=b"brain.Event:2"))

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Each value as a curve of its name."""
        summary = b"".join(_field(1, _scalar(name, value)) for name, value in values.items())
        self._write(_event(self._now_s(), step, summary=summary))
        self._file.flush()

    def _now_s(self) -> float:
        return self._clock.now_ns() / NS_PER_S

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _event(wall_s: float, step: int, version: bytes = b"", summary: bytes = b"") -> bytes:
    event = b"\x09" + struct.pack("<d", wall_s) + b"\x10" + _varint(step)
    if version:
        event += _field(3, version)
    return event + _field(5, summary) if summary else event


def _scalar(name: str, value: float) -> bytes:
    return _field(1, name.encode()) + b"\x15" + struct.pack("<f", value)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
