"""Reads KITTI's calibration files and scans: where its sensors sit, in our frames.

Two layouts: the object benchmark (one file per frame: P2, R0_rect, Tr_velo_to_cam) and the raw
recordings (calib_cam_to_cam.txt and two more per day). Pictures of both are rectified.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import DatasetError
from fusion_rt.geometry import Matrix, Pinhole, RigidTransform

BASE_FROM_LIDAR = RigidTransform(np.eye(3), np.array([0.76, 0.0, 1.73]))
"""KITTI has no frame on the ground. Its drawing of the car puts the laser 1.73 m above the road and
0.81 m ahead of the IMU, which is 0.05 m behind the rear axle; that it hangs level is assumed.

Planes fitted to the road of two frames lie 1.75 and 1.76 m below it, and it tilts by 0.7 and 1.1
degrees against them. Nothing in the data tells where the axle is: 0.76 m rests on the drawing."""
CAMERAS = (0, 1, 2, 3)
"""0 and 1 grey, 2 and 3 colour; the even ones left."""


class KittiCalibration(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where KITTI's sensors sit."""

    projections: Mapping[int, Matrix]
    """(3, 4) by camera: pixels from the rectified frame of camera 0."""
    rectified_from_lidar: RigidTransform
    """Of camera 0."""
    lidar_from_imu: RigidTransform | None = None

    def camera_from_lidar(self, camera: int) -> RigidTransform:
        """To the rectified optical frame of one camera."""
        k, shift = self.projections[camera][:, :3], self.projections[camera][:, 3]
        offset_m = np.asarray(np.linalg.solve(k, shift), np.float64)
        return RigidTransform(np.eye(3), offset_m) @ self.rectified_from_lidar

    def pinhole(self, camera: int, width: int, height: int) -> Pinhole:
        """Of a rectified picture of this size."""
        k = self.projections[camera]
        return Pinhole(
            width=width,
            height=height,
            fx_px=float(k[0, 0]),
            fy_px=float(k[1, 1]),
            cx_px=float(k[0, 2]),
            cy_px=float(k[1, 2]),
        )

    def base_from_camera(self, camera: int) -> RigidTransform:
        return BASE_FROM_LIDAR @ self.camera_from_lidar(camera).inverse()


def read_object_calibration(path: Path) -> KittiCalibration:
    """From one frame's file of the object benchmark; raises DatasetError."""
    table = read_table(path)
    rectified = RigidTransform(_matrix(path, table, "R0_rect", 3), np.zeros(3))
    return KittiCalibration(
        projections={
            n: _matrix(path, table, f"P{n}", 4) for n in CAMERAS if n == 2 or f"P{n}" in table
        },
        rectified_from_lidar=rectified @ _transform(path, table, "Tr_velo_to_cam"),
        lidar_from_imu=(
            _transform(path, table, "Tr_imu_to_velo") if "Tr_imu_to_velo" in table else None
        ),
    )


def read_raw_calibration(day: Path) -> KittiCalibration:
    """From the three files of a day of raw recordings; raises DatasetError."""
    cameras = day / "calib_cam_to_cam.txt"
    table = read_table(cameras)
    rectified = RigidTransform(_matrix(cameras, table, "R_rect_00", 3), np.zeros(3))
    imu = day / "calib_imu_to_velo.txt"
    return KittiCalibration(
        projections={
            n: _matrix(cameras, table, f"P_rect_0{n}", 4)
            for n in CAMERAS
            if f"P_rect_0{n}" in table
        },
        rectified_from_lidar=rectified @ _turned_and_shifted(day / "calib_velo_to_cam.txt"),
        lidar_from_imu=_turned_and_shifted(imu) if imu.exists() else None,
    )


def read_table(path: Path) -> dict[str, list[float]]:
    """`KEY: number number ...` lines; text values, such as dates, are left out."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(str(path), f"expected a calibration file; {error}") from error
    table: dict[str, list[float]] = {}
    for line in lines:
        key, _, values = line.partition(":")
        try:
            table[key.strip()] = [float(value) for value in values.split()]
        except ValueError:
            continue
    return table


def read_scan(path: Path) -> npt.NDArray[np.float32]:
    """(N, 4): x, y, z in metres, x forward and y left, and reflectance 0..1."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(str(path), f"expected a scan; {error.strerror}") from error
    if len(raw) % 16 or not raw:
        raise DatasetError(str(path), f"expected 16 bytes a point, got {len(raw)} in all")
    return np.frombuffer(raw, np.float32).reshape(-1, 4)


def _turned_and_shifted(path: Path) -> RigidTransform:
    table = read_table(path)
    return _rigid(path, _matrix(path, table, "R", 3), _values(path, table, "T", 3))


def _transform(path: Path, table: Mapping[str, Sequence[float]], key: str) -> RigidTransform:
    matrix = _matrix(path, table, key, 4)
    return _rigid(path, matrix[:, :3], matrix[:, 3])


def _rigid(path: Path, rotation: Matrix, translation_m: Matrix) -> RigidTransform:
    try:
        return RigidTransform(rotation, translation_m)
    except ValueError as error:
        raise DatasetError(str(path), str(error)) from error


def _matrix(path: Path, table: Mapping[str, Sequence[float]], key: str, columns: int) -> Matrix:
    """(3, columns)."""
    return _values(path, table, key, 3 * columns).reshape(3, columns)


def _values(path: Path, table: Mapping[str, Sequence[float]], key: str, count: int) -> Matrix:
    values = table.get(key, [])
    if len(values) != count or not np.isfinite(values).all():
        raise DatasetError(str(path), f"expected {key} with {count} numbers, got {len(values)}")
    return np.array(values)
