"""Packets of LiDARs that the recordings at hand do not cover, made by the tests."""

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fusion_rt.lidar.hesai_models import MODELS as HESAI
from fusion_rt.lidar.ouster_metadata import OusterUnit
from fusion_rt.lidar.ouster_packet import PacketLayout
from fusion_rt.lidar.turns import Turn
from fusion_rt.lidar.velodyne_models import MODELS as VELODYNE
from fusion_rt.lidar.velodyne_models import schedule

BANKS = (0xEEFF, 0xDDFF, 0xCCFF, 0xBBFF)
PERIOD_NS = 100_000_000
UTC_S = 1_700_000_000


def turn_of(packets: Sequence[bytes]) -> Turn:
    """All of these packets as one turn."""
    return Turn(list(packets), [n * 1_000_000 for n in range(len(packets))], 0, None, "end")


def velodyne_packets(
    model: str, count: int, *, is_dual: bool = False, start_us: int = 5_000_000, seed: int = 1
) -> list[bytes]:
    """Consecutive packets of a unit at 600 rpm that sees something at random ranges everywhere."""
    rng = np.random.default_rng(seed)
    made = VELODYNE[model]
    plan = schedule(model, is_dual)
    first_ns, last_ns = plan.offset_ns[0, 0], plan.offset_ns[-1, 0]
    cycles = int((last_ns - first_ns) / (made.cycle_us * 1000)) + (
        2 if made.blocks_per_cycle == 0.5 else 1
    )
    packets = []
    for n in range(count):
        time_us = start_us + n * cycles * made.cycle_us
        body = b"".join(
            _velodyne_block(model, plan.offset_ns[block] if block < len(plan.offset_ns) else None,
                            plan.since_azimuth_ns[block] if block < len(plan.offset_ns) else None,
                            block, time_us, is_dual, rng)
            for block in range(12)
        )  # fmt: skip
        product = made.product_ids[0] if made.product_ids else 0
        mode = (0x39 if is_dual else 0x37) if made.product_ids else n % 256
        packets.append(body + struct.pack("<IBB", round(time_us) % 3_600_000_000, mode, product))
    return packets


def _velodyne_block(
    model: str,
    offset_ns: npt.NDArray[np.int64] | None,
    since_ns: npt.NDArray[np.int64] | None,
    block: int,
    time_us: float,
    is_dual: bool,
    rng: np.random.Generator,
) -> bytes:
    if offset_ns is None or since_ns is None:  # unused
        return b"\xff" * 100
    azimuth = round((time_us + (offset_ns[0] - since_ns[0]) / 1000) * 0.36) % 36_000
    shot = block // 2 if is_dual else block
    lasers = VELODYNE[model].lasers
    if lasers == 64:
        bank = block % 2
        ranges = 1000 + 4000 * (block // 2 % 2 if is_dual else 0)
    else:
        bank = shot % (lasers // 32) if lasers > 32 else 0
        ranges = 1000 + 4000 * (block % 2 if is_dual else 0)
    units = b"".join(
        struct.pack("<HB", ranges + int(value), int(value) % 256)
        for value in rng.integers(0, 3000, 32)
    )
    return struct.pack("<HH", BANKS[bank], azimuth) + units


def hesai_packets(
    model: str, count: int, *, mode: int = 0x37, unit_mm: int = 4, seed: int = 1
) -> list[bytes]:
    """Consecutive packets of a unit at 600 rpm that sees something at random ranges everywhere."""
    rng = np.random.default_rng(seed)
    made = HESAI[model]
    returns = 2 if mode == 0x39 else 1
    packets = []
    for n in range(count):
        data = np.zeros(1, made.layout)
        blocks = data["blocks"][0]
        shots = made.blocks // returns
        step_us = abs(made.block_us)
        for block in range(made.blocks):
            azimuth = round((n * shots + block // returns) * step_us * 0.36)
            if made.counts_at is None:
                blocks["flag"][block] = 0xEEFF
            blocks["azimuth"][block] = azimuth % 36_000
            blocks["units"]["range"][block] = rng.integers(1000, 3000, made.lasers) + (
                4000 * (block % returns)
            )
            blocks["units"]["reflectivity"][block] = rng.integers(0, 256, made.lasers)
        time_us = 250_000 + round(n * shots * step_us)
        data["mode"] = mode
        data["date"] = (123, 11, 14, 22, 13, 20 + time_us // 1_000_000)
        data["time_us"] = time_us % 1_000_000
        packet = bytearray(data.tobytes()).ljust(made.sizes[-1], b"\0")
        if made.counts_at is not None:
            packet[:2] = b"\xee\xff"
            packet[made.counts_at : made.counts_at + 2] = bytes((made.lasers, made.blocks))
            packet[5 if made.counts_at == 2 else 9] = unit_mm
        if made.number_at is not None and made.number_at + 4 <= len(packet):
            packet[made.number_at : made.number_at + 4] = struct.pack("<I", n)
        packets.append(bytes(packet))
    return packets


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
            random[1] = 0 if not layout.is_fusa else random[1]
            random[-8:] = bytes(8)
        packets.append(bytes(random))
    return packets
