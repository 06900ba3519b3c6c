"""Reads UDP packets from pcap and pcapng files, as tcpdump and Wireshark write them.

A file that ends within a record, or goes on with nonsense, ends there: captures are often cut off.
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fusion_rt.packets.datagram import Datagram, RecordingError

_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""First bytes of a pcap file -> byte order and nanoseconds per tick."""
_NEXT_GENERATION = b"\x0a\x0d\x0d\x0a"
_LARGEST = 1 << 20  # bytes of one record: a jumbo frame is 9000, a coalesced one 64 KiB
_ETHERNET, _RAW, _COOKED, _COOKED2, _NULL = 1, (12, 14, 101, 228, 229), 113, 276, (0, 108)
_IPV4, _IPV6, _VLAN = 0x0800, 0x86DD, (0x8100, 0x88A8)
_UDP = 17
_MOST_FRAGMENTED = 64


class Frame(NamedTuple):
    """One captured frame."""

    stamp_ns: int
    link: int
    data: bytes


def is_pcap(start: bytes) -> bool:
    """Whether a file that starts so is one of ours."""
    return start[:4] in _CLASSIC or start[:4] == _NEXT_GENERATION


def read_pcap(path: Path) -> Iterator[Datagram]:
    """All UDP packets of the file, put together again where IP had fragmented them."""
    with path.open("rb") as file:
        magic = file.read(4)
        if not is_pcap(magic):
            raise RecordingError(
                f"{path}: expected a pcap or pcapng file, it starts {magic.hex(' ')}"
            )
        frames = _next_generation(file) if magic == _NEXT_GENERATION else _classic(file, magic)
        fragments = Fragments()
        for frame in frames:
            datagram = fragments.datagram(frame)
            if datagram is not None:
                yield datagram


def _classic(file: BinaryIO, magic: bytes) -> Iterator[Frame]:
    order, tick_ns = _CLASSIC[magic]
    header = file.read(20)
    if len(header) < 20:
        return
    link = struct.unpack(order + "16xI", header)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    while len(head := file.read(record.size)) == record.size:
        seconds, ticks, size, _ = record.unpack(head)
        if size > _LARGEST:
            return
        yield Frame(seconds * 1_000_000_000 + ticks * tick_ns, link, file.read(size))


class _Interface(NamedTuple):
    link: int
    ticks_per_s: int


_SECTION, _DESCRIPTION, _ENHANCED = 0x0A0D0D0A, 1, 6


def _next_generation(file: BinaryIO) -> Iterator[Frame]:
    file.seek(0)
    order = "<"
    interfaces: list[_Interface] = []
    while len(head := file.read(8)) == 8:
        (kind,) = struct.unpack(order + "I", head[:4])
        if kind == _SECTION:
            order = "<" if file.read(4) == b"\x4d\x3c\x2b\x1a" else ">"
            file.seek(-4, 1)
            interfaces = []
        (size,) = struct.unpack(order + "I", head[4:])
        if not 12 <= size <= _LARGEST:
            return
        body = file.read(size - 8)[:-4]
        if kind == _DESCRIPTION and len(body) >= 8 and len(interfaces) < 256:
            interfaces.append(_interface(body, order))
        elif kind == _ENHANCED and len(body) >= 20:
            frame = _enhanced(body, order, interfaces)
            if frame is not None:
                yield frame


def _interface(body: bytes, order: str) -> _Interface:
    """Link type, and the option `if_tsresol`: microseconds when absent."""
    ticks_per_s, at = 1_000_000, 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 9 and size == 1 and at + 5 <= len(body):
            exponent = body[at + 4]
            ticks_per_s = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10 ** min(exponent, 18)
        at += 4 + (size + 3) // 4 * 4
    return _Interface(struct.unpack_from(order + "H", body)[0], ticks_per_s)


def _enhanced(body: bytes, order: str, interfaces: list[_Interface]) -> Frame | None:
    which, high, low, size, _ = struct.unpack_from(order + "IIIII", body)
    if which >= len(interfaces):
        return None
    link, ticks_per_s = interfaces[which]
    stamp_ns = (high << 32 | low) * 1_000_000_000 // ticks_per_s
    return Frame(stamp_ns, link, body[20 : 20 + size])


class Fragments:
    """Takes UDP packets out of frames, and remembers the parts of those that are not complete."""

    def __init__(self) -> None:
        self._parts: dict[tuple[bytes, int], dict[int, tuple[bytes, bool]]] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def datagram(self, frame: Frame) -> Datagram | None:
        """The packet that this frame holds or completes."""
        found = _network_layer(frame.link, frame.data)
        if found is None:
            return None
        kind, at = found
        if kind == _IPV6:
            return _from_ipv6(frame, at)
        return self._from_ipv4(frame, at) if kind == _IPV4 else None

    def _from_ipv4(self, frame: Frame, at: int) -> Datagram | None:
        data = frame.data
        if len(data) < at + 20 or data[at] >> 4 != 4 or data[at + 9] != _UDP:
            return None
        head_bytes = (data[at] & 15) * 4
        total, identity, flags = struct.unpack_from(">HHH", data, at + 2)
        body = data[at + head_bytes : at + total] if total else data[at + head_bytes :]
        host = socket.inet_ntoa(data[at + 12 : at + 16])
        if flags & 0x3FFF == 0:
            return _from_udp(frame.stamp_ns, body, host)
        whole = self._joined((data[at + 12 : at + 20], identity), flags, body)
        return None if whole is None else _from_udp(frame.stamp_ns, whole, host)

    def _joined(self, key: tuple[bytes, int], flags: int, body: bytes) -> bytes | None:
        """All parts of a packet once the last one has come, in whatever order."""
        parts = self._parts.setdefault(key, {})
        parts[(flags & 0x1FFF) * 8] = (body, bool(flags & 0x2000))
        if len(self._parts) > _MOST_FRAGMENTED:
            del self._parts[next(iter(self._parts))]
        end = 0
        while end in parts:
            part, goes_on = parts[end]
            end += len(part)
            if not goes_on:
                del self._parts[key]
                return b"".join(parts[at][0] for at in sorted(parts) if at < end)
            if not part:
                break
        return None


def _network_layer(link: int, data: bytes) -> tuple[int, int] | None:
    """Ethernet type and first byte of what a frame carries."""
    if link == _ETHERNET:
        kind, at = _type_at(data, 12), 14
        while kind in _VLAN:
            kind, at = _type_at(data, at + 2), at + 4
        return kind, at
    if link == _COOKED:
        return _type_at(data, 14), 16
    if link == _COOKED2:
        return _type_at(data, 0), 20
    if link in _RAW or link in _NULL:
        at = 4 if link in _NULL else 0
        version = data[at] >> 4 if len(data) > at else 0
        return {4: _IPV4, 6: _IPV6}.get(version, 0), at
    return None


def _type_at(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _from_ipv6(frame: Frame, at: int) -> Datagram | None:
    data = frame.data
    if len(data) < at + 40 or data[at + 6] != _UDP:
        return None
    host = socket.inet_ntop(socket.AF_INET6, data[at + 8 : at + 24])
    return _from_udp(frame.stamp_ns, data[at + 40 :], host)


def _from_udp(stamp_ns: int, body: bytes, host: str) -> Datagram | None:
    """None for a packet that the capture cut short."""
    if len(body) < 8:
        return None
    port, size = struct.unpack_from(">2xHH", body)
    if not 8 <= size <= len(body):
        return None
    return Datagram(stamp_ns, body[8:size], host, port)
