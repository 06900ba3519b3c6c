"""A receiver's solution to the message: what is known, what follows from it, and what is not."""

import math

import msgspec

from fusion_rt.gnss.options import GpsOptions
from fusion_rt.gnss.rig_time import Stamp
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import FixKind, GpsFix

# How much smaller the range errors of corrected solutions are, as receivers' data sheets have it.
_RANGE_ERROR_RATIO: dict[FixKind, float] = {"dgps": 0.3, "rtk_float": 0.1, "rtk_fixed": 0.005}


def fix_from_solution(
    solution: Solution, stamp: Stamp, utc_ns: int | None, options: GpsOptions
) -> GpsFix:
    """The message; without a position it says no more than that the receiver is alive."""
    alive = GpsFix(
        stamp_ns=max(0, stamp.stamp_ns),
        fix="none",
        satellites=solution.satellites,
        utc_ns=utc_ns if utc_ns is None or utc_ns >= 0 else None,
        stamp_uncertainty_ns=stamp.uncertainty_ns,
    )
    kind = fix_kind(solution)
    if kind == "none" or solution.position_deg is None:
        return alive
    latitude_deg, longitude_deg = solution.position_deg
    velocity_mps = velocity_enu_mps(solution, options.standstill_mps)
    error_m = _RANGE_ERROR_RATIO.get(kind, 1) * options.user_range_error_m
    return msgspec.structs.replace(
        alive,
        fix=kind,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        altitude_m=altitude_m(solution, options.geoid_separation_m),
        velocity_enu_mps=velocity_mps,
        course_deg=course_deg(solution, velocity_mps, options.standstill_mps),
        horizontal_accuracy_m=_accuracy_m(solution.horizontal_accuracy_m, solution.hdop, error_m),
        vertical_accuracy_m=_accuracy_m(solution.vertical_accuracy_m, solution.vdop, error_m),
    )


def fix_kind(solution: Solution) -> FixKind:
    """Of a solution whose quality and dimensions different sentences told, or nobody."""
    if solution.position_deg is None or solution.fix == "none":
        return "none"
    if solution.fix is None:  # a bare position; receivers without a fix state no sane accuracy
        return "none" if solution.horizontal_accuracy_m is None else "3d"
    if solution.dimensions == 2 and solution.fix == "3d":
        return "2d"
    return solution.fix


def altitude_m(solution: Solution, separation_m: float | None) -> float:
    """Above the ellipsoid; as if geoid and ellipsoid were one where nobody says how they differ."""
    if solution.altitude_m is not None:
        return solution.altitude_m
    if solution.geoid_separation_m is not None:
        separation_m = solution.geoid_separation_m
    return (solution.altitude_msl_m or 0.0) + (separation_m or 0.0)


def velocity_enu_mps(
    solution: Solution, standstill_mps: float
) -> tuple[float, float, float] | None:
    """East, north, up; NMEA tells no climb, which is taken for zero."""
    if solution.velocity_enu_mps is not None:
        return solution.velocity_enu_mps
    if solution.speed_mps is None:
        return None
    if solution.course_deg is None:
        return (0.0, 0.0, 0.0) if solution.speed_mps <= standstill_mps else None
    course_rad = math.radians(solution.course_deg)
    speed_mps = solution.speed_mps
    return speed_mps * math.sin(course_rad), speed_mps * math.cos(course_rad), 0.0


def course_deg(
    solution: Solution, velocity_mps: tuple[float, float, float] | None, standstill_mps: float
) -> float | None:
    """Direction of motion; at standstill receivers repeat the last one, or report noise."""
    if velocity_mps is None:
        return solution.course_deg if solution.speed_mps is None else None
    east_mps, north_mps, _ = velocity_mps
    if math.hypot(east_mps, north_mps) <= standstill_mps:
        return None
    return math.degrees(math.atan2(east_mps, north_mps)) % 360


def _accuracy_m(stated_m: float | None, dop: float | None, range_error_m: float) -> float | None:
    if stated_m is not None:
        return stated_m
    return None if dop is None else dop * range_error_m
