"""Packets of LiDARs that the recordings at hand do not cover, made by the tests."""

import struct
from collections.abc import Sequence

import numpy as np

from fusion_rt.lidar.hesai_models import MODELS as HESAI
from fusion_rt.lidar.hesai_models import Model
from fusion_rt.lidar.ouster_metadata import OusterUnit
from fusion_rt.lidar.ouster_packet import PacketLayout
from fusion_rt.lidar.turns import Turn
from fusion_rt.lidar.velodyne_models import MODELS as VELODYNE
from fusion_rt.lidar.velodyne_models import schedule

BANKS = (0xEEFF, 0xDDFF, 0xCCFF, 0xBBFF)
PERIOD_NS = 100_000_000
UTC_S = 1_700_000_000
_HESAI_RETURNS = {0x39: 2, 0x3D: 3}


def turn_of(packets: Sequence[bytes]) -> Turn:
    """All of these packets as one turn."""
    return Turn(list(packets), [n * 1_000_000 for n in range(len(packets))], 0, None, "end")


def velodyne_packets(
    model: str, count: int, *, is_dual: bool = False, start_us: int = 5_000_000, seed: int = 1
) -> list[bytes]:
    """Consecutive packets of a unit at 600 rpm that sees something at random ranges everywhere."""
    rng = np.random.default_rng(seed)
    made, plan = VELODYNE[model], schedule(model, is_dual)
    span_us = (plan.offset_ns[-1, 0] - plan.offset_ns[0, 0]) / 1000
    cycles = int(span_us / made.cycle_us) + (2 if made.blocks_per_cycle == 0.5 else 1)
    packets = []
    for n in range(count):
        time_us = start_us + n * cycles * made.cycle_us
        taken_us = time_us + (plan.offset_ns - plan.since_azimuth_ns)[:, 0] / 1000
        blocks = (
            _velodyne_block(made.lasers, block, round(at_us * 0.36) % 36_000, is_dual, rng)
            for block, at_us in enumerate(taken_us)
        )
        body = b"".join(blocks).ljust(1200, b"\xff")
        product = made.product_ids[0] if made.product_ids else 0
        mode = (0x39 if is_dual else 0x37) if made.product_ids else n % 256
        packets.append(body + struct.pack("<IBB", round(time_us) % 3_600_000_000, mode, product))
    return packets


def _velodyne_block(
    lasers: int, block: int, azimuth: int, is_dual: bool, rng: np.random.Generator
) -> bytes:
    """A block whose second returns lie 8 m or more behind the first."""
    shot = block // 2 if is_dual else block
    bank, is_second = shot % max(lasers // 32, 1), block % 2
    if lasers == 64:  # both banks, then both again
        bank, is_second = block % 2, block // 2 % 2
    nearest = 1000 + (4000 * is_second if is_dual else 0)
    units = b"".join(
        struct.pack("<HB", nearest + value, value % 256)
        for value in rng.integers(0, 3000, 32).tolist()
    )
    return struct.pack("<HH", BANKS[bank], azimuth) + units


def hesai_packets(
    model: str, count: int, *, mode: int = 0x37, unit_mm: int = 4, seed: int = 1
) -> list[bytes]:
    """Consecutive packets of a unit at 600 rpm that sees something at random ranges everywhere."""
    rng = np.random.default_rng(seed)
    made = HESAI[model]
    returns = _HESAI_RETURNS.get(mode, 1)
    packet_us = made.blocks // returns * abs(made.block_us)
    return [_hesai_packet(made, n, n * packet_us, mode, unit_mm, rng) for n in range(count)]


def _hesai_packet(
    made: Model, number: int, time_us: float, mode: int, unit_mm: int, rng: np.random.Generator
) -> bytes:
    """A packet whose second returns lie 8 m or more behind the first."""
    returns = _HESAI_RETURNS.get(mode, 1)
    data = np.zeros(1, made.layout)
    blocks = data["blocks"][0]
    block = np.arange(made.blocks)
    if made.counts_at is None:
        blocks["flag"] = 0xEEFF
    taken_us = time_us + block // returns * abs(made.block_us)
    blocks["azimuth"] = np.rint(taken_us * 0.36).astype(int) % 36_000
    nearest = 1000 + 4000 * (block % returns)[:, None]
    blocks["units"]["range"] = nearest + rng.integers(0, 2000, (made.blocks, made.lasers))
    blocks["units"]["reflectivity"] = rng.integers(0, 256, (made.blocks, made.lasers))
    stamp_us = 250_000 + round(time_us)
    data["mode"] = mode
    data["date"] = (123, 11, 14, 22, 13, 20 + stamp_us // 1_000_000)
    data["time_us"] = stamp_us % 1_000_000
    packet = bytearray(data.tobytes()).ljust(made.sizes[-1], b"\0")
    if made.counts_at is not None:
        packet[:2] = b"\xee\xff"
        packet[made.counts_at : made.counts_at + 2] = bytes((made.lasers, made.blocks))
        packet[5 if made.counts_at == 2 else 9] = unit_mm
    if made.number_at is not None and made.number_at + 4 <= len(packet):
        packet[made.number_at : made.number_at + 4] = struct.pack("<I", number)
    return bytes(packet)


def ouster_unit(
    profile: str, *, beams: int = 16, columns: int = 64, fusa: bool = False
) -> OusterUnit:
    """A unit that turns in few columns; its window is the whole turn."""
    return OusterUnit(
        profile=profile,
        is_fusa=fusa or profile.startswith("FUSA"),
        columns=columns,
        columns_per_packet=16,
        window=(0, columns - 1),
        altitude_rad=tuple(np.linspace(0.3, -0.3, beams).tolist()),
        azimuth_rad=(0.02,) * beams,
        beam_m=(0.015, 0.0),
        sensor_from_lidar=(-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0.036, 0, 0, 0, 1),
        serial=0,
    )


def ouster_packets(unit: OusterUnit, frames: int, *, seed: int = 1) -> list[bytes]:
    """Whole frames of random bytes in every pixel, each column 0.1 s / columns after the last."""
    rng = np.random.default_rng(seed)
    layout = PacketLayout(unit)
    per_frame = unit.columns // layout.columns
    packets = []
    for n in range(frames * per_frame):
        random = bytearray(rng.bytes(layout.size))
        data = np.frombuffer(random, layout.packet)
        place = n % per_frame * layout.columns + np.arange(layout.columns)
        ticks = n * layout.columns + np.arange(layout.columns)
        columns = data["columns"][0]
        columns["MEASUREMENT_ID"] = place
        columns["STATUS"] = 0xFFFFFFFF if layout.is_legacy else 1
        columns["TIMESTAMP"] = UTC_S * 10**9 + ticks * (PERIOD_NS // unit.columns)
        if layout.is_legacy:
            columns["FRAME_ID"] = n // per_frame
        else:
            data["FRAME_ID"] = n // per_frame
            random[0] = 1
            random[1] = 0
            random[-8:] = bytes(8)
        packets.append(bytes(random))
    return packets
