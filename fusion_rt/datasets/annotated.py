"""A frame of a public data set with its boxes, in our frames and our classes."""

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.geometry import Matrix, Pinhole, RigidTransform


class AnnotatedBox(msgspec.Struct, frozen=True, eq=False):
    """One road user, as annotators saw it."""

    kind: str
    """The data set's own name of its class."""
    class_name: str | None
    """Ours (fusion_rt.sim.models.CLASSES); None for what we have no class for."""
    box: Matrix
    """(9,) in `base` at the sweep's stamp: messages.BOX_COLUMNS, velocity NaN where unknown."""
    points: int
    """Of the sweep, inside the box."""
    shown: float
    """About what share of it the camera shows."""


class AnnotatedFrame(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One sweep and the front camera's picture nearest to it."""

    name: str
    stamp_ns: int
    """Of the sweep; files without times count 0.1 s per frame."""
    camera_ns: int
    image: Path
    pinhole: Pinhole
    base_from_camera: RigidTransform
    base_from_lidar: RigidTransform
    points: npt.NDArray[np.float32]
    """(N, 5) as messages.LidarSweep, in the sensor's own axes."""
    boxes: tuple[AnnotatedBox, ...]
    world_from_base: RigidTransform | None = None
    """At `stamp_ns`."""
    world_from_base_at_camera: RigidTransform | None = None


def count_points(
    points: npt.NDArray[np.float32], base_from_lidar: RigidTransform, box: Matrix
) -> int:
    """How many points lie inside a box (9,) in `base`."""
    local = RigidTransform.from_yaw(float(box[6]), box[:3]).inverse() @ base_from_lidar
    inside = np.abs(local.apply(points[:, :3])) <= box[3:6] / 2
    return int(inside.all(axis=1).sum())


def sweep_of(scan: npt.NDArray[np.float32], intensity_max: float) -> npt.NDArray[np.float32]:
    """(N, 5) as messages.LidarSweep of a scan that starts x, y, z, intensity; without times."""
    points = np.zeros((len(scan), 5), np.float32)
    points[:, :3] = scan[:, :3]
    points[:, 3] = np.clip(scan[:, 3] / np.float32(intensity_max), 0, 1)
    return points
