"""What each Velodyne is: the angles and firing times of its lasers, and how its packets name it.

As the makers publish them. The VLP-16's are proven on a recording; the others agree with the
velodyne-decoder package on made packets, but for the VLS-128's firing times (20 us at most).
"""

import msgspec
import numpy as np

from fusion_rt.lidar.blocks import Lasers, Schedule
from fusion_rt.lidar.cloud import Doubles, Integers, ranks

BLOCKS = 12
UNITS = 32


class Model(msgspec.Struct, frozen=True):
    """One model as it leaves the factory."""

    product_ids: tuple[int, ...]
    """The last byte of its packets; empty where that byte says something else."""
    lasers: int
    range_unit_m: float
    elevation_deg: tuple[float, ...]
    """(lasers,) in the order of the data; empty where every unit has its own calibration."""
    azimuth_deg: tuple[float, ...]
    cycle_us: float
    """From one firing of all lasers to the next."""
    blocks_per_cycle: float
    """0.5: a block holds two cycles."""


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


_VLS_ELEVATION_DEG = _floats(
    """
    -11.742 -1.99 3.4 -5.29 -0.78 4.61 -4.08 1.31
    -6.5 -1.11 4.28 -4.41 0.1 6.48 -3.2 2.19
    -3.86 1.53 -9.244 -1.77 2.74 -5.95 -0.56 4.83
    -2.98 2.41 -6.28 -0.89 3.62 -5.07 0.32 7.58
    -0.34 5.18 -3.64 1.75 -25 -2.43 2.96 -5.73
    0.54 9.7 -2.76 2.63 -7.65 -1.55 3.84 -4.85
    3.18 -5.51 -0.12 5.73 -4.3 1.09 -16.042 -2.21
    4.06 -4.63 0.76 15 -3.42 1.97 -6.85 -1.33
    -5.62 -0.23 5.43 -3.53 0.98 -19.582 -2.32 3.07
    -4.74 0.65 11.75 -2.65 1.86 -7.15 -1.44 3.95
    -2.1 3.29 -5.4 -0.01 4.5 -4.19 1.2 -13.565
    -1.22 4.17 -4.52 0.87 6.08 -3.31 2.08 -6.65
    1.42 -10.346 -1.88 3.51 -6.06 -0.67 4.72 -3.97
    2.3 -6.39 -1 4.39 -5.18 0.21 6.98 -3.09
    4.98 -3.75 1.64 -8.352 -2.54 2.85 -5.84 -0.45
    8.43 -2.87 2.52 -6.17 -1.66 3.73 -4.96 0.43
    """
)
_VLP32_ELEVATION_DEG = _floats(
    """
    -25.0 -1.0 -1.667 -15.639 -11.31 0.0 -0.667 -8.843
    -7.254 0.333 -0.333 -6.148 -5.333 1.333 0.667 -4.0
    -4.667 1.667 1.0 -3.667 -3.333 3.333 2.333 -2.667
    -3.0 7.0 4.667 -2.333 -2.0 15.0 10.333 -1.333
    """
)
_VLP32_AZIMUTH_DEG = _floats(
    """
    1.4 -4.2 1.4 -1.4 1.4 -1.4 4.2 -1.4
    1.4 -4.2 1.4 -1.4 4.2 -1.4 4.2 -1.4
    1.4 -4.2 1.4 -4.2 4.2 -1.4 1.4 -1.4
    1.4 -1.4 1.4 -4.2 4.2 -1.4 1.4 -1.4
    """
)
_VLS_AZIMUTH_DEG = (6.354, 4.548, 2.732, 0.911, -0.911, -2.732, -4.548, -6.354) * 16


def _interleaved(lowest_deg: float, step_deg: float, count: int) -> tuple[float, ...]:
    """Evenly spread beams that fire in turn from the lower and the upper half."""
    half = count // 2
    order = (place for pair in zip(range(half), range(half, count), strict=True) for place in pair)
    return tuple(lowest_deg + step_deg * place for place in order)


_VLP16 = Model((0x22,), 16, 0.002, _interleaved(-15, 2, 16), (0.0,) * 16, 55.296, 0.5)
_HDL64 = Model((), 64, 0.002, (), (), 57.6, 2)

MODELS: dict[str, Model] = {
    "VLP-16": _VLP16,
    "Puck-Hi-Res": msgspec.structs.replace(
        _VLP16, product_ids=(0x24,), elevation_deg=_interleaved(-10, 4 / 3, 16)
    ),
    "VLP-32C": Model((0x28,), 32, 0.004, _VLP32_ELEVATION_DEG, _VLP32_AZIMUTH_DEG, 55.296, 1),
    "HDL-32E": Model((0x21,), 32, 0.002, _interleaved(-92 / 3, 4 / 3, 32), (0.0,) * 32, 46.080, 1),
    "HDL-64E-S2": msgspec.structs.replace(_HDL64, cycle_us=48.0),
    "HDL-64E-S3": _HDL64,
    "VLS-128": Model((0xA1,), 128, 0.004, _VLS_ELEVATION_DEG, _VLS_AZIMUTH_DEG, 53.3, 4),
}


PRODUCT_IDS = frozenset((0x23, 0x31)).union(*(model.product_ids for model in MODELS.values()))
"""Models that say what they are: ours, VLP-32A and B, Velarray."""


def factory_lasers(model: Model) -> Lasers:
    """The beams of a model whose units are all alike."""
    elevation_rad = np.radians(np.array(model.elevation_deg))
    return Lasers(elevation_rad, np.radians(np.array(model.azimuth_deg)), ranks(elevation_rad))


def schedule(name: str, is_dual: bool) -> Schedule:
    """When each laser of a packet fires; a VLS-128 with dual returns uses eight blocks only."""
    model = MODELS[name]
    blocks = 8 if name == "VLS-128" and is_dual else BLOCKS
    block = np.arange(blocks)[:, None]
    unit = np.arange(UNITS)[None, :]
    pairs = tuple((first, first + 1) for first in range(0, blocks, 2))
    if is_dual and name.startswith("HDL-64"):  # two blocks of 32 lasers, then both again
        pairs = tuple((first, first + 2) for first in (0, 1, 4, 5, 8, 9))
        block = block // 4 * 2 + block % 2
    elif is_dual:
        block = block // 2
    since_us = _since_azimuth_us(name, block, unit)
    start_us = np.floor(block / model.blocks_per_cycle) * model.cycle_us
    if name == "VLS-128":
        start_us = start_us - _VLS_TOP_OF_HOUR_US
    since_ns = np.broadcast_to(np.rint(since_us * 1000), (blocks, UNITS)).astype(np.int64)
    offset_ns = np.rint(start_us * 1000).astype(np.int64) + since_ns
    return Schedule(offset_ns, since_ns, pairs if is_dual else ())


_VLS_FIRING_US = 2.665
_VLS_TOP_OF_HOUR_US = 8.7  # the packet's time is that of the fourth group's firing
_HDL64_FIRST_US = {"HDL-64E-S2": (0, 1.26, 2.46, 3.66), "HDL-64E-S3": (0, 1.3, 2.5, 3.7)}


def _since_azimuth_us(name: str, block: Integers, unit: Integers) -> Doubles:
    """Firing time of each (block, unit) since its block's azimuth was taken."""
    if name in ("VLP-16", "Puck-Hi-Res"):
        return np.asarray(55.296 * (unit // 16) + 2.304 * (unit % 16))
    if name == "VLP-32C":
        return np.asarray(2.304 * (unit // 2))
    if name == "HDL-32E":
        return np.asarray(1.152 * unit)
    if name in _HDL64_FIRST_US:  # groups of four lasers, an eighth of a cycle apart
        first_us = np.array(_HDL64_FIRST_US[name])
        return np.asarray(MODELS[name].cycle_us / 8 * (unit // 4) + first_us[unit % 4])
    laser = UNITS * (block % 4) + unit  # eight at a time, with a pause of one after eight groups
    return np.asarray((laser // 8 + laser // 64) * _VLS_FIRING_US)
