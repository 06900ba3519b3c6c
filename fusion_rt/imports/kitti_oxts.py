"""Makes GPS fixes of KITTI's inertial navigation system, an OXTS RT3003."""

import math
from pathlib import Path

from fusion_rt.messages import FixKind, GpsFix

_FIXES: dict[int, FixKind] = {4: "dgps", 5: "rtk_float", 6: "rtk_fixed", 7: "dgps", 8: "dgps"}
"""By its position mode; below 3 it has no satellites and reckons from what it had."""
_NO_SATELLITES = 3
_MOVING_MPS = 0.5
"""A course over ground means nothing below."""
_FIELDS = 30
"""In the order of KITTI's dataformat.txt."""


def fix_from_oxts(path: Path, stamp_ns: int) -> GpsFix:
    """One packet, a line of 30 numbers; raises OSError or ValueError."""
    values = [float(value) for value in path.read_text().split()]
    if len(values) != _FIELDS:
        raise ValueError(f"expected {_FIELDS} numbers, got {len(values)}")
    latitude_deg, longitude_deg, altitude_m = values[:3]
    north_mps, east_mps, up_mps = values[6], values[7], values[10]
    satellites, mode = int(values[26]), int(values[27])
    is_moving = math.hypot(north_mps, east_mps) > _MOVING_MPS
    return GpsFix(
        stamp_ns=stamp_ns,
        fix="dead_reckoned" if 0 <= mode < _NO_SATELLITES else _FIXES.get(mode, "3d"),
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        altitude_m=altitude_m,
        velocity_enu_mps=(east_mps, north_mps, up_mps),
        course_deg=math.degrees(math.atan2(east_mps, north_mps)) % 360 if is_moving else None,
        horizontal_accuracy_m=values[23] if values[23] > 0 else None,
        satellites=satellites if satellites >= 0 else None,
        utc_ns=stamp_ns,
    )
