"""Cuts a receiver's bytes into NMEA sentences and UBX frames: the first step of every GPS driver.

Whatever is neither is skipped and counted, RTCM 3 frame by frame, other protocols and garbage by
the byte. A frame that turns out wrong costs nothing that follows it: the search goes on right
behind its first byte.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from functools import reduce
from itertools import accumulate
from operator import xor
from typing import Literal

import msgspec

NOISE = "noise_bytes"
"""Counter of bytes that belong to no frame: garbage, other protocols, text."""
RTCM = "rtcm_frames"
NMEA_CHECKSUM = "nmea_checksum"
UBX_CHECKSUM = "ubx_checksum"

_BODY = rb"[A-Z][\x20-\x23\x25-\x29\x2b-\x7e]{0,250}"  # printable, no '$', no '*'
_NMEA = re.compile(rb"[$!](" + _BODY + rb")(?:\*([0-9A-Fa-f]{2})|[\r\n])")
_NMEA_BEGUN = re.compile(rb"[$!](?:" + _BODY + rb"(?:\*[0-9A-Fa-f]?)?)?\Z")
_SYNC = re.compile(rb"[$!](?=[A-Z]|\Z)|\xb5(?=b|\Z)|\xd3(?=[\x00-\x03]|\Z)")
_UBX_OVERHEAD = 8
_UBX_MAX_PAYLOAD = 8192  # the longest in the manuals (NAV-SAT, RXM-RAWX, NAV-SIG) stay below 4 KiB
_RTCM_OVERHEAD = 6
_CRC24Q = 0x864CFB  # polynomial of RTCM 10403


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One sentence or frame whose checksum is right."""

    protocol: Literal["nmea", "ubx"]
    body: bytes
    """nmea: what stands between `$` and `*`. ubx: class, id, length (2 bytes), payload."""
    arrival_ns: int
    """When the chunk that holds its first byte was read."""


class Cut(msgspec.Struct, frozen=True, gc=False):
    """What stands at a place of the buffer: `length` bytes of it, `body` if of use to us."""

    length: int
    protocol: Literal["nmea", "ubx"] = "nmea"
    body: bytes | None = None


_PENDING = Cut(0)
_BROKEN = Cut(-1)


class Splitter:
    """Takes bytes as they come, in pieces of any size; holds back at most one frame's worth."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._buffer = bytearray()
        self._start = 0  # place of the buffer's first byte in the stream
        self._arrivals: deque[tuple[int, int]] = deque()
        self._has_checksums = False

    def feed(self, data: bytes, arrival_ns: int) -> list[Frame]:
        """The frames that `data` completes."""
        self._arrivals.append((self._start + len(self._buffer), arrival_ns))
        self._buffer += data
        return list(self._cut(is_final=False))

    def is_waiting(self) -> bool:
        """Whether it holds the beginning of something."""
        return bool(self._buffer)

    def flush(self) -> list[Frame]:
        """The frames behind one that never ended: call it when the stream fell silent."""
        return list(self._cut(is_final=True))

    def _cut(self, *, is_final: bool) -> Iterator[Frame]:
        place, buffer = 0, self._buffer
        while place < len(buffer):
            found = _SYNC.search(buffer, place)
            sync = found.start() if found else len(buffer)
            self._counters[NOISE] += sync - place
            place = sync
            if not found:
                break
            cut = self._cut_at(place)
            if cut is _PENDING and not is_final:
                break
            if cut.length <= 0:
                self._counters[NOISE] += 1
                place += 1
                continue
            if cut.body is not None:
                yield Frame(cut.protocol, cut.body, self._arrival_ns(place))
            place += cut.length
        del buffer[:place]
        self._start += place
        self._forget_arrivals(0)

    def _cut_at(self, place: int) -> Cut:
        first = self._buffer[place]
        if first == 0xB5:
            return self._ubx(place)
        return self._rtcm(place) if first == 0xD3 else self._nmea(place)

    def _nmea(self, place: int) -> Cut:
        match = _NMEA.match(self._buffer, place)
        if match is None:
            return _PENDING if _NMEA_BEGUN.match(self._buffer, place) else _BROKEN
        body, checksum = bytes(match[1]), match[2]
        if checksum is None:
            # Some old receivers never send checksums; from all others this is a damaged sentence.
            is_whole = not self._has_checksums
        else:
            is_whole = reduce(xor, body) == int(checksum, 16)
            self._has_checksums |= is_whole
        if is_whole:
            return Cut(match.end() - place, "nmea", body)
        self._counters[NMEA_CHECKSUM] += 1
        return _BROKEN

    def _ubx(self, place: int) -> Cut:
        head = self._buffer[place : place + 6]
        if len(head) < 6:
            return _PENDING
        size = int.from_bytes(head[4:6], "little")
        if size > _UBX_MAX_PAYLOAD:
            return _BROKEN
        frame = bytes(self._buffer[place : place + size + _UBX_OVERHEAD])
        if len(frame) < size + _UBX_OVERHEAD:
            return _PENDING
        if ubx_checksum(frame[2:-2]) == frame[-2:]:
            return Cut(len(frame), "ubx", frame[2:-2])
        self._counters[UBX_CHECKSUM] += 1
        return _BROKEN

    def _rtcm(self, place: int) -> Cut:
        head = self._buffer[place : place + 3]
        if len(head) < 3:
            return _PENDING
        length = int.from_bytes(head[1:3], "big") + _RTCM_OVERHEAD
        frame = self._buffer[place : place + length]
        if len(frame) < length:
            return _PENDING
        if crc24q(frame):  # the CRC of a frame and its own CRC is zero
            return _BROKEN
        self._counters[RTCM] += 1
        return Cut(length)

    def _arrival_ns(self, place: int) -> int:
        self._forget_arrivals(place)
        return self._arrivals[0][1]

    def _forget_arrivals(self, place: int) -> None:
        """Those of chunks that end before `place`."""
        arrivals = self._arrivals
        while len(arrivals) > 1 and arrivals[1][0] <= self._start + place:
            arrivals.popleft()


def ubx_checksum(body: bytes) -> bytes:
    """The 8-bit Fletcher checksum of class, id, length and payload, as the UBX manuals give it."""
    return bytes((sum(body) & 0xFF, sum(accumulate(body)) & 0xFF))


def _crc24q_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (_CRC24Q if crc & 0x800000 else 0)
        table.append(crc & 0xFFFFFF)
    return tuple(table)


_CRC24Q_TABLE = _crc24q_table()


def crc24q(data: bytes | bytearray) -> int:
    """The CRC of RTCM 3; zero over a frame that ends with its own."""
    crc = 0
    for byte in data:
        crc = crc << 8 & 0xFFFFFF ^ _CRC24Q_TABLE[crc >> 16 ^ byte]
    return crc
