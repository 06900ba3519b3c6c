"""What the fusion network is told of our own motion: GPS fixes -> `ego`, also in training."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import GpsFix

EGO_COLUMNS = (
    "has_velocity",
    "speed",  # 10 m/s
    "yaw_rate",  # 0.5 rad/s
    "acceleration",  # 3 m/s2
    "has_course",
    "course_sin",
    "course_cos",
    "has_accuracy",
    "accuracy",  # 10 m
    "fix_age",  # s
    "satellites",  # 14
    "has_position",
)
"""Names and units of the first values; the rest of EGO_SIZE is zero, for later."""
EGO_SIZE = 16
_HISTORY_NS = NS_PER_S
_SLOWEST_MPS = 0.5
"""Below this the direction of a velocity is noise."""
_NO_SOLUTION = ("none", "dead_reckoned")


def ego_vector(fixes: Sequence[GpsFix], anchor_ns: int) -> npt.NDArray[np.float32]:
    """(1, EGO_SIZE), each value bounded to -5..5, from the last fixes, oldest first.

    Only those of the second before `anchor_ns` count. All zero without any.
    """
    values = dict.fromkeys(EGO_COLUMNS, 0.0)
    recent = [fix for fix in fixes if 0 <= anchor_ns - fix.stamp_ns <= _HISTORY_NS]
    if recent:
        values["fix_age"] = (anchor_ns - recent[-1].stamp_ns) / NS_PER_S
        values |= _solution_values(recent[-1])
        values |= _motion_values([fix for fix in recent if fix.velocity_enu_mps is not None])
    vector = np.zeros((1, EGO_SIZE), np.float32)
    vector[0, : len(EGO_COLUMNS)] = np.clip(list(values.values()), -5, 5)
    return vector


def _solution_values(fix: GpsFix) -> dict[str, float]:
    values = {"has_position": float(fix.fix not in _NO_SOLUTION)}
    if fix.horizontal_accuracy_m is not None:
        values |= {"has_accuracy": 1.0, "accuracy": fix.horizontal_accuracy_m / 10}
    if fix.satellites is not None:
        values["satellites"] = fix.satellites / 14
    return values


def _motion_values(fixes: list[GpsFix]) -> dict[str, float]:
    """From Doppler velocities: positions are far too noisy to differentiate."""
    if not fixes:
        return {}
    speeds = [_speed_mps(fix) for fix in fixes]
    values = {"has_velocity": 1.0, "speed": speeds[-1] / 10}
    lasted_s = (fixes[-1].stamp_ns - fixes[0].stamp_ns) / NS_PER_S
    if lasted_s > 0:
        values["acceleration"] = (speeds[-1] - speeds[0]) / lasted_s / 3
    if min(speeds) >= _SLOWEST_MPS:
        courses = [_course_rad(fix) for fix in fixes]
        values |= {
            "has_course": 1.0,
            "course_sin": math.sin(courses[-1]),
            "course_cos": math.cos(courses[-1]),
        }
        turned = sum(
            math.remainder(after - before, math.tau) for before, after in pairwise(courses)
        )
        if lasted_s > 0:
            values["yaw_rate"] = turned / lasted_s / 0.5
    return values


def _speed_mps(fix: GpsFix) -> float:
    east, north, _ = fix.velocity_enu_mps or (0.0, 0.0, 0.0)
    return math.hypot(east, north)


def _course_rad(fix: GpsFix) -> float:
    """Anticlockwise from east."""
    east, north, _ = fix.velocity_enu_mps or (0.0, 0.0, 0.0)
    return math.atan2(north, east)
