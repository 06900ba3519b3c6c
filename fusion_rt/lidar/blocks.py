"""Decodes packets made of blocks of one azimuth, as Velodyne's and Hesai's are.

A packet is a few blocks; a block is an azimuth and a range with a reflectivity for each of its
lasers. Families differ in where the bytes lie, in the lasers' angles and in when each one fires:
that is their `layout` and their `Schedule`.
"""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.lidar.cloud import Cloud, Doubles, Floats, Integers, sane_times
from fusion_rt.lidar.turns import Turn

Index = npt.NDArray[np.intp]
ONE_RETURN_M = 0.1
"""Two returns of one shot closer than this are the same surface."""

_CENTIDEGREE = np.float32(np.pi / 18_000)


class Lasers(msgspec.Struct, frozen=True):
    """The beams of one unit, each array (lasers,)."""

    elevation_rad: Doubles
    azimuth_rad: Doubles
    """Added to the block's azimuth, clockwise."""
    ring: npt.NDArray[np.uint16]


class Schedule(msgspec.Struct, frozen=True):
    """When the lasers of a packet fire in one return mode, each array (blocks, units)."""

    offset_ns: Integers
    """To the packet's own time."""
    since_azimuth_ns: Integers
    """To the moment at which the block's azimuth was taken."""
    repeats: tuple[tuple[int, int], ...] = ()
    """Pairs of blocks with two returns of the same shots."""


class Fields(msgspec.Struct, frozen=True):
    """What the bytes of a turn say."""

    raw_range: npt.NDArray[np.uint16]
    """(packets, blocks, units)."""
    range_unit_m: float
    least_range_m: float
    reflectivity: npt.NDArray[np.uint8]
    azimuth: npt.NDArray[np.uint16]
    """(packets, blocks), hundredths of a degree."""
    time_ns: Integers
    """(packets,) device time, rising but for corrupt ones."""


class Returns(msgspec.Struct, frozen=True):
    """The shots of a turn that came back, each array (N,)."""

    raw_range: npt.NDArray[np.uint16]
    range_m: Floats
    reflectivity: npt.NDArray[np.uint8]
    azimuth_rad: Floats
    """Of the rotor at the moment of the shot, clockwise."""
    slot: Index
    """Block times units plus unit."""
    column: Index
    """Packet times blocks plus block."""
    dt_s: Floats
    end_ns: int
    corrupt: int


def layout(
    size: int,
    blocks: tuple[int, int, int],
    azimuth_at: int,
    units: tuple[int, int, int],
    tail: dict[str, tuple[str, int]],
) -> np.dtype[Any]:
    """A packet as a structured type.

    `blocks` is (first byte, count, bytes each), `units` the same within a block, `tail` names what
    else lies in the packet, with its type and first byte.
    """
    first_unit, unit_count, unit_bytes = units
    unit = np.dtype(
        {
            "names": ["range", "reflectivity"],
            "formats": ["<u2", "u1"],
            "offsets": [0, 2],
            "itemsize": unit_bytes,
        }
    )
    first_block, block_count, block_bytes = blocks
    block = np.dtype(
        {
            "names": ["flag", "azimuth", "units"],
            "formats": ["<u2", "<u2", (unit, (unit_count,))],
            "offsets": [0, azimuth_at, first_unit],
            "itemsize": block_bytes,
        }
    )
    return np.dtype(
        {
            "names": ["blocks", *tail],
            "formats": [(block, (block_count,)), *(kind for kind, _ in tail.values())],
            "offsets": [first_block, *(at for _, at in tail.values())],
            "itemsize": size,
        }
    )


def select_returns(fields: Fields, turn: Turn, schedule: Schedule) -> Returns | None:
    """Pick the shots of the turn that came back and say where and when each was fired."""
    packets, blocks, units = fields.raw_range.shape
    is_usable = sane_times(fields.time_ns)
    is_in = np.repeat(is_usable, blocks)
    is_in[: turn.first_column] = False
    if turn.end_column is not None:
        is_in[(packets - 1) * blocks + turn.end_column :] = False
    if not is_in.any():
        return None
    least = max(math.ceil(fields.least_range_m / fields.range_unit_m - 1e-6), 1)
    is_hit = (fields.raw_range >= least) & is_in.reshape(packets, blocks, 1)
    _drop_repeats(is_hit, fields, schedule)
    hit = np.flatnonzero(is_hit)
    slot, column = hit % (blocks * units), hit // units
    fired_ns = (fields.time_ns[:, None] + schedule.offset_ns.max(axis=1)).ravel()
    end_ns = int(fired_ns[is_in].max())
    sent_s = ((fields.time_ns - end_ns) * 1e-9).astype(np.float32)
    offset_s = (schedule.offset_ns.ravel() * 1e-9).astype(np.float32)
    turned = _rate(fields, is_usable) * schedule.since_azimuth_ns.ravel()
    azimuth = fields.azimuth.ravel().astype(np.float32) * _CENTIDEGREE
    raw_range = fields.raw_range.ravel()[hit]
    return Returns(
        raw_range=raw_range,
        range_m=raw_range * np.float32(fields.range_unit_m),
        reflectivity=fields.reflectivity.ravel()[hit],
        azimuth_rad=azimuth[column] + turned.astype(np.float32)[slot],
        slot=slot,
        column=column,
        dt_s=np.minimum(sent_s[hit // (blocks * units)] + offset_s[slot], 0),
        end_ns=end_ns,
        corrupt=packets - int(is_usable.sum()),
    )


def _drop_repeats(is_hit: npt.NDArray[np.bool_], fields: Fields, schedule: Schedule) -> None:
    """Keep the later of two returns that are one: a pulse is longer than `ONE_RETURN_M`."""
    nearest = ONE_RETURN_M / fields.range_unit_m
    for first, second in schedule.repeats:
        earlier = fields.raw_range[:, first].astype(np.int32)
        is_same = np.abs(earlier - fields.raw_range[:, second]) < nearest
        is_hit[:, first] &= ~(is_same & is_hit[:, second])


def _rate(fields: Fields, is_usable: npt.NDArray[np.bool_]) -> float:
    """How fast the rotor turns, radians per nanosecond; the median over the turn's packets.

    A ratio, so that lost packets do not disturb it.
    """
    azimuth = fields.azimuth[is_usable, 0].astype(np.int64)
    step = (np.diff(azimuth) + 18_000) % 36_000 - 18_000
    span_ns = np.diff(fields.time_ns[is_usable])
    if not (span_ns > 0).any():
        return 0.0
    rates = step[span_ns > 0] / span_ns[span_ns > 0]
    return float(np.median(rates) * _CENTIDEGREE)


def place(returns: Returns, laser: Index, lasers: Lasers) -> Cloud:
    """Put each return where its beam met something; beams leave from the origin."""
    azimuth = returns.azimuth_rad + lasers.azimuth_rad.astype(np.float32)[laser]
    level_m = returns.range_m * np.cos(lasers.elevation_rad).astype(np.float32)[laser]
    return Cloud(
        x_m=level_m * np.cos(azimuth),
        y_m=-level_m * np.sin(azimuth),
        z_m=returns.range_m * np.sin(lasers.elevation_rad).astype(np.float32)[laser],
        intensity=returns.reflectivity * np.float32(1 / 255),
        dt_s=returns.dt_s,
        ring=lasers.ring[laser],
        end_ns=returns.end_ns,
        corrupt=returns.corrupt,
    )
