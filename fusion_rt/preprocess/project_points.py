"""LiDAR points -> camera pixels: painting points, depth hints, calibration pictures (CPU)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_rt import _kernels
from fusion_rt.arrays import AnyArray, Floats, array_text
from fusion_rt.errors import ArrayError

NEAR_M = 0.05

# Layout shared with ProjectParams in kernels/project_points.cuh.
PROJECT_PARAMS = np.dtype(
    [
        ("camera_from_points", np.float32, (3, 4)),
        ("focal", np.float32, 2),
        ("centre", np.float32, 2),
        ("distortion", np.float32, 5),
        ("max_radius_squared", np.float32),
        ("near_m", np.float32),
        ("size", np.float32, 2),
    ]
)


@dataclass(frozen=True)
class Lens:
    """A pinhole camera with OpenCV's k1 k2 p1 p2 k3; pixels, whole numbers at pixel centres."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.0)


def project_params(lens: Lens, camera_from_points: AnyArray) -> AnyArray:
    """The kernels' parameter struct; (4, 4) `camera_from_points`, metres."""
    if camera_from_points.shape != (4, 4) or len(lens.distortion) != 5:
        expected = "a (4, 4) transform and 5 distortion coefficients"
        got = f"{camera_from_points.shape} and {len(lens.distortion)}"
        raise ArrayError("project_points", "camera_from_points", expected, got)
    params = np.zeros((), PROJECT_PARAMS)
    params["camera_from_points"] = camera_from_points[:3]
    params["focal"], params["centre"] = (lens.fx, lens.fy), (lens.cx, lens.cy)
    params["distortion"] = lens.distortion
    params["max_radius_squared"] = _fold_radius_squared(lens.distortion)
    params["near_m"] = NEAR_M
    params["size"] = lens.width, lens.height
    return params


def project_points(points: Floats, params: AnyArray, out: Floats | None = None) -> Floats:
    """(N, 3) of (N, >= 3) points: u, v in pixels (NaN: not in the picture), depth in metres."""
    check_points(points)
    pixels = np.empty((len(points), 3), np.float32) if out is None else out
    if pixels.shape != (len(points), 3) or pixels.dtype != np.float32:
        raise ArrayError("project_points", "out", f"({len(points)}, 3) float32", array_text(pixels))
    _kernels.project_points(points, params.reshape(1).view(np.uint8), pixels)
    return pixels


def check_points(points: AnyArray) -> None:
    """Refuse what neither the CPU nor the GPU kernel takes."""
    is_cloud = points.ndim == 2 and points.shape[1] >= 3 and points.dtype == np.float32
    if not is_cloud or not points.flags.c_contiguous:
        expected = "C-contiguous (any, 3 or more) float32"
        raise ArrayError("project_points", "points", expected, array_text(points))


def _fold_radius_squared(distortion: Sequence[float]) -> float:
    """Where the radial polynomial stops growing: r(1 + k1 r^2 + k2 r^4 + k3 r^6)' = 0."""
    k1, k2, _, _, k3 = distortion
    roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
    real = [float(r.real) for r in roots if abs(r.imag) < 1e-9 and r.real > 0]
    return min(real, default=float(np.finfo(np.float32).max))
