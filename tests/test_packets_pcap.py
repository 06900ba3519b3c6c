import random
import socket
import struct
from pathlib import Path

import pytest

from fusion_rt.packets.datagram import Datagram, RecordingError
from fusion_rt.packets.pcap import read_pcap
from tests.fuzz.lidar_packets import pcap_file, pcapng_file

HOST = "192.168.1.201"
PAYLOAD = bytes(range(200)) * 2


def udp(payload: bytes = PAYLOAD, port: int = 2368) -> bytes:
    return struct.pack(">HHHH", 5000, port, len(payload) + 8, 0) + payload


def ipv4(body: bytes, *, flags: int = 0, identity: int = 7, protocol: int = 17) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), identity, flags, 64, protocol, 0)
    return head + socket.inet_aton(HOST) + socket.inet_aton("192.168.1.77") + body


def ethernet(packet: bytes, kind: int = 0x0800) -> bytes:
    return bytes(12) + struct.pack(">H", kind) + packet


def read(tmp_path: Path, data: bytes) -> list[Datagram]:
    path = tmp_path / "capture.pcap"
    path.write_bytes(data)
    return list(read_pcap(path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tick_ns", [1000, 1])
def test_packets_come_with_stamp_sender_and_port(tmp_path: Path, order: str, tick_ns: int) -> None:
    frames = [ethernet(ipv4(udp(port=port))) for port in (2368, 2369)]
    first, second = read(tmp_path, pcap_file(frames, order, tick_ns))
    assert first == Datagram(1_700_000_000 * 10**9, PAYLOAD, HOST, 2368)
    assert (second.stamp_ns - first.stamp_ns, second.port) == (1_000_000, 2369)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_next_generation_is_read_too(tmp_path: Path, order: str) -> None:
    found = read(tmp_path, pcapng_file([ethernet(ipv4(udp()))] * 2, order))
    assert [packet.payload for packet in found] == [PAYLOAD] * 2
    assert found[1].stamp_ns == 1_700_000_000 * 10**9 + 1_000_000


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(struct.pack(">HH", 5, 0x0800) + ipv4(udp()), 0x8100)),
        (101, ipv4(udp())),
        (113, bytes(14) + b"\x08\x00" + ipv4(udp())),
        (276, b"\x08\x00" + bytes(18) + ipv4(udp())),
        (0, struct.pack("<I", 2) + ipv4(udp())),
        (1, ethernet(struct.pack(">IHBB", 6 << 28, 408, 17, 9) + bytes(32) + udp(), 0x86DD)),
    ],
)
def test_other_link_layers_are_known(tmp_path: Path, link: int, frame: bytes) -> None:
    (found,) = read(tmp_path, pcap_file([frame], link=link))
    assert found.payload == PAYLOAD


def test_fragments_are_joined_in_any_order(tmp_path: Path) -> None:
    body = udp()
    cuts = [(0, 160, True), (160, 320, True), (320, len(body), False)]
    frames = [
        ethernet(ipv4(body[at:end], flags=(0x2000 if goes_on else 0) | at // 8))
        for at, end, goes_on in cuts
    ]
    random.Random(2).shuffle(frames)
    assert [packet.payload for packet in read(tmp_path, pcap_file(frames))] == [PAYLOAD]


def test_what_is_no_whole_udp_packet_is_passed_over(tmp_path: Path) -> None:
    frames = [
        b"",
        ethernet(b"", 0x0806),
        ethernet(ipv4(udp(), protocol=6)),
        ethernet(ipv4(udp()))[:-1],
        ethernet(ipv4(udp()[:5])),
        ethernet(ipv4(udp(), flags=0x2000)),
        ethernet(ipv4(udp())),
    ]
    assert len(read(tmp_path, pcap_file(frames))) == 1


@pytest.mark.parametrize("size", [4, 20, 30, 60])
def test_a_file_that_is_cut_off_ends_there(tmp_path: Path, size: int) -> None:
    assert read(tmp_path, pcap_file([ethernet(ipv4(udp()))])[:size]) == []


def test_a_record_of_impossible_size_ends_the_file(tmp_path: Path) -> None:
    frames = pcap_file([ethernet(ipv4(udp()))])
    record = struct.pack("<IIII", 0, 0, 2**31, 2**31)
    assert len(read(tmp_path, frames + record + bytes(100))) == 1


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RecordingError, match=r"capture.pcap: expected a pcap or pcapng file, it starts 50 4b"
    ):
        read(tmp_path, b"PK\x03\x04")
