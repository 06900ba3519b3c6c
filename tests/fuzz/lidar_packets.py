"""Feeds mutated packets to every LiDAR decoder and checks what comes out.

python -m tests.fuzz.lidar_packets --packets 1000000
"""

import argparse
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil

from fusion_rt.device_clock import DeviceClock
from fusion_rt.lidar.blocks import Lasers
from fusion_rt.lidar.cloud import Cloud, Decoder, lost_packets
from fusion_rt.lidar.hesai import HesaiDecoder
from fusion_rt.lidar.hesai_models import MODELS as HESAI
from fusion_rt.lidar.ouster import OusterDecoder
from fusion_rt.lidar.ouster_packet import PROFILES
from fusion_rt.lidar.stream import Intake
from fusion_rt.lidar.turns import MOST_PACKETS, Turn
from fusion_rt.lidar.velodyne import VelodyneDecoder
from fusion_rt.lidar.velodyne_models import MODELS as VELODYNE
from fusion_rt.packets.datagram import Datagram
from fusion_rt.packets.pcap import Fragments, Frame, read_pcap
from fusion_rt.packets.ros_messages import PACKET_TYPES, packets_in
from tests.lidar_packets import hesai_packets, ouster_packets, ouster_unit, velodyne_packets

_PACKET_NS = 1_000_000


class Report(msgspec.Struct, frozen=True):
    """What became of the packets of one target."""

    target: str
    packets: int
    turns: int
    points: int
    counted: dict[str, int]
    grown_mib: float
    seconds: float


def any_lasers(count: int) -> Lasers:
    """Beams for units that bring their own."""
    elevation = np.linspace(0.3, -0.3, count)
    return Lasers(elevation, np.zeros(count), np.arange(count, dtype=np.uint16)[::-1])


def decoders() -> dict[str, list[tuple[Decoder, list[bytes]]]]:
    """Family -> every decoder of it, each with good packets to mutate."""
    return {
        "velodyne": [
            (
                VelodyneDecoder(model, any_lasers(made.lasers)),
                velodyne_packets(model, 90, is_dual=dual),
            )
            for model, made in VELODYNE.items()
            for dual in (False, True)
        ],
        "hesai": [
            (HesaiDecoder(model, any_lasers(made.lasers)), hesai_packets(model, 90, mode=mode))
            for model, made in HESAI.items()
            for mode in (0x37, 0x39, 0x3D)
        ],
        "ouster": [
            (OusterDecoder(unit), ouster_packets(unit, 8))
            for unit in (ouster_unit(profile) for profile in PROFILES)
        ],
    }  # fmt: skip


def mutated(packet: bytes, rng: random.Random) -> bytes:
    """The packet with a few bytes, its length or a whole stretch changed; one in eight unharmed."""
    kind = rng.randrange(8)
    if kind == 0:
        return packet
    if kind == 1:
        return packet[: rng.randrange(len(packet) + 1)]
    if kind == 2:
        return packet + rng.randbytes(rng.randrange(64))
    changed = bytearray(packet)
    if kind == 3:
        at = rng.randrange(len(packet))
        size = min(rng.randrange(1, 64), len(packet) - at)
        changed[at : at + size] = rng.choice((b"\0", b"\xff", rng.randbytes(1))) * size
        return bytes(changed)
    # Ends and headers decide most: half of the single bytes go there.
    for _ in range(rng.randrange(1, 6)):
        edge = rng.choice((rng.randrange(64), -1 - rng.randrange(64), rng.randrange(len(packet))))
        changed[max(edge, -len(packet)) % len(packet)] = rng.randrange(256)
    return bytes(changed)


def check(cloud: Cloud) -> None:
    """What must hold of every cloud, whatever it was made of."""
    arrays = (cloud.x_m, cloud.y_m, cloud.z_m, cloud.intensity, cloud.dt_s)
    for array in arrays:
        assert array.dtype == np.float32
        assert array.shape == cloud.ring.shape
        assert np.isfinite(array).all()
    assert cloud.ring.dtype == np.uint16
    if len(cloud.ring):
        assert cloud.intensity.min() >= 0
        assert cloud.intensity.max() <= 1
        assert cloud.dt_s.max() <= 0
        assert cloud.dt_s.min() >= -2.5


class Consumer:
    """Does with turns what the driver does."""

    def __init__(self, decoder: Decoder) -> None:
        self.counted: Counter[str] = Counter()
        self.turns = self.points = 0
        self._decoder = decoder
        self._clock = DeviceClock(decoder.wrap_ns, "receipt", self.counted)

    def take(self, turn: Turn | None) -> None:
        if turn is None:
            return
        assert len(turn.packets) <= MOST_PACKETS + 1
        self.turns += 1
        lost_packets(self._decoder.numbers(turn.packets), self._decoder.number_modulus)
        cloud = self._decoder.decode(turn)
        self._clock.observe(self._decoder.device_times(turn.packets), np.array(turn.recv_ns))
        if cloud is None:
            return
        check(cloud)
        self.points += len(cloud.ring)
        stamp_ns = self._clock.rig_ns(cloud.end_ns, turn.recv_ns[-1])
        assert 0 <= turn.recv_ns[-1] - stamp_ns <= 1_000_000_000


def fuzz_decoders(
    family: str, targets: list[tuple[Decoder, list[bytes]]], packets: int, seed: int
) -> Report:
    """Mutated packets through checking, cutting and decoding; raises where anything is wrong."""
    rng = random.Random(seed)
    started = time.monotonic()
    before = psutil.Process().memory_info().rss
    counted: Counter[str] = Counter()
    turns = points = 0
    for which, (decoder, good) in enumerate(targets):
        consumer = Consumer(decoder)
        intake = Intake(decoder, rng.uniform(0, 360), consumer.counted)
        share = packets // len(targets) + (which < packets % len(targets))
        for n in range(share):
            packet = mutated(good[n % len(good)], rng)
            consumer.take(intake.push(Datagram(10**18 + n * _PACKET_NS, packet)))
        consumer.take(intake.flush())
        counted += consumer.counted
        turns, points = turns + consumer.turns, points + consumer.points
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    seconds = time.monotonic() - started
    return Report(family, packets, turns, points, dict(counted), grown, seconds)


def _frames(packets: list[bytes]) -> Iterator[bytes]:
    """Ethernet frames with UDP packets, every other one in two fragments."""
    for n, packet in enumerate(packets):
        body = struct.pack(">HHHH", 5000, 2368, len(packet) + 8, 0) + packet
        half = len(body) // 16 * 8
        parts = (
            [(0, body[:half], True), (half, body[half:], False)] if n % 2 else [(0, body, False)]
        )
        for at, part, goes_on in parts:
            flags = (0x2000 if goes_on else 0) | at // 8
            ip = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(part), n, flags, 64, 17, 0, b"\1" * 8)
            yield b"\0" * 12 + b"\x08\x00" + ip + part


def fuzz_frames(packets: int, seed: int) -> Report:
    """Mutated Ethernet frames through what takes packets out of them."""
    rng = random.Random(seed)
    started, before = time.monotonic(), psutil.Process().memory_info().rss
    good = list(_frames(velodyne_packets("VLP-16", 16)))
    fragments, found = Fragments(), 0
    for n in range(packets):
        link = rng.choice((1, 1, 1, 1, 101, 113, 276, 0))
        datagram = fragments.datagram(Frame(n, link, mutated(good[n % len(good)], rng)))
        found += datagram is not None
        assert len(fragments) <= 64
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    return Report("frames", packets, 0, found, {}, grown, time.monotonic() - started)


def fuzz_files(packets: int, seed: int, folder: Path) -> Report:
    """Mutated pcap and pcapng files, and recorded messages, through their readers."""
    rng = random.Random(seed)
    started, before = time.monotonic(), psutil.Process().memory_info().rss
    found = 0
    frames = list(_frames([packet[:64] for packet in velodyne_packets("VLP-16", 8)]))
    good = [pcap_file(frames), pcapng_file(frames)]
    kinds = sorted(PACKET_TYPES)
    message = b"\0\1\0\0" + struct.pack("<IIIII", 5, 6, 0, 3, 9) + bytes(4000)
    path = folder / "fuzz.pcap"
    for n in range(packets // 100):
        file = good[n % 2]
        path.write_bytes(file[:4] + mutated(file[4:], rng))
        found += sum(1 for _ in read_pcap(path))
        for _ in range(98):
            try:
                found += sum(1 for _ in packets_in(rng.choice(kinds), mutated(message, rng), 1))
            except (ValueError, struct.error):
                continue
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    return Report("files", packets, 0, found, {}, grown, time.monotonic() - started)


def pcap_file(frames: list[bytes], order: str = "<", tick_ns: int = 1000, link: int = 1) -> bytes:
    """A pcap file with one frame per millisecond."""
    magic = {1000: 0xA1B2C3D4, 1: 0xA1B23C4D}[tick_ns]
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    records = (
        struct.pack(order + "IIII", 1_700_000_000, n * 1_000_000 // tick_ns, len(frame), len(frame))
        + frame
        for n, frame in enumerate(frames)
    )
    return head + b"".join(records)


def pcapng_file(frames: list[bytes], order: str = "<", link: int = 1) -> bytes:
    """A pcapng file with one frame per millisecond, stamped in nanoseconds."""

    def block(kind: int, body: bytes) -> bytes:
        body += b"\0" * (-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    resolution = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    interface = block(1, struct.pack(order + "HHI", link, 0, 0) + resolution)
    packets = []
    for n, frame in enumerate(frames):
        stamp = 1_700_000_000_000_000_000 + n * 1_000_000
        head = struct.pack(
            order + "IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame)
        )
        packets.append(block(6, head + frame))
    return section + interface + b"".join(packets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000, help="per target")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    count, seed = arguments.packets, arguments.seed
    for family, targets in decoders().items():
        show(fuzz_decoders(family, targets, count, seed))
    show(fuzz_frames(count, seed))
    with tempfile.TemporaryDirectory() as folder:
        show(fuzz_files(count, seed, Path(folder)))


def show(report: Report) -> None:
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
