"""Lanes: packets keep their bounds, files are never leaked, and strangers are refused."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from fusion_rt.transport.lane import (
    HEADER,
    RING,
    Lane,
    LaneListener,
    RingAnnouncement,
    lane_request,
    requested_lane,
)
from fusion_rt.transport.ring import RingReader, RingWriter
from fusion_rt.transport.wire import MAX_HEADER_BYTES, Header, decode_header
from tests.transport.test_wire import fields
from tests.transport.waiting import open_files

NOBODY = 65534


@pytest.fixture
def listener() -> Iterator[LaneListener]:
    own = LaneListener()
    yield own
    own.close()


@pytest.fixture
def lane(listener: LaneListener) -> Iterator[Lane]:
    own = Lane(listener.token)
    yield own
    own.close()


@pytest.fixture
def accepted(listener: LaneListener, lane: Lane) -> Iterator[socket.socket]:
    assert lane
    end = listener.accept()
    assert end is not None
    with end:
        yield end


def test_packets_arrive_one_by_one_in_order(
    listener: LaneListener, lane: Lane, accepted: socket.socket
) -> None:
    sent = [HEADER + bytes([number]) * (number + 1) for number in range(100)]
    assert all(lane.send_header(packet) for packet in sent)
    packets = [listener.receive(accepted) for _ in sent]
    assert [packet.kind + packet.data for packet in packets] == sent
    with pytest.raises(BlockingIOError):
        listener.receive(accepted)


def test_a_full_lane_refuses_and_does_not_block(lane: Lane, accepted: socket.socket) -> None:
    assert accepted
    sent = 0
    while lane.send_header(HEADER + bytes(300)):
        sent += 1
        assert sent < 100_000
    assert sent > 100


def test_a_subscriber_that_is_gone_is_an_error(lane: Lane, accepted: socket.socket) -> None:
    accepted.close()
    with pytest.raises(OSError, match=r"Broken pipe|Connection reset"):
        lane.send_header(HEADER)


def test_nobody_under_that_name_is_an_error() -> None:
    before = open_files()
    with pytest.raises(ConnectionRefusedError):
        Lane(b"0" * 16)
    assert open_files() == before


def test_what_was_sent_before_the_end_still_arrives(
    listener: LaneListener, lane: Lane, accepted: socket.socket
) -> None:
    lane.send_header(HEADER + b"last words")
    lane.close()
    assert listener.receive(accepted).data == b"last words"
    assert listener.receive(accepted) is None


def test_a_decoded_header_does_not_change_with_the_next_packet(
    listener: LaneListener, lane: Lane, accepted: socket.socket
) -> None:
    for name in ("first", "other"):
        lane.send_header(HEADER + fields(body={"name": name}, node=name))
    headers = [decode_header(listener.receive(accepted).data) for _ in range(2)]
    assert all(isinstance(header, Header) for header in headers)
    bodies = [msgspec.msgpack.decode(header.body) for header in headers]
    assert bodies == [{"name": "first"}, {"name": "other"}]


def test_a_packet_longer_than_any_header_is_malformed(
    listener: LaneListener, lane: Lane, accepted: socket.socket
) -> None:
    padded = fields() + bytes(MAX_HEADER_BYTES)
    lane.send_header(HEADER + padded)
    assert decode_header(listener.receive(accepted).data).value == "malformed"


def test_a_ring_travels_with_its_file(
    listener: LaneListener, lane: Lane, accepted: socket.socket
) -> None:
    ring = RingWriter(2, 4096)
    announcement = RingAnnouncement(1, ring.geometry)
    assert lane.announce(announcement, ring.fd)
    packet = listener.receive(accepted)
    assert (packet.kind, lane.ring) == (RING, 1)
    assert msgspec.msgpack.decode(packet.data, type=RingAnnouncement) == announcement
    assert RingReader(packet.fd, ring.geometry)
    packet.discard()
    ring.close()


@pytest.mark.parametrize("count", [1, 2, 3, 20])
@pytest.mark.parametrize("data", [b"", b"H", b"R...", b"?"])
def test_files_that_come_along_are_never_leaked(
    listener: LaneListener, lane: Lane, accepted: socket.socket, data: bytes, count: int
) -> None:
    with open(os.devnull) as file:
        before = open_files()
        rights = struct.pack(f"{count}i", *[file.fileno()] * count)
        lane._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        packet = listener.receive(accepted)
        if packet is not None:
            packet.discard()
        assert open_files() == before


_STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if sys.argv[3] == "connect":
    peer.connect(sys.argv[1].encode().replace(b"@", b"\\0"))
else:
    peer.bind(sys.argv[1].encode().replace(b"@", b"\\0")); peer.listen()
print("ready", flush=True)
sys.stdin.read()
"""


def stranger(token: bytes, act: str) -> subprocess.Popen[bytes]:
    """A process of another user that connects to, or poses as, the listener of that name."""
    name = "@fusion_rt/" + token.decode()
    command = [sys.executable, "-c", _STRANGER, name, str(NOBODY), act]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@needs_root
@pytest.mark.process
def test_a_publisher_of_another_user_is_refused(listener: LaneListener) -> None:
    with stranger(listener.token, "connect") as process:
        before = open_files()
        assert listener.accept() is None
        assert open_files() == before
        process.stdin.close()


@needs_root
@pytest.mark.process
def test_a_subscriber_of_another_user_is_refused() -> None:
    with stranger(b"f" * 16, "listen") as process:
        before = open_files()
        with pytest.raises(PermissionError, match="the listener belongs to another user"):
            Lane(b"f" * 16)
        assert open_files() == before
        process.stdin.close()


def test_a_request_is_told_from_plain_subscriptions() -> None:
    token = b"0123456789abcdef"
    assert requested_lane(lane_request(token)) == token
    for plain in (b"", b"camera/front", b"@lane\0", lane_request(token[:-1]), token):
        assert requested_lane(plain) is None
