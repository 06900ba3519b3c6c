"""Sync step, for GPS: the pose at a reference time from the fixes around it.

Pure values. Coordinates are WGS84 degrees and metres; heading is in degrees clockwise from north.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from fusion_rt.clock import NS_PER_S

Vector = tuple[float, float, float]
SEMI_MAJOR_M = 6_378_137.0
ECCENTRICITY_2 = 6.694379990141e-3
"""First eccentricity squared of the WGS84 ellipsoid."""


class Pose(msgspec.Struct, frozen=True):
    """Where something was, and if known how it moved and which way it faced."""

    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    velocity_enu_mps: Vector | None = None
    heading_deg: float | None = None


class PoseAt(msgspec.Struct, frozen=True):
    """A pose at a time asked for, and how it was come by."""

    pose: Pose
    kind: Literal["exact", "interpolated", "extrapolated", "held"]
    by_ns: int
    """Distance to the nearest fix."""


def pose_at(
    fixes: Sequence[tuple[int, Pose]], at_ns: int, widest_gap_ns: int, limit_ns: int
) -> PoseAt | None:
    """The pose at `at_ns` from `fixes` (time, pose), sorted by time.

    Two fixes around it at most `widest_gap_ns` apart are interpolated. Otherwise the nearest one
    inside `limit_ns` is extrapolated along its velocity, or held if it has none. None: too far.
    """
    before = [fix for fix in fixes if fix[0] <= at_ns]
    after = [fix for fix in fixes if fix[0] > at_ns]
    if before and before[-1][0] == at_ns:
        return PoseAt(before[-1][1], "exact", 0)
    if before and after and after[0][0] - before[-1][0] <= widest_gap_ns:
        pose = interpolate_pose(before[-1], after[0], at_ns)
        return PoseAt(pose, "interpolated", min(at_ns - before[-1][0], after[0][0] - at_ns))
    nearest = min([*before[-1:], *after[:1]], key=lambda fix: abs(fix[0] - at_ns), default=None)
    if nearest is None or abs(at_ns - nearest[0]) > limit_ns:
        return None
    by_ns = at_ns - nearest[0]
    moved = extrapolate_pose(nearest[1], by_ns)
    return PoseAt(moved, "held" if moved is nearest[1] else "extrapolated", abs(by_ns))


def interpolate_pose(before: tuple[int, Pose], after: tuple[int, Pose], at_ns: int) -> Pose:
    """Between two fixes: a cubic through both positions and velocities, a line without those."""
    (begin_ns, first), (end_ns, last) = before, after
    share = (at_ns - begin_ns) / (end_ns - begin_ns)
    way_m = _metres_between(first, last)
    if first.velocity_enu_mps is None or last.velocity_enu_mps is None:
        moved_m = _scaled(way_m, share)
        velocity = first.velocity_enu_mps or last.velocity_enu_mps
    else:
        seconds = (end_ns - begin_ns) / NS_PER_S
        moved_m = _cubic(way_m, first.velocity_enu_mps, last.velocity_enu_mps, seconds, share)
        velocity = _mixed(first.velocity_enu_mps, last.velocity_enu_mps, share)
    heading = _heading_between(first.heading_deg, last.heading_deg, share)
    return _displaced(first, moved_m, velocity, heading)


def extrapolate_pose(pose: Pose, by_ns: int) -> Pose:
    """Along the velocity, forward or back; the pose itself where the velocity is unknown."""
    if pose.velocity_enu_mps is None:
        return pose
    moved_m = _scaled(pose.velocity_enu_mps, by_ns / NS_PER_S)
    return _displaced(pose, moved_m, pose.velocity_enu_mps, pose.heading_deg)


def _heading_between(first_deg: float | None, last_deg: float | None, share: float) -> float | None:
    """The short way round the circle; one known heading stands for both."""
    if first_deg is None or last_deg is None:
        return last_deg if first_deg is None else first_deg
    turn_deg = (last_deg - first_deg + 180) % 360 - 180
    return (first_deg + share * turn_deg) % 360


def _cubic(way_m: Vector, start_mps: Vector, end_mps: Vector, seconds: float, s: float) -> Vector:
    """Cubic Hermite from the origin to `way_m`."""
    at_end, from_start = s * s * (3 - 2 * s), s * (1 - s) ** 2
    into_end = s * s * (s - 1)
    east, north, up = (
        at_end * w + seconds * (from_start * v0 + into_end * v1)
        for w, v0, v1 in zip(way_m, start_mps, end_mps, strict=True)
    )
    return (east, north, up)


def _scaled(vector: Vector, factor: float) -> Vector:
    return (vector[0] * factor, vector[1] * factor, vector[2] * factor)


def _mixed(first: Vector, last: Vector, share: float) -> Vector:
    east, north, up = (a + share * (b - a) for a, b in zip(first, last, strict=True))
    return (east, north, up)


def _metres_per_degree(latitude_deg: float) -> tuple[float, float]:
    """East and north, from the ellipsoid's radii of curvature."""
    sine, cosine = math.sin(math.radians(latitude_deg)), math.cos(math.radians(latitude_deg))
    flat = 1 - ECCENTRICITY_2 * sine * sine
    east = math.radians(1) * cosine * SEMI_MAJOR_M / math.sqrt(flat)
    north = math.radians(1) * SEMI_MAJOR_M * (1 - ECCENTRICITY_2) / flat**1.5
    return max(east, 1e-6), north  # at a pole any longitude is as good as another


def _metres_between(first: Pose, last: Pose) -> Vector:
    east, north = _metres_per_degree(first.latitude_deg)
    turn_deg = (last.longitude_deg - first.longitude_deg + 180) % 360 - 180
    rise_deg = last.latitude_deg - first.latitude_deg
    return (turn_deg * east, rise_deg * north, last.altitude_m - first.altitude_m)


def _displaced(pose: Pose, by_m: Vector, velocity: Vector | None, heading: float | None) -> Pose:
    east, north = _metres_per_degree(pose.latitude_deg)
    longitude_deg = (pose.longitude_deg + by_m[0] / east + 180) % 360 - 180
    latitude_deg = pose.latitude_deg + by_m[1] / north
    return Pose(latitude_deg, longitude_deg, pose.altitude_m + by_m[2], velocity, heading)
