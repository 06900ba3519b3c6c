"""Takes the packets out of the messages in which ROS 2 drivers record them (CDR bytes)."""

import struct
from collections.abc import Callable, Iterator

from fusion_rt.packets.datagram import Datagram

_MOST_PACKETS = 65_536


class _Cursor:
    """Reads CDR: values aligned to their size, counted from behind the four bytes in front."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 4:
            raise ValueError("too short")
        self.data = data
        self._order = "<" if data[1] & 1 else ">"
        self._at = 4

    def uint32(self) -> int:
        self._at = 4 + (self._at - 4 + 3) // 4 * 4
        (value,) = struct.unpack_from(self._order + "I", self.data, self._at)
        self._at += 4
        return int(value)

    def octets(self, size: int) -> bytes:
        taken = self.data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError("too short")
        self._at += size
        return taken

    def time_ns(self) -> int:
        return self.uint32() * 1_000_000_000 + self.uint32()

    def header(self) -> None:
        self.time_ns()
        self.octets(self.uint32())


def _velodyne(cursor: _Cursor) -> bytes:
    return cursor.octets(1206)


def _pandar(cursor: _Cursor) -> bytes:
    data = cursor.octets(1500)
    return data[: cursor.uint32()]


def _nebula(cursor: _Cursor) -> bytes:
    return cursor.octets(cursor.uint32())


_SCANS: dict[str, Callable[[_Cursor], bytes]] = {
    "velodyne_msgs/msg/VelodyneScan": _velodyne,
    "pandar_msgs/msg/PandarScan": _pandar,
    "nebula_msgs/msg/NebulaPackets": _nebula,
}
"""Messages that hold the packets of one turn, each behind its own stamp."""
_SINGLES = {
    "ouster_sensor_msgs/msg/PacketMsg",
    "ouster_msgs/msg/PacketMsg",
    "ouster_ros/msg/PacketMsg",
}
PACKET_TYPES = frozenset(_SCANS) | _SINGLES
"""Types of message that hold packets."""


def packets_in(message_type: str, data: bytes, stamp_ns: int) -> Iterator[Datagram]:
    """The packets of one recorded message; `stamp_ns` is for those without a stamp of their own.

    Raises ValueError or struct.error, in the midst of it, for bytes that are not such a message.
    """
    cursor = _Cursor(data)
    if message_type in _SINGLES:
        yield Datagram(stamp_ns, cursor.octets(cursor.uint32()))
        return
    packet = _SCANS[message_type]
    cursor.header()
    count = cursor.uint32()
    if count > _MOST_PACKETS:
        raise ValueError(f"{count} packets")
    for _ in range(count):
        sent_ns = cursor.time_ns()
        yield Datagram(sent_ns or stamp_ns, packet(cursor))
