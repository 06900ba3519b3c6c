"""Finds a LiDAR's pose in a camera from points seen by both, such as the holes of a board."""

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, RigidTransform

Floats = npt.NDArray[np.float64]

MIN_POINTS = 8
"""Two boards of four holes; one board alone leaves its tilt to the noise."""
MAX_RMS_PX = 5.0
MAX_SD_DEG, MAX_SD_M = 0.3, 0.05
_OUTLIER_FACTOR, _OUTLIER_FLOOR_PX = 4.0, 2.0
_MIRRORED_GAIN = 5.0
_STEPS = np.array([1e-5] * 3 + [1e-4] * 3)
_MIRROR_Y = np.diag([1.0, -1.0, 1.0])


class PointFit(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A pose from corresponding points; axes are the camera's."""

    camera_from_lidar: RigidTransform
    sd_deg: Floats
    sd_m: Floats
    errors_px: Floats
    """(N, 2) seen minus projected, of the points used."""
    is_used: npt.NDArray[np.bool_]
    """(given,): False where a point did not fit the others."""

    @property
    def rms_px(self) -> float:
        return float(np.sqrt((self.errors_px**2).sum(axis=1).mean()))


def fit_points(points_lidar_m: Floats, pixels: Floats, camera: CameraModel) -> PointFit:
    """The pose that puts LiDAR points (N, 3) on pixels (N, 2), a point here and there left out.

    Raises CalibrationError where the points do not determine it or their axes are left-handed.
    """
    if len(points_lidar_m) < MIN_POINTS:
        problem = f"expected {MIN_POINTS} points seen by both, got {len(points_lidar_m)}"
        raise CalibrationError("camera-LiDAR", problem, "show the board at more places")
    is_used = np.ones(len(pixels), dtype=bool)
    pose = _pose(points_lidar_m, pixels, camera)
    for _ in range(len(pixels) // 4):
        errors = np.linalg.norm(_errors(pose, points_lidar_m, pixels, camera), axis=1)
        errors = np.where(is_used, errors, -1)
        limit = max(_OUTLIER_FACTOR * float(np.median(errors[is_used])), _OUTLIER_FLOOR_PX)
        if errors.max() <= limit or is_used.sum() <= MIN_POINTS:
            break
        is_used[int(np.argmax(errors))] = False
        pose = _pose(points_lidar_m[is_used], pixels[is_used], camera)
    fit = _with_uncertainty(pose, points_lidar_m[is_used], pixels[is_used], camera, is_used)
    _check(fit, points_lidar_m[is_used], pixels[is_used], camera)
    return fit


def _pose(points_m: Floats, pixels: Floats, camera: CameraModel) -> RigidTransform:
    rays = camera.rays(pixels)
    is_ahead = np.isfinite(rays).all(axis=1) & (rays[:, 2] > 0.05)
    seen = points_m[is_ahead], rays[is_ahead, :2] / rays[is_ahead, 2:], np.eye(3), np.zeros(5)
    try:
        _, turn, shift = cv2.solvePnP(*seen, flags=cv2.SOLVEPNP_SQPNP)
        turn, shift = cv2.solvePnPRefineLM(*seen, turn, shift)
    except cv2.error as error:
        raise _no_pose() from error
    if not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        raise _no_pose()
    return RigidTransform(np.asarray(cv2.Rodrigues(turn)[0]), np.ravel(shift))


def _no_pose() -> CalibrationError:
    problem = "expected points that determine a pose, got some in one place, on a line or mixed up"
    return CalibrationError("camera-LiDAR", problem, "spread them in depth and over the image")


def _with_uncertainty(
    pose: RigidTransform,
    points_m: Floats,
    pixels: Floats,
    camera: CameraModel,
    is_used: npt.NDArray[np.bool_],
) -> PointFit:
    errors = _errors(pose, points_m, pixels, camera)
    columns = []
    for axis, step in enumerate(_STEPS):
        moved = _moved(pose, np.eye(6)[axis] * step)
        columns.append((errors - _errors(moved, points_m, pixels, camera)).ravel() / step)
    jacobian = np.stack(columns, axis=1)
    freedom = max(errors.size - 6, 1)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * float((errors**2).sum()) / freedom
    sd = np.sqrt(np.diag(covariance))
    return PointFit(
        camera_from_lidar=pose,
        sd_deg=np.degrees(sd[:3]),
        sd_m=sd[3:],
        errors_px=errors,
        is_used=is_used,
    )


def _errors(pose: RigidTransform, points_m: Floats, pixels: Floats, camera: CameraModel) -> Floats:
    """(N, 2); a point the camera cannot see is as far off as the image is large."""
    errors = pixels - camera.project(pose.apply(points_m))
    return np.nan_to_num(errors, nan=float(camera.width))


def _moved(pose: RigidTransform, step: Floats) -> RigidTransform:
    turn = RigidTransform.from_rotation_vector(step[:3])
    return RigidTransform(turn.rotation @ pose.rotation, pose.translation_m + step[3:])


def _check(fit: PointFit, points_m: Floats, pixels: Floats, camera: CameraModel) -> None:
    if not fit.rms_px <= MAX_RMS_PX:
        problem = f"expected {MAX_RMS_PX:g} px rms at most, got {fit.rms_px:.1f}"
        way_out = "check the order of the points and which image belongs to which sweep"
        if (axis := _mirrored_axis(fit.rms_px, points_m, pixels, camera)) is not None:
            way_out = f"the LiDAR's axes are left-handed: turn the sign of {axis}"
        raise CalibrationError("camera-LiDAR", problem, way_out)
    if fit.sd_deg.max() > MAX_SD_DEG or fit.sd_m.max() > MAX_SD_M:
        got = f"{fit.sd_deg.max():.2f} degrees and {fit.sd_m.max():.3f} m"
        problem = f"expected a pose certain to {MAX_SD_DEG} degrees and {MAX_SD_M} m, got {got}"
        raise CalibrationError("camera-LiDAR", problem, "show the board nearer and at more places")


def _mirrored_axis(
    rms_px: float, points_m: Floats, pixels: Floats, camera: CameraModel
) -> str | None:
    """The axis whose mirror image fits: any one does, y is the one drivers get wrong."""
    mirrored = points_m @ _MIRROR_Y
    errors = _errors(_pose(mirrored, pixels, camera), mirrored, pixels, camera)
    rms_mirrored = float(np.sqrt((errors**2).sum(axis=1).mean()))
    return "y" if rms_mirrored * _MIRRORED_GAIN < rms_px else None
