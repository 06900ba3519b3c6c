"""Rigid transforms and camera projection: what encode and fuse need of space.

A transform is named after what it does: `camera_from_lidar` maps LiDAR coordinates to camera
coordinates, so neighbours match when composing: `camera_from_base @ base_from_lidar`. The axes of
each frame stand in `fusion_rt.rig`.
"""

import math
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating[Any]]
"""(..., 3), metres."""
Matrix = npt.NDArray[np.float64]

ORTHONORMAL_TOLERANCE = 1e-4
"""Files round rotations to five digits or so; beyond this it is no rotation but a mistake."""


class RigidTransform(msgspec.Struct, frozen=True, eq=False):
    """A rotation, then a translation; `target_from_source @ source_from_other` composes.

    Both arrays are float64 and read-only.
    """

    rotation: Matrix
    """(3, 3), orthonormal with determinant 1."""
    translation_m: Matrix
    """(3,): where the source's origin lies, in target coordinates."""

    def __post_init__(self) -> None:
        for name, shape in (("rotation", (3, 3)), ("translation_m", (3,))):
            array = np.array(getattr(self, name), dtype=np.float64)  # a copy: callers keep theirs
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name}: expected {shape} finite numbers, got {array.tolist()}")
            array.flags.writeable = False
            msgspec.structs.force_setattr(self, name, array)
        if (problem := rotation_problem(self.rotation)) is not None:
            raise ValueError(f"rotation: {problem}")

    @classmethod
    def identity(cls) -> "RigidTransform":
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_yaw(cls, yaw_rad: float, translation_m: npt.ArrayLike = (0, 0, 0)) -> "RigidTransform":
        """Turned by `yaw_rad` about z, from x towards y."""
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        return cls(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]), np.asarray(translation_m))

    @classmethod
    def from_quaternion(
        cls, wxyz: npt.ArrayLike, translation_m: npt.ArrayLike = (0, 0, 0)
    ) -> "RigidTransform":
        """From a quaternion, scalar first, of any length but zero."""
        return cls(rotation_from_quaternion(wxyz), np.asarray(translation_m))

    @classmethod
    def from_rotation_vector(
        cls, rotation_rad: npt.ArrayLike, translation_m: npt.ArrayLike = (0, 0, 0)
    ) -> "RigidTransform":
        """Turned about the axis (3,) by its length in radians."""
        vector = np.asarray(rotation_rad, dtype=np.float64)
        half = float(np.linalg.norm(vector)) / 2
        wxyz = np.array([math.cos(half), *(vector / 2 * np.sinc(half / math.pi))])
        return cls(rotation_from_quaternion(wxyz), np.asarray(translation_m))

    def __matmul__(self, other: "RigidTransform") -> "RigidTransform":
        rotation = _nearest_rotation(self.rotation @ other.rotation)
        return RigidTransform(rotation, self.apply(other.translation_m))

    def inverse(self) -> "RigidTransform":
        return RigidTransform(self.rotation.T, -self.rotation.T @ self.translation_m)

    def apply(self, points: Points) -> Matrix:
        """Points (..., 3) of the source frame in target coordinates, float64."""
        return points @ self.rotation.T + self.translation_m

    @property
    def matrix(self) -> Matrix:
        """(4, 4) homogeneous."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.translation_m
        return matrix

    @property
    def quaternion_wxyz(self) -> Matrix:
        """(4,), scalar first and not negative, of length 1."""
        return quaternion_from_rotation(self.rotation)

    @property
    def rotation_vector_rad(self) -> Matrix:
        """(3,): the axis, as long as the angle, which is at most pi."""
        w, *axis = self.quaternion_wxyz
        sine = float(np.linalg.norm(axis))
        vector: Matrix = np.array(axis) * (2 * math.atan2(sine, w) / sine if sine > 0 else 2.0)
        return vector

    @property
    def angle_rad(self) -> float:
        """How far it turns, whatever the axis."""
        return float(np.linalg.norm(self.rotation_vector_rad))

    @property
    def yaw_rad(self) -> float:
        """Direction of the source's x axis in the target's x-y plane."""
        return math.atan2(self.rotation[1, 0], self.rotation[0, 0])


def rotation_problem(rotation: Matrix) -> str | None:
    """Why a (3, 3) matrix is not a rotation, as `expected ..., got ...`; None when it is one."""
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if not error <= ORTHONORMAL_TOLERANCE:  # NaN is none either
        return f"expected orthonormal rows to {ORTHONORMAL_TOLERANCE:g}, got {error:.2g} off"
    if np.linalg.det(rotation) < 0:
        return "expected determinant 1, got -1: it mirrors, one axis points the wrong way"
    return None


def rotation_from_quaternion(wxyz: npt.ArrayLike) -> Matrix:
    """(3, 3) from (4,), scalar first."""
    quaternion = np.asarray(wxyz, dtype=np.float64)
    length = float(np.linalg.norm(quaternion))
    if quaternion.shape != (4,) or not length > 0:
        raise ValueError(
            f"expected a quaternion of 4 numbers, not all 0, got {quaternion.tolist()}"
        )
    w, x, y, z = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: Matrix) -> Matrix:
    """(4,), scalar first and not negative: the eigenvector that no near-zero pivot can spoil.

    Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", 2000.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    lower = np.array(
        [
            [xx + yy + zz, 0, 0, 0],
            [zy - yz, xx - yy - zz, 0, 0],
            [xz - zx, yx + xy, yy - xx - zz, 0],
            [yx - xy, zx + xz, zy + yz, zz - xx - yy],
        ]
    )
    _, vectors = np.linalg.eigh(lower)  # reads the lower triangle only
    quaternion: Matrix = vectors[:, -1]
    return -quaternion if quaternion[0] < 0 else quaternion


def _nearest_rotation(matrix: Matrix) -> Matrix:
    """Takes back the rounding of a product, which would add up over a long chain."""
    u, _, vt = np.linalg.svd(matrix)
    product: Matrix = u @ vt
    return product


SideLength = Annotated[int, msgspec.Meta(ge=1, le=65_535, description="pixels")]
Coefficient = Annotated[float, msgspec.Meta(ge=-1e4, le=1e4)]
FocalLength = Annotated[float, msgspec.Meta(gt=0, le=1e6, description="focal length in pixels")]


_NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)
_UNDISTORT_STEPS = 60
_UNDISTORT_TOLERANCE, _UNDISTORT_GIVEN_UP = 1e-10, 1e-6
_ANGLE_STEPS = 20_000
"""Table of image radius by angle: exact to 1e-8 rad between its entries."""


class Pinhole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pinhole camera with Brown-Conrady distortion: OpenCV's first five coefficients.

    Pixel (0, 0) is the centre of the top left pixel, u to the right, v down.
    """

    width: SideLength
    height: SideLength
    fx_px: FocalLength
    fy_px: FocalLength
    cx_px: float
    cy_px: float
    distortion: tuple[Coefficient, Coefficient, Coefficient, Coefficient, Coefficient] = (
        _NO_DISTORTION
    )
    """k1, k2, p1, p2, k3."""

    def __post_init__(self) -> None:
        _check_centre(self.width, self.height, self.cx_px, self.cy_px)

    def project(self, points_camera: Points) -> Matrix:
        """Pixels (..., 2) of points (..., 3) in the optical frame; NaN where no ray gets through.

        That is behind the camera, and so far off axis that the distortion would fold back. Pixels
        outside the image are returned as they are.
        """
        x_m, y_m, z_m = np.moveaxis(np.asarray(points_camera, dtype=np.float64), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x, y = x_m / z_m, y_m / z_m
            radius2 = x * x + y * y
            is_seen = (z_m > 0) & (radius2 < _fold_radius2(self.distortion))
            x, y = _distorted(x, y, radius2, self.distortion)
            u, v = self.fx_px * x + self.cx_px, self.fy_px * y + self.cy_px
        pixels = np.stack([u, v], axis=-1)
        pixels[~(is_seen & np.isfinite(u) & np.isfinite(v))] = np.nan
        return pixels

    def rays(self, pixels: npt.ArrayLike) -> Matrix:
        """Unit vectors (..., 3) through pixels (..., 2); NaN where distortion has no inverse."""
        centred = np.asarray(pixels, dtype=np.float64) - (self.cx_px, self.cy_px)
        flat = _straightened(centred / (self.fx_px, self.fy_px), self.distortion)
        rays = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1)
        rays[np.isnan(flat).any(axis=-1)] = np.nan
        return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


class Fisheye(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wide camera whose image radius grows with the angle off axis: OpenCV's fisheye model.

    Kannala and Brandt, "A generic camera model and calibration method for conventional, wide-angle,
    and fish-eye lenses", 2006, its first four terms. Pixels as `Pinhole` has them.
    """

    width: SideLength
    height: SideLength
    fx_px: FocalLength
    fy_px: FocalLength
    cx_px: float
    cy_px: float
    distortion: tuple[Coefficient, Coefficient, Coefficient, Coefficient] = (0.0, 0.0, 0.0, 0.0)
    """k1, k2, k3, k4."""

    def __post_init__(self) -> None:
        _check_centre(self.width, self.height, self.cx_px, self.cy_px)

    def project(self, points_camera: Points) -> Matrix:
        """Pixels (..., 2) of points (..., 3) in the optical frame; NaN where no ray gets through.

        Points beside and behind the camera are seen up to the angle at which the model folds back.
        """
        x_m, y_m, z_m = np.moveaxis(np.asarray(points_camera, dtype=np.float64), -1, 0)
        radius_m = np.hypot(x_m, y_m)
        angle = np.arctan2(radius_m, z_m)
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch = np.where(radius_m > 0, _bent(angle, self.distortion) / radius_m, 0.0)
        pixels = np.stack(
            [self.fx_px * stretch * x_m + self.cx_px, self.fy_px * stretch * y_m + self.cy_px],
            axis=-1,
        )
        is_nowhere = (radius_m == 0) & ~(z_m > 0)  # the centre itself, and straight behind
        pixels[~(angle < self.max_angle_rad) | is_nowhere] = np.nan
        return pixels

    @property
    def max_angle_rad(self) -> float:
        """Angle off axis at which the image radius stops growing; pi if never before."""
        k1, k2, k3, k4 = (k if abs(k) > 1e-12 else 0 for k in self.distortion)
        return min(math.sqrt(_first_positive_root([9 * k4, 7 * k3, 5 * k2, 3 * k1, 1])), math.pi)

    def rays(self, pixels: npt.ArrayLike) -> Matrix:
        """Unit vectors (..., 3) through pixels (..., 2); NaN outside the image circle."""
        pixels = np.asarray(pixels, dtype=np.float64)
        bent = (pixels - (self.cx_px, self.cy_px)) / (self.fx_px, self.fy_px)
        radius = np.linalg.norm(bent, axis=-1)
        table = np.linspace(0, self.max_angle_rad, _ANGLE_STEPS)
        angle = np.interp(radius, _bent(table, self.distortion), table, right=np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            sideways = np.where(radius > 0, np.sin(angle) / radius, 0.0)[..., None] * bent
        return np.concatenate([sideways, np.cos(angle)[..., None]], axis=-1)


CameraModel = Pinhole | Fisheye


def _check_centre(width: int, height: int, cx_px: float, cy_px: float) -> None:
    if not (0 <= cx_px < width and 0 <= cy_px < height):
        size, got = f"{width}x{height}", f"{cx_px:g}, {cy_px:g}"
        raise ValueError(
            f"expected cx_px, cy_px inside {size}, got {got}: are they of another resolution?"
        )


def _bent(angle_rad: Matrix, distortion: tuple[float, ...]) -> Matrix:
    """Image radius over focal length at an angle off axis."""
    k1, k2, k3, k4 = distortion
    square = angle_rad * angle_rad
    bent: Matrix = angle_rad * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    return bent


def _distorted(
    x: Matrix, y: Matrix, radius2: Matrix, distortion: tuple[float, ...]
) -> tuple[Matrix, Matrix]:
    k1, k2, p1, p2, k3 = distortion
    radial = 1 + radius2 * (k1 + radius2 * (k2 + radius2 * k3))
    x_out = x * radial + 2 * p1 * x * y + p2 * (radius2 + 2 * x * x)
    y_out = y * radial + p1 * (radius2 + 2 * y * y) + 2 * p2 * x * y
    return x_out, y_out


def _straightened(bent: Matrix, distortion: tuple[float, ...]) -> Matrix:
    """Undoes `_distorted` for (..., 2) by fixed-point steps; NaN where they lead nowhere."""
    flat = bent.copy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(_UNDISTORT_STEPS):
            u, v = flat[..., 0], flat[..., 1]
            error = bent - np.stack(_distorted(u, v, u * u + v * v, distortion), axis=-1)
            flat = flat + error
            if not (np.abs(error) > _UNDISTORT_TOLERANCE).any():
                break
        is_found = (np.abs(error) < _UNDISTORT_GIVEN_UP).all(axis=-1)
        is_found &= (flat**2).sum(axis=-1) < _fold_radius2(distortion)
    flat[~is_found] = np.nan
    return flat


@lru_cache(maxsize=64)
def _fold_radius2(distortion: tuple[float, ...]) -> float:
    """Squared radius at which r * (1 + k1 r^2 + k2 r^4 + k3 r^6) stops growing; inf if never."""
    k1, k2, _, _, k3 = (k if abs(k) > 1e-12 else 0 for k in distortion)  # roots divides by them
    return _first_positive_root([7 * k3, 5 * k2, 3 * k1, 1])


def _first_positive_root(polynomial: list[float]) -> float:
    """Smallest real root above 0, coefficients from the highest power; inf if there is none."""
    roots = np.roots(polynomial)
    real = roots[np.abs(roots.imag) < 1e-9 * np.abs(roots)].real
    return float(min(real[real > 0], default=math.inf))
