"""Our own motion, for fuse: what the fixes say of speed and turn, and where that puts us. Pure.

Fixes come in with their times; everything is computed for a time asked for. Without fixes the last
known motion holds for LIMIT_NS, straight on, and is flagged by its age; after that nothing is said.
"""

import copy
import math
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np

from fusion_rt.arrays import Floats
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.gnss.earth import ecef_from_geodetic, enu_from_ecef
from fusion_rt.messages import GpsFix, WorldPose
from fusion_rt.model.ego import EGO_COLUMNS, ego_vector
from fusion_rt.model.lift import shot_from_anchor
from fusion_rt.sync.pose import Pose, pose_at

LIMIT_NS = 3 * NS_PER_S
_WIDEST_GAP_NS = 300 * NS_PER_MS
_REMEMBERED = 64
_HISTORY_NS = NS_PER_S
_SLOWEST_MPS = 0.5
"""Below this a velocity has no direction worth having."""
_HAS_VELOCITY, _SPEED, _YAW_RATE = (
    EGO_COLUMNS.index(name) for name in ("has_velocity", "speed", "yaw_rate")
)
_SPEED_MPS, _YAW_RADPS = 10.0, 0.5  # units of those columns
_VELOCITY_NOISE_MPS = 0.08
"""Of a receiver's Doppler velocity, one standard deviation per axis."""


class Twist(msgspec.Struct, frozen=True):
    """Motion of `base`, which sits on the rear axle: straight ahead, and turning left."""

    speed_mps: float = 0.0
    yaw_rate_radps: float = 0.0

    @property
    def linear_mps(self) -> tuple[float, float, float]:
        return (self.speed_mps, 0.0, 0.0)

    @property
    def angular_radps(self) -> tuple[float, float, float]:
        return (0.0, 0.0, self.yaw_rate_radps)


class EgoMotion:
    """Remembers the last fixes. `antenna_m` is where the antenna sits in `base`."""

    def __init__(self, antenna_m: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        self.shift_ns = 0
        """Added to the fixes' stamps: what the synchronizer knows of the receiver's clock."""
        self._antenna_m = np.asarray(antenna_m, np.float64)
        self._fixes: deque[GpsFix] = deque(maxlen=_REMEMBERED)
        self._origin: tuple[float, float, float] | None = None
        self._heading_deg: float | None = None
        self._poses: deque[tuple[int, Pose]] = deque(maxlen=_REMEMBERED)

    def snapshot(self) -> "EgoMotion":
        """What is known now, for another thread: it learns nothing more."""
        known = copy.copy(self)
        known._fixes, known._poses = self._fixes.copy(), self._poses.copy()
        return known

    def add(self, fix: GpsFix) -> None:
        """Take in a fix; one that is older than the last begins anew, its clock stepped back."""
        if self._fixes and fix.stamp_ns <= self._fixes[-1].stamp_ns:
            self._fixes.clear()
            self._poses.clear()
        self._fixes.append(fix)
        if fix.fix == "none":
            return
        if self._origin is None:
            self._origin = (fix.latitude_deg, fix.longitude_deg, fix.altitude_m)
        if (course_deg := _course_deg(fix)) is not None:
            self._heading_deg = course_deg
        pose = Pose(
            fix.latitude_deg,
            fix.longitude_deg,
            fix.altitude_m,
            fix.velocity_enu_mps,
            self._heading_deg,
        )
        self._poses.append((fix.stamp_ns, pose))

    def vector(self, anchor_ns: int) -> Floats:
        """(1, EGO_SIZE), what the fusion graph is told."""
        at_ns = anchor_ns - self.shift_ns
        return ego_vector([fix for fix in self._fixes if fix.stamp_ns <= at_ns], at_ns)

    def twist(self, at_ns: int) -> Twist | None:
        """The motion at that time; None when it is not known, or too long ago."""
        at_ns -= self.shift_ns
        known = [fix for fix in self._fixes if fix.stamp_ns <= at_ns]
        if not known or at_ns - known[-1].stamp_ns > LIMIT_NS:
            return None
        vector = ego_vector(known, min(at_ns, known[-1].stamp_ns + _HISTORY_NS))[0]
        if not vector[_HAS_VELOCITY]:
            return None
        speed_mps = float(vector[_SPEED]) * _SPEED_MPS
        fresh = [fix for fix in known if known[-1].stamp_ns - fix.stamp_ns <= _HISTORY_NS]
        lasted_s = (fresh[-1].stamp_ns - fresh[0].stamp_ns) / NS_PER_S
        measured = float(vector[_YAW_RATE]) * _YAW_RADPS
        return Twist(speed_mps, _believed_yaw_rate(measured, speed_mps, lasted_s))

    def later_from_earlier(self, earlier_ns: int, later_ns: int) -> RigidTransform:
        """`base` at one time to `base` at another; the identity where the motion is not known."""
        twist = self.twist(max(earlier_ns, later_ns))
        if twist is None or earlier_ns == later_ns:
            return RigidTransform.identity()
        return shot_from_anchor(twist.speed_mps, twist.yaw_rate_radps, later_ns, earlier_ns)

    def world_pose(self, at_ns: int) -> WorldPose | None:
        """Where `base` was at that time; None before the first fix that knows where it heads."""
        at_ns -= self.shift_ns
        found = pose_at(list(self._poses), at_ns, _WIDEST_GAP_NS, LIMIT_NS)
        if found is None or found.pose.heading_deg is None or self._origin is None:
            return None
        yaw_rad = math.radians(90 - found.pose.heading_deg)
        antenna_m = RigidTransform.from_yaw(yaw_rad).rotation @ self._antenna_m
        x_m, y_m, z_m = np.asarray(_enu(found.pose, self._origin)) - antenna_m
        return WorldPose(
            x_m=float(x_m),
            y_m=float(y_m),
            z_m=float(z_m),
            yaw_rad=math.remainder(yaw_rad, math.tau),
            quality=found.kind,
            from_fix_ns=found.by_ns,
            origin_deg_m=self._origin,
        )


def _believed_yaw_rate(measured_radps: float, speed_mps: float, lasted_s: float) -> float:
    """The measured one, shrunk to 0 as far as noise explains it (James and Stein).

    At walking pace the directions of two velocities differ by degrees while we go straight on, and
    a sweep de-skewed by that is bent by decimetres.
    """
    if measured_radps == 0 or speed_mps <= 0 or lasted_s <= 0:
        return 0.0
    noise_radps = math.sqrt(2) * _VELOCITY_NOISE_MPS / speed_mps / lasted_s
    return measured_radps * max(0.0, 1 - (2 * noise_radps / measured_radps) ** 2)


def _course_deg(fix: GpsFix) -> float | None:
    """Clockwise from north."""
    if fix.velocity_enu_mps is not None:
        east, north, _ = fix.velocity_enu_mps
        if math.hypot(east, north) >= _SLOWEST_MPS:
            return math.degrees(math.atan2(east, north)) % 360
        return None
    return fix.course_deg


def _enu(pose: Pose, origin: tuple[float, float, float]) -> tuple[float, float, float]:
    here = ecef_from_geodetic(pose.latitude_deg, pose.longitude_deg, pose.altitude_m)
    there = ecef_from_geodetic(*origin)
    x, y, z = (a - b for a, b in zip(here, there, strict=True))
    return enu_from_ecef((x, y, z), origin[0], origin[1])
