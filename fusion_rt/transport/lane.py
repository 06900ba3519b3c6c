"""The local lane: one hop from publisher to subscriber, one packet socket per pair.

ZeroMQ carries subscriptions, reconnects, and everything that crosses hosts. Between processes of
one host its I/O threads add two wake-ups to every message, about as much as all else together, so
headers take a lane instead: the subscriber listens under a name of its own, and asks each publisher
over ZeroMQ to connect to it (`lane_request`). The ring's file travels the same way.

Packet sockets keep message boundaries and order, never block the sender, and tell at once when the
peer died. Names are abstract: no file is left behind. Both ends refuse a peer of another user.
"""

import contextlib
import os
import secrets
import socket
import struct

import msgspec

from fusion_rt.transport.ring import RingGeometry
from fusion_rt.transport.wire import MAX_HEADER_BYTES, U64

_REQUEST = b"@lane\0"
_TOKEN_BYTES = 16
_SEND_BUFFER_BYTES = 1 << 20  # some 800 headers; the kernel caps it at net.core.wmem_max
HEADER, RING = b"H", b"R"
_FD = struct.Struct("i")
_MAX_PACKET_BYTES = len(HEADER) + MAX_HEADER_BYTES + 1  # one more, to tell a longer one
_ROOM_FOR_ONE_FD = socket.CMSG_LEN(_FD.size)  # CMSG_SPACE would pad it to two
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class RingAnnouncement(msgspec.Struct, frozen=True, array_like=True):
    """A ring that later headers of this lane refer to; its file travels beside the packet."""

    ring: U64
    geometry: RingGeometry


class Packet(msgspec.Struct, frozen=True):
    """What came over a lane: a header's bytes, or an announcement with its ring's file."""

    kind: bytes
    data: bytes
    """Decoded headers point into it."""
    fd: int | None
    """Ours to close: `discard` does."""

    def discard(self) -> None:
        if self.fd is not None:
            os.close(self.fd)


def lane_request(token: bytes) -> bytes:
    """The ZeroMQ subscription that asks a publisher to connect to the listener `token`."""
    return _REQUEST + token


def requested_lane(subscription: bytes) -> bytes | None:
    """The token in a subscription; None for one of plain ZeroMQ."""
    token = subscription.removeprefix(_REQUEST)
    return token if len(token) == _TOKEN_BYTES and token != subscription else None


class LaneListener:
    """A subscriber's end: accepts lanes and reads their packets."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(_TOKEN_BYTES // 2).encode()
        self._socket = _packet_socket()
        self._socket.bind(_address(self.token))
        self._socket.listen(128)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """The next publisher's lane; None when none waits, or it is another user's."""
        try:
            lane, _ = self._socket.accept()
        except BlockingIOError:
            return None
        lane.setblocking(False)
        if _is_own_user(lane):
            return lane
        lane.close()
        return None

    def receive(self, lane: socket.socket) -> Packet | None:
        """The next packet; raises BlockingIOError when there is none, returns None at the end."""
        try:
            data, ancillary, _, _ = lane.recvmsg(
                _MAX_PACKET_BYTES, _ROOM_FOR_ONE_FD, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        packet = Packet(data[:1], data[1:], _received_fd(ancillary) if ancillary else None)
        if not data:
            packet.discard()
            return None
        return packet

    def close(self) -> None:
        self._socket.close()


class Lane:
    """A publisher's end of one lane."""

    def __init__(self, token: bytes) -> None:
        """Raises OSError when the subscriber is gone or is another user's."""
        self.token = token
        self.ring: int | None = None
        """The newest ring that was announced here."""
        self._socket = _packet_socket()
        with contextlib.ExitStack() as undo:
            undo.callback(self._socket.close)
            self._socket.connect(_address(token))
            if not _is_own_user(self._socket):
                raise PermissionError("lane: the listener belongs to another user")
            undo.pop_all()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def send_header(self, packet: bytes) -> bool:
        """Whether there was room; raises OSError when the subscriber is gone."""
        try:
            self._socket.send(packet)
        except BlockingIOError:
            return False
        return True

    def announce(self, announcement: RingAnnouncement, fd: int) -> bool:
        """Whether there was room; raises OSError when the subscriber is gone."""
        packet = RING + msgspec.msgpack.encode(announcement)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _FD.pack(fd))
        try:
            self._socket.sendmsg([packet], [rights])
        except BlockingIOError:
            return False
        self.ring = announcement.ring
        return True

    def close(self) -> None:
        self._socket.close()


def _packet_socket() -> socket.socket:
    lane = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lane.setblocking(False)
    return lane


def _address(token: bytes) -> bytes:
    return b"\0fusion_rt/" + token


def _is_own_user(peer: socket.socket) -> bool:
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return bool(uid == os.getuid())


def _received_fd(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(data) >= _FD.size:
            fd: int = _FD.unpack_from(data)[0]
            return fd
    return None
