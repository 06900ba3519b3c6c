import socket
from collections.abc import Iterator

import pytest

from fusion_rt.clock import NS_PER_S, SettableClock
from fusion_rt.packets.datagram import Datagram
from fusion_rt.packets.udp import WAKE_NS, UdpReceiver

LOOPBACK = "127.0.0.1"
NOW_NS = 1_800_000_000 * NS_PER_S


@pytest.fixture
def receiver() -> Iterator[UdpReceiver]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    opened = UdpReceiver(LOOPBACK, port, SettableClock(NOW_NS), None, None)
    yield opened
    opened.close()


def send(receiver: UdpReceiver, payload: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, receiver.socket.getsockname())


def test_a_packet_is_stamped_when_it_is_received(receiver: UdpReceiver) -> None:
    for payload in (b"\1" * 1206, b"", b"\2" * 60_000):
        send(receiver, payload)
        assert receiver.receive() == Datagram(NOW_NS, payload, LOOPBACK)


def test_silence_is_told(receiver: UdpReceiver) -> None:
    assert receiver.receive() is None


def test_a_network_that_fails_is_tried_again(
    receiver: UdpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.close()  # now every attempt fails
    assert [receiver.receive() for _ in range(3)] == [None] * 3
    assert receiver.clock.now_ns() == NOW_NS + 3 * WAKE_NS
    assert [record.getMessage()[:17] for record in caplog.records] == ["receiving failed:"]


def test_a_group_is_joined() -> None:
    group = "239.255.77.5"
    try:
        receiver = UdpReceiver("0.0.0.0", 0, SettableClock(NOW_NS), None, group)
    except OSError as error:
        pytest.skip(f"no multicast here: {error}")
    receiver.close()
