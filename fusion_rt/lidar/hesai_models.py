"""What each Hesai is: where the bytes of its packets lie, and when its lasers fire.

As published; TIER IV's nebula driver has the same, but for the order of a QT128's blocks.
Pandar40P, PandarQT64 and PandarXT-32 are proven on recordings with reference clouds, the others on
made packets only.
"""

from itertools import combinations
from typing import Any

import msgspec
import numpy as np

from fusion_rt.lidar.blocks import Schedule, layout
from fusion_rt.lidar.cloud import Doubles


class Model(msgspec.Struct, frozen=True):
    """One model's packets."""

    sizes: tuple[int, ...]
    """Bytes; some firmware appends a counter or a signature."""
    layout: np.dtype[Any]
    """Of the smallest size."""
    lasers: int
    blocks: int
    block_bytes: int
    azimuth_at: int
    """Where the first block says its azimuth."""
    nearest_m: float
    """Least range the maker specifies; nearer returns are the window's own."""
    counts_at: int | None
    """Where the header says lasers and blocks; None: there is no header."""
    number_at: int | None
    """Where the 32-bit packet counter lies, if the packet is long enough to hold it."""
    unit_us: Doubles
    """(lasers,) firing time within a block, or (blocks, lasers); NaN: that one does not fire."""
    first_us: float
    """Start of the block nearest to the packet's time, relative to that time."""
    block_us: float
    """Between blocks of one packet; negative where the packet's time is that of its last block."""
    elevation_deg: tuple[float, ...] = ()
    """Empty where every unit brings its own angles."""


def _tail(at: int, mode: int, date: int, time: int, unit: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "mode": ("u1", at + mode),
        "date": ("(6,)u1", at + date),
        "time_us": ("<u4", at + time),
    }
    return fields if unit is None else {**fields, "unit_mm": ("u1", unit)}


# fmt: off
_PANDAR40_US = np.array([
    -42.22, -28.47, -16.04, -3.62, -45.49, -31.74, -47.46, -54.67, -20.62, -33.71,
    -40.91, -8.19, -20.62, -27.16, -50.73, -8.19, -14.74, -36.98, -45.49, -52.70,
    -23.89, -31.74, -38.95, -11.47, -18.65, -25.19, -48.76, -6.23, -12.77, -35.01,
    -21.92, -9.50, -43.52, -29.77, -17.35, -4.92, -42.22, -28.47, -16.04, -3.62,
])
_PANDAR64_US = np.array([
    -23.18, -21.876, -20.572, -19.268, -17.964, -16.66, -11.444, -46.796,
    -7.532, -36.956, -50.732, -54.668, -40.892, -44.828, -31.052, -34.988,
    -48.764, -52.7, -38.924, -42.86, -29.084, -33.02, -46.796, -25.148,
    -36.956, -50.732, -27.116, -40.892, -44.828, -31.052, -34.988, -48.764,
    -25.148, -38.924, -42.86, -29.084, -33.02, -52.7, -6.228, -54.668,
    -15.356, -27.116, -10.14, -23.18, -4.924, -21.876, -14.052, -17.964,
    -8.836, -19.268, -3.62, -20.572, -12.748, -16.66, -7.532, -11.444,
    -6.228, -15.356, -10.14, -4.924, -3.62, -14.052, -8.836, -12.748,
])
_QT64_US = np.array([
    12.31, 14.37, 16.43, 18.49, 20.54, 22.60, 24.66, 26.71, 29.16, 31.22, 33.28, 35.34, 37.39,
    39.45, 41.50, 43.56, 46.61, 48.67, 50.73, 52.78, 54.84, 56.90, 58.95, 61.01, 63.45, 65.52,
    67.58, 69.63, 71.69, 73.74, 75.80, 77.86, 80.90, 82.97, 85.02, 87.08, 89.14, 91.19, 93.25,
    95.30, 97.75, 99.82, 101.87, 103.93, 105.98, 108.04, 110.10, 112.15, 115.20, 117.26, 119.32,
    121.38, 123.43, 125.49, 127.54, 129.60, 132.05, 134.11, 136.17, 138.22, 140.28, 142.34,
    144.39, 146.45,
])
# fmt: on


def _quarter_us(first_us: float, order: tuple[int, int, int, int]) -> Doubles:
    """(32,) eight groups of four lasers each; every other group fires in reverse."""
    group_us = first_us + 25.344 * np.array(order)
    return np.concatenate([group_us[:: 1 - 2 * (n % 2)] + 3.168 * n for n in range(8)])


_NONE_US = np.full(32, np.nan)
_QT128_US = np.array([
    np.concatenate([
        _NONE_US,
        _quarter_us(2.312, (1, 2, 0, 3)),
        _quarter_us(1.456, (0, 3, 1, 2)),
        _quarter_us(0.6, (1, 2, 0, 3)),
    ]),
    np.concatenate([
        _quarter_us(2.312, (0, 3, 1, 2)),
        _NONE_US,
        _quarter_us(0.6, (0, 3, 1, 2)),
        _quarter_us(1.456, (1, 2, 0, 3)),
    ]),
])  # fmt: skip
"""Blocks fire in turn by the first and the second of its two loops."""

MODELS: dict[str, Model] = {
    "Pandar40P": Model(
        sizes=(1262, 1266),
        layout=layout(1262, (0, 10, 124), 2, (4, 40, 3), _tail(1240, 14, 16, 10, None)),
        lasers=40,
        blocks=10,
        block_bytes=124,
        azimuth_at=2,
        nearest_m=0.3,
        counts_at=None,
        number_at=1262,
        unit_us=_PANDAR40_US,
        first_us=-28.58,
        block_us=-55.56,
    ),
    "Pandar64": Model(
        sizes=(1194, 1198),
        layout=layout(1194, (8, 6, 194), 0, (2, 64, 3), _tail(1172, 14, 16, 10, 5)),
        lasers=64,
        blocks=6,
        block_bytes=194,
        azimuth_at=8,
        nearest_m=0.3,
        counts_at=2,
        number_at=1194,
        unit_us=_PANDAR64_US,
        first_us=-42.58,
        block_us=-55.56,
    ),
    "XT16": Model(
        sizes=(568,),
        layout=layout(568, (12, 8, 66), 0, (2, 16, 4), _tail(540, 10, 13, 19, 9)),
        lasers=16,
        blocks=8,
        block_bytes=66,
        azimuth_at=12,
        nearest_m=0.05,
        counts_at=6,
        number_at=564,
        unit_us=np.linspace(0.368, 45.728, 16),
        first_us=5.632,
        block_us=-50.0,
        elevation_deg=tuple(np.linspace(15, -15, 16).tolist()),
    ),
    "XT32": Model(
        sizes=(1080,),
        layout=layout(1080, (12, 8, 130), 0, (2, 32, 4), _tail(1052, 10, 13, 19, 9)),
        lasers=32,
        blocks=8,
        block_bytes=130,
        azimuth_at=12,
        nearest_m=0.05,
        counts_at=6,
        number_at=1076,
        unit_us=np.linspace(0.368, 47.24, 32),
        first_us=5.632,
        block_us=-50.0,
        elevation_deg=tuple(np.linspace(15, -16, 32).tolist()),
    ),
    "XT32M": Model(
        sizes=(820,),
        layout=layout(820, (12, 6, 130), 0, (2, 32, 4), _tail(792, 10, 13, 19, 9)),
        lasers=32,
        blocks=6,
        block_bytes=130,
        azimuth_at=12,
        nearest_m=0.5,
        counts_at=6,
        number_at=816,
        unit_us=np.tile(np.linspace(0.368, 43.688, 16), 2),
        first_us=5.632,
        block_us=-50.0,
        elevation_deg=tuple(np.linspace(19.5, -20.8, 32).tolist()),
    ),
    "QT64": Model(
        sizes=(1072,),
        layout=layout(1072, (12, 4, 258), 0, (2, 64, 4), _tail(1044, 16, 18, 12, 9)),
        lasers=64,
        blocks=4,
        block_bytes=258,
        azimuth_at=12,
        nearest_m=0.1,
        counts_at=6,
        number_at=1068,
        unit_us=_QT64_US,
        first_us=25.71,
        block_us=166.67,
    ),
    "QT128": Model(
        sizes=(1095, 1127),
        layout=layout(1095, (12, 2, 514), 0, (2, 128, 4), _tail(1061, 12, 15, 21, 9)),
        lasers=128,
        blocks=2,
        block_bytes=514,
        azimuth_at=12,
        nearest_m=0.05,
        counts_at=6,
        number_at=1087,
        unit_us=_QT128_US,
        first_us=9.0,
        block_us=111.11,
    ),
    "Pandar128": Model(
        sizes=(861, 893),
        layout=layout(861, (12, 2, 386), 0, (2, 128, 3), _tail(805, 12, 15, 21, 9)),
        lasers=128,
        blocks=2,
        block_bytes=386,
        azimuth_at=12,
        nearest_m=0.1,
        counts_at=6,
        number_at=831,
        # Which fires when depends on mode and place: the middle of the 52 us they take.
        unit_us=np.full(128, 26.0),
        first_us=3.148,
        block_us=-55.56,
    ),
}


def schedule(model: Model, returns: int) -> Schedule:
    """When each laser of a packet fires; the blocks of one shot's returns follow each other."""
    block = np.arange(model.blocks)
    shot = block // returns
    if model.block_us < 0:  # counted back from the last block
        shot = (model.blocks - 1 - block) // returns
    offset_us = (model.first_us + model.block_us * shot)[:, None] + _unit_us(model, returns)
    offset_ns = np.rint(offset_us * 1000).astype(np.int64)
    repeats = tuple(
        (first, second) for first, second in combinations(block.tolist(), 2)
        if shot[first] == shot[second]
    )  # fmt: skip
    return Schedule(offset_ns, np.zeros_like(offset_ns), repeats)


def _unit_us(model: Model, returns: int) -> Doubles:
    """(blocks, lasers), or (1, lasers) where all blocks are alike.

    Both blocks of a QT128's dual returns are of one loop, and packets alternate: the mean of both.
    """
    loops_us = np.atleast_2d(model.unit_us)
    mean_us = np.nanmean(loops_us, axis=0, keepdims=True)
    return mean_us if returns > 1 else np.where(np.isnan(loops_us), mean_us, loops_us)
