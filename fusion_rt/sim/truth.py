"""What is true at one time: every object's box, the rig's pose, where sirens are to be heard."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.sim.audio import SimulatedArray
from fusion_rt.sim.models import CLASSES, middles_m, models, sizes_m
from fusion_rt.sim.world import Objects, World

RANGE_M = 130.0
"""Objects farther from the rig are left out; no sensor reaches them."""
_PIXELS_SEEN = 30
_SHARE_SEEN = 0.15
_POINTS_SEEN = 3


class Truth(msgspec.Struct, frozen=True, eq=False):
    """The world as a perfect rig would report it; one row per object within RANGE_M."""

    t_ns: int
    """From the start of the drive."""
    ids: npt.NDArray[np.int32]
    class_ids: npt.NDArray[np.uint8]
    """Into CLASSES."""
    boxes: npt.NDArray[np.float32]
    """(N, 9), columns as messages.BOX_COLUMNS: `base` frame, velocity over ground in its axes."""
    ego: tuple[float, float, float, float, float]
    """x_m, y_m, yaw_rad of `base` in the city frame, v_mps, yaw rate in rad/s."""
    sirens: tuple[tuple[int, float, float, float], ...]
    """Object's id, bearing_rad in `base`, distance_m, level_db at the array, of each one heard."""

    def row(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "t_ns": self.t_ns,
            "ego": [round(value, 6) for value in self.ego],
            "ids": self.ids.tolist(),
            "classes": [CLASSES[number] for number in self.class_ids.tolist()],
            "boxes": [[round(v, 4) for v in box] for box in self.boxes.tolist()],
            "sirens": [[n, *(round(v, 4) for v in rest)] for n, *rest in self.sirens],
        }


def truth_at(world: World, t_ns: int, array: SimulatedArray | None = None) -> Truth:
    """The truth of one time; without an array nothing is said of sirens."""
    ego = world.ego(t_ns)
    objects = world.objects(t_ns).within(ego.pose.x_m, ego.pose.y_m, RANGE_M)
    heard = [] if array is None else array.bearings(t_ns)
    return Truth(
        t_ns=t_ns,
        ids=objects.ids,
        class_ids=_class_numbers()[objects.models],
        boxes=_boxes(objects, ego.pose.x_m, ego.pose.y_m, ego.pose.yaw_rad),
        ego=(ego.pose.x_m, ego.pose.y_m, ego.pose.yaw_rad, ego.v_mps, ego.yaw_rate),
        sirens=tuple((b.object_id, b.direction_rad, b.distance_m, b.level_db) for b in heard),
    )


def is_seen_by_camera(counts: tuple[int, ...]) -> bool:
    """Whether so many pixels shown, of so many if alone, are enough to ask a detector for it."""
    shown, alone = counts
    return shown >= _PIXELS_SEEN and shown >= _SHARE_SEEN * alone


def is_seen_by_lidar(counts: tuple[int, ...]) -> bool:
    """The same of LiDAR points."""
    return counts[0] >= _POINTS_SEEN


def seen_ids(
    camera: Mapping[int, tuple[int, ...]], lidar: Mapping[int, tuple[int, ...]]
) -> set[int]:
    """Objects that at least one of the two sees: no other can be missed."""
    by_camera = {number for number, counts in camera.items() if is_seen_by_camera(counts)}
    return by_camera | {number for number, counts in lidar.items() if is_seen_by_lidar(counts)}


def _boxes(objects: Objects, x_m: float, y_m: float, yaw_rad: float) -> npt.NDArray[np.float32]:
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    own_cos, own_sin = np.cos(objects.yaws_rad), np.sin(objects.yaws_rad)
    middle, size = middles_m()[objects.models], sizes_m()[objects.models]
    dx = objects.positions_m[:, 0] + own_cos * middle[:, 0] - own_sin * middle[:, 1] - x_m
    dy = objects.positions_m[:, 1] + own_sin * middle[:, 0] + own_cos * middle[:, 1] - y_m
    vx, vy = objects.velocities_mps.T
    yaw = np.remainder(objects.yaws_rad - yaw_rad + math.pi, math.tau) - math.pi
    columns = [
        *(cos * dx + sin * dy, cos * dy - sin * dx, middle[:, 2]),
        *size.T,
        *(yaw, cos * vx + sin * vy, cos * vy - sin * vx),
    ]
    return np.stack(columns, axis=-1).astype(np.float32).reshape(-1, 9)


def _class_numbers() -> npt.NDArray[np.uint8]:
    return np.array([model.class_id for model in models()], np.uint8)
