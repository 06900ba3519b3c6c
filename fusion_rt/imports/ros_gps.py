"""Makes GPS fixes of ROS NavSatFix messages."""

import math
from typing import Any

from fusion_rt.messages import FixKind, GpsFix

_FIXES: dict[int, FixKind] = {0: "3d", 1: "dgps", 2: "dgps"}
"""By sensor_msgs/NavSatStatus: unaugmented, by satellite, by ground station; below 0 is no fix."""


def fix_from_navsat(fix: Any, stamp_ns: int) -> GpsFix:
    """From sensor_msgs/NavSatFix, whose altitude is above the ellipsoid as ours."""
    kind = _FIXES.get(int(fix.status.status), "none")
    latitude_deg, longitude_deg = float(fix.latitude), float(fix.longitude)
    if kind == "none" or not (math.isfinite(latitude_deg) and math.isfinite(longitude_deg)):
        return GpsFix(stamp_ns=stamp_ns, fix="none")
    altitude_m = float(fix.altitude)
    is_known = int(fix.position_covariance_type) != 0
    east, north, up = (float(fix.position_covariance[n]) for n in (0, 4, 8))
    return GpsFix(
        stamp_ns=stamp_ns,
        fix=kind if math.isfinite(altitude_m) else "2d",
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        altitude_m=altitude_m if math.isfinite(altitude_m) else 0.0,
        horizontal_accuracy_m=_deviation((east + north) / 2) if is_known else None,
        vertical_accuracy_m=_deviation(up) if is_known else None,
    )


def _deviation(variance: float) -> float | None:
    return math.sqrt(variance) if math.isfinite(variance) and variance > 0 else None
