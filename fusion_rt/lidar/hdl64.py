"""Applies the calibration that each HDL-64E brings with it, when its returns are placed.

The file is the YAML that the ROS drivers use (`lasers:` with one entry each). How its terms make z
and intensity was fitted to what the velodyne-decoder package gives, not checked with the maker.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from fusion_rt.lidar.blocks import Index, Lasers, Returns
from fusion_rt.lidar.cloud import Cloud, Floats, ranks

Finite = Annotated[float, msgspec.Meta(ge=-1e4, le=1e4)]


class LaserEntry(msgspec.Struct, frozen=True):
    """One laser of a calibration file; angles in radians, lengths in metres."""

    laser_id: Annotated[int, msgspec.Meta(ge=0, le=127)]
    vert_correction: Finite
    rot_correction: Finite = 0.0
    dist_correction: Finite = 0.0
    dist_correction_x: Finite = 0.0
    dist_correction_y: Finite = 0.0
    vert_offset_correction: Finite = 0.0
    horiz_offset_correction: Finite = 0.0
    focal_distance: Finite = 0.0
    focal_slope: Finite = 0.0
    min_intensity: Finite = 0.0
    max_intensity: Finite = 255.0


class CalibrationFile(msgspec.Struct, frozen=True):
    """What we read of such a file."""

    lasers: tuple[LaserEntry, ...]


class Correction(msgspec.Struct, frozen=True):
    """How each laser's returns differ from those of a beam through the origin, each (lasers,)."""

    far_m: Floats
    near_x_m: Floats
    near_y_m: Floats
    up_m: Floats
    side_m: Floats
    focal_distance: Floats
    focal_slope: Floats
    least: Floats
    most: Floats


def read_calibration(path: Path, lasers: int) -> tuple[Lasers, Correction | None]:
    """The beams of one unit, and what else is to be corrected where anything is.

    Raises ValueError that says what is wrong with the file, OSError where there is none.
    """
    try:
        entries = msgspec.yaml.decode(path.read_bytes(), type=CalibrationFile).lasers
    except msgspec.MsgspecError as error:
        raise ValueError(
            f"{path}: expected `lasers:` with angles and corrections; {error}"
        ) from error
    entries = tuple(sorted(entries, key=lambda entry: entry.laser_id))
    if [entry.laser_id for entry in entries] != list(range(lasers)):
        raise ValueError(f"{path}: expected lasers 0 to {lasers - 1}, got {len(entries)} entries")
    elevation_rad = np.array([entry.vert_correction for entry in entries])
    azimuth_rad = -np.array([entry.rot_correction for entry in entries])
    return Lasers(elevation_rad, azimuth_rad, ranks(elevation_rad)), _correction(entries)


def _correction(entries: tuple[LaserEntry, ...]) -> Correction | None:
    def column(name: str) -> Floats:
        return np.array([getattr(entry, name) for entry in entries], np.float32)

    correction = Correction(
        far_m=column("dist_correction"),
        near_x_m=column("dist_correction_x"),
        near_y_m=column("dist_correction_y"),
        up_m=column("vert_offset_correction"),
        side_m=column("horiz_offset_correction"),
        focal_distance=column("focal_distance"),
        focal_slope=column("focal_slope"),
        least=column("min_intensity"),
        most=column("max_intensity"),
    )
    lengths = (correction.far_m, correction.up_m, correction.side_m, correction.focal_slope)
    return correction if any(values.any() for values in lengths) else None


_FAR_M = 25.04
_NEAR_X_M = 2.4
_NEAR_Y_M = 1.93
_FOCAL_RANGE_M = 131.0  # the farthest range a packet can say


def place_corrected(
    returns: Returns, laser: Index, lasers: Lasers, correction: Correction
) -> Cloud:
    """Put each return where its laser, beside the origin, met something."""
    azimuth = returns.azimuth_rad + lasers.azimuth_rad.astype(np.float32)[laser]
    cos_azimuth, sin_azimuth = np.cos(azimuth), np.sin(azimuth)
    cos_up = np.cos(lasers.elevation_rad).astype(np.float32)[laser]
    sin_up = np.sin(lasers.elevation_rad).astype(np.float32)[laser]
    side_m = correction.side_m[laser]
    far_m = correction.far_m[laser]
    range_m = returns.range_m + far_m
    level_m = range_m * cos_up
    right_m = np.abs(level_m * sin_azimuth - side_m * cos_azimuth)
    ahead_m = np.abs(level_m * cos_azimuth + side_m * sin_azimuth)
    range_x_m = range_m + _near(far_m, correction.near_x_m[laser], right_m, _NEAR_X_M)
    range_y_m = range_m + _near(far_m, correction.near_y_m[laser], ahead_m, _NEAR_Y_M)
    level_x_m, level_y_m = range_x_m * cos_up, range_y_m * cos_up
    return Cloud(
        x_m=level_y_m * cos_azimuth + side_m * sin_azimuth,
        y_m=side_m * cos_azimuth - level_x_m * sin_azimuth,
        z_m=(range_x_m + range_y_m) * np.float32(0.5) * sin_up + correction.up_m[laser],
        intensity=_intensity(returns, laser, correction),
        dt_s=returns.dt_s,
        ring=lasers.ring[laser],
        end_ns=returns.end_ns,
        corrupt=returns.corrupt,
    )


def _near(far_m: Floats, near_m: Floats, distance_m: Floats, from_m: float) -> Floats:
    """What the two-point correction adds to the far one; nothing where it is not given."""
    added_m = (far_m - near_m) * ((distance_m - from_m) / (_FAR_M - from_m)) + near_m - far_m
    return np.where(near_m == 0, np.float32(0), added_m)


def _intensity(returns: Returns, laser: Index, correction: Correction) -> Floats:
    """The reflectivity with the beam's focus taken out, 0..1."""
    focus = (1 - correction.focal_distance[laser] / np.float32(_FOCAL_RANGE_M)) ** 2
    defocus = np.abs(focus - (1 - returns.raw_range / np.float32(65_535)) ** 2)
    value = returns.reflectivity + 256 * correction.focal_slope[laser] * defocus
    clipped = np.clip(value, correction.least[laser], correction.most[laser])
    return np.asarray(np.clip(clipped / np.float32(255), 0, 1))
