"""Beam tables of rotating LiDARs, from their data sheets: elevations from the lowest beam up."""

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

Beams = Literal["hdl64", "vlp32c", "vlp16"]
"""The devices there are."""


class BeamTable(msgspec.Struct, frozen=True):
    """Where the beams of a device point, and what it can see."""

    elevations_deg: tuple[float, ...]
    range_m: float
    """To a surface that returns 10 % of the light, head on."""
    nearest_m: float
    range_noise_m: float
    """One standard deviation."""


def _hdl64() -> BeamTable:
    """Velodyne HDL-64E: 32 beams every 1/3 degree from +2 down, 32 every 1/2 degree below them."""
    upper = [2 - i / 3 for i in range(32)]
    lower = [-8.83 - i / 2 for i in range(32)]
    return BeamTable(tuple(sorted(upper + lower)), 90.0, 0.9, 0.02)


def _vlp16() -> BeamTable:
    """Velodyne VLP-16: every 2 degrees from -15 to 15."""
    return BeamTable(tuple(float(d) for d in range(-15, 16, 2)), 70.0, 0.5, 0.03)


def _vlp32c() -> BeamTable:
    """Velodyne VLP-32C (Ultra Puck): dense about the horizon."""
    third = [-4 + i / 3 for i in range(17)]
    others = [-25, -15.639, -11.31, -8.843, -7.254, -6.148, -5.333, -4.667]
    others += [1.667, 2.333, 3.333, 4.667, 7, 10.333, 15]
    return BeamTable(tuple(sorted([*third, *others])), 110.0, 0.5, 0.03)


BEAM_TABLES: dict[Beams, BeamTable] = {
    "hdl64": _hdl64(),
    "vlp32c": _vlp32c(),
    "vlp16": _vlp16(),
}


def directions(table: BeamTable, columns: int) -> npt.NDArray[np.float32]:
    """(columns, beams, 3): unit vectors, x forward, y left, z up; clockwise from the rear."""
    turned = (np.arange(columns) + 0.5) * (2 * np.pi / columns)
    azimuth, elevation = np.pi - turned[:, None], np.radians(table.elevations_deg)[None, :]
    parts = (
        np.cos(elevation) * np.cos(azimuth),
        np.cos(elevation) * np.sin(azimuth),
        np.broadcast_to(np.sin(elevation), (columns, len(table.elevations_deg))),
    )
    return np.stack(parts, axis=-1).astype(np.float32)
