"""Calibrates a camera from views of a board; refuses sets of views that do not determine it."""

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.boards import BoardView
from fusion_rt.calibrate.coverage import Coverage, coverage_of
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, Fisheye, Pinhole

Floats = npt.NDArray[np.float64]

MIN_VIEWS = 5
MAX_RMS_PX = 1.0
MAX_FOCAL_SD = 0.005
"""Of the focal length: half a percent is 5 cm at 10 m."""
MAX_ASPECT = 0.05
"""Pixels of every sensor on sale are square to far better than 5 %."""
MAX_CENTRE_OFFSET = 0.15
"""Of the image's size."""
_OUTLIER_FACTOR, _OUTLIER_FLOOR_PX = 3.0, 0.5
_DONE = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-9)
_FLAGS = cv2 if hasattr(cv2, "CALIB_FIX_SKEW") else cv2.fisheye
"""OpenCV 5 moved the flags of its fisheye model out of the module, with other values."""
_FISHEYE_FLAGS: int = (
    _FLAGS.CALIB_RECOMPUTE_EXTRINSIC | _FLAGS.CALIB_FIX_SKEW | _FLAGS.CALIB_USE_INTRINSIC_GUESS
)
JACKKNIFE_GROUPS = 10


class Intrinsics(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A camera as found, and how well its views agree with it."""

    camera: CameraModel
    rms_px: float
    focal_sd_px: float
    """Standard deviation of the focal length."""
    views: tuple[BoardView, ...]
    """Those used."""
    errors_px: tuple[Floats, ...]
    """(N, 2) found minus projected, per view used."""
    outliers: tuple[str, ...]
    """Names of views left out because they did not fit the others."""
    coverage: Coverage


class _Fit(msgspec.Struct, frozen=True, eq=False):
    camera: CameraModel
    rotations: tuple[Floats, ...]
    """(3, 3) camera from board."""
    errors_px: tuple[Floats, ...]

    def view_rms_px(self) -> Floats:
        return np.array([_rms(errors) for errors in self.errors_px])


def calibrate_intrinsics(
    views: Sequence[BoardView], size: tuple[int, int], model: str = "pinhole"
) -> Intrinsics:
    """The camera of `size` (width, height) that explains the views; `model` pinhole or fisheye.

    Views that do not fit the others are left out. Raises CalibrationError naming what is wrong
    with the set and which views to add.
    """
    kept = list(views)
    _require(len(kept) >= MIN_VIEWS, f"expected {MIN_VIEWS} usable views, got {len(kept)}", "", ())
    fit = _fit(kept, size, _first_guess(kept, size, model))
    outliers: list[str] = []
    while len(kept) > MIN_VIEWS and (worst := _outlier(fit)) is not None:
        outliers.append(kept.pop(worst).name)
        fit = _fit(kept, size, fit.camera)
    found = Intrinsics(
        camera=fit.camera,
        rms_px=_rms(np.vstack(fit.errors_px)),
        focal_sd_px=_focal_sd_px(kept, size, fit.camera),
        views=tuple(kept),
        errors_px=fit.errors_px,
        outliers=tuple(outliers),
        coverage=coverage_of([v.pixels for v in kept], fit.rotations, size),
    )
    _check(found)
    return found


def intrinsics_problems(camera: CameraModel) -> list[str]:
    """What cannot be right about a camera, whatever it was made from."""
    problems = []
    aspect = camera.fx_px / camera.fy_px
    if abs(aspect - 1) > MAX_ASPECT:
        problems.append(
            f"expected square pixels, got fx_px {camera.fx_px:.1f} and fy_px {camera.fy_px:.1f}, "
            f"{abs(aspect - 1):.0%} apart"
        )
    for name, centre, side in (
        ("cx_px", camera.cx_px, camera.width),
        ("cy_px", camera.cy_px, camera.height),
    ):
        if abs(centre - side / 2) > MAX_CENTRE_OFFSET * side:
            problems.append(f"expected {name} near {side / 2:.0f}, got {centre:.1f}")
    field_deg = 2 * np.degrees(np.arctan2(camera.width / 2, camera.fx_px))
    if isinstance(camera, Pinhole) and not 5 <= field_deg <= 140:
        problems.append(f"expected a field of view of 5 to 140 degrees, got {field_deg:.0f}")
    corners = np.array([[0, 0], [camera.width - 1, 0], [0, camera.height - 1]], dtype=float)
    if isinstance(camera, Pinhole) and np.isnan(camera.rays(corners)).any():
        problems.append(
            "expected a distortion that can be undone in the whole image: it folds back"
        )
    return problems


def view_errors(camera: CameraModel, views: Sequence[BoardView]) -> list[Floats]:
    """(N, 2) found minus projected in each view, for a camera known beforehand."""
    return [_pose_and_errors(camera, view)[1] for view in views]


def board_pose(camera: CameraModel, view: BoardView) -> tuple[Floats, Floats]:
    """Rotation (3, 3) and translation (3,) of camera from board."""
    return _pose_and_errors(camera, view)[0]


def _pose_and_errors(camera: CameraModel, view: BoardView) -> tuple[tuple[Floats, Floats], Floats]:
    rays = camera.rays(view.pixels)
    flat = rays[:, :2] / rays[:, 2:]
    is_usable = np.isfinite(flat).all(axis=1) & (rays[:, 2] > 0.05)
    if is_usable.sum() < 4:
        raise CalibrationError(view.name, "expected corners the camera model can see, got none")
    _, turn, shift = cv2.solvePnP(
        view.corners_m[is_usable], flat[is_usable], np.eye(3), np.zeros(5), flags=cv2.SOLVEPNP_IPPE
    )
    turn, shift = cv2.solvePnPRefineLM(
        view.corners_m[is_usable], flat[is_usable], np.eye(3), np.zeros(5), turn, shift
    )
    rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    translation = np.asarray(shift, dtype=np.float64).reshape(3)
    projected = camera.project(view.corners_m @ rotation.T + translation)
    return (rotation, translation), view.pixels - projected


def _fit(views: Sequence[BoardView], size: tuple[int, int], near: CameraModel) -> _Fit:
    fit = _fit_fisheye if isinstance(near, Fisheye) else _fit_pinhole
    camera, turns, shifts = fit(views, size, near)
    rotations = tuple(np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64) for turn in turns)
    errors = tuple(
        view.pixels - camera.project(view.corners_m @ rotation.T + np.ravel(shift))
        for view, rotation, shift in zip(views, rotations, shifts, strict=True)
    )
    if not all(np.isfinite(error).all() for error in errors):
        raise _undetermined("the distortion found folds back")
    return _Fit(camera, rotations, errors)


def _first_guess(views: Sequence[BoardView], size: tuple[int, int], model: str) -> CameraModel:
    """A fisheye's from a field of view of 140 degrees; a pinhole's from the boards' perspective."""
    width, height = size
    if model == "fisheye":
        focal = width / np.radians(140)
        matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        return _camera(Fisheye, matrix, size, (0.0,) * 4)
    objects = [view.corners_m.astype(np.float32) for view in views]
    images = [view.pixels.astype(np.float32).reshape(-1, 1, 2) for view in views]
    guessed = np.asarray(cv2.initCameraMatrix2D(objects, images, size), dtype=np.float64)
    return _camera(Pinhole, guessed, size, (0.0,) * 5)


def _fit_pinhole(
    views: Sequence[BoardView], size: tuple[int, int], near: CameraModel
) -> tuple[CameraModel, list[Floats], list[Floats]]:
    objects = [view.corners_m.astype(np.float32) for view in views]
    images = [view.pixels.astype(np.float32).reshape(-1, 1, 2) for view in views]
    flags = cv2.CALIB_USE_INTRINSIC_GUESS
    _, matrix, bent, turns, shifts = cv2.calibrateCamera(
        objects, images, size, _matrix(near), np.array(near.distortion), flags=flags, criteria=_DONE
    )
    distortion = tuple(float(k) for k in np.ravel(bent)[:5])
    camera = _camera(Pinhole, np.asarray(matrix, dtype=np.float64), size, distortion)
    return camera, _floats(turns), _floats(shifts)


def _fit_fisheye(
    views: Sequence[BoardView], size: tuple[int, int], near: CameraModel
) -> tuple[CameraModel, list[Floats], list[Floats]]:
    objects = [view.corners_m.reshape(1, -1, 3) for view in views]
    images = [view.pixels.reshape(1, -1, 2) for view in views]
    start = _matrix(near), np.array(near.distortion)
    try:
        _, matrix, bent, turns, shifts = cv2.fisheye.calibrate(
            objects, images, size, *start, flags=_FISHEYE_FLAGS, criteria=_DONE
        )
    except cv2.error as error:
        raise _undetermined(f"a fisheye's fit fails: {error.err}") from error
    distortion = tuple(float(k) for k in np.ravel(bent))
    camera = _camera(Fisheye, np.asarray(matrix, dtype=np.float64), size, distortion)
    return camera, _floats(turns), _floats(shifts)


def _matrix(camera: CameraModel) -> Floats:
    fx, fy, cx, cy = camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _undetermined(how: str) -> CalibrationError:
    way_out = "spread the views over the image, near and far, and tilt the board"
    problem = f"expected views that determine a camera, but {how}"
    return CalibrationError("intrinsics", problem, way_out)


def _floats(arrays: Iterable[npt.NDArray[Any]]) -> list[Floats]:
    return [np.asarray(array, dtype=np.float64) for array in arrays]


def _camera(
    model: type[Pinhole] | type[Fisheye],
    matrix: Floats,
    size: tuple[int, int],
    distortion: tuple[float, ...],
) -> CameraModel:
    fields = {
        "width": size[0],
        "height": size[1],
        "fx_px": float(matrix[0, 0]),
        "fy_px": float(matrix[1, 1]),
        "cx_px": float(matrix[0, 2]),
        "cy_px": float(matrix[1, 2]),
        "distortion": distortion,
    }
    try:
        return msgspec.convert(fields, model)
    except msgspec.ValidationError as error:
        raise _undetermined(f"their best fit is none: {error}") from error


def _outlier(fit: _Fit) -> int | None:
    rms = fit.view_rms_px()
    worst = int(np.argmax(rms))
    limit = max(_OUTLIER_FACTOR * float(np.median(rms)), _OUTLIER_FLOOR_PX)
    return worst if rms[worst] > limit else None


def _focal_sd_px(views: Sequence[BoardView], size: tuple[int, int], found: CameraModel) -> float:
    """From leaving out some views in turn (jackknife): honest also where errors go together."""
    groups = min(len(views), JACKKNIFE_GROUPS)
    focal = []
    for group in range(groups):
        rest = [view for k, view in enumerate(views) if k % groups != group]
        camera = _fit(rest, size, found).camera
        focal.append((camera.fx_px + camera.fy_px) / 2)
    deviations = np.array(focal) - np.mean(focal)
    return float(np.sqrt((groups - 1) / groups * np.sum(deviations**2)))


def _rms(errors: Floats) -> float:
    return float(np.sqrt((errors**2).sum(axis=1).mean()))


def _require(is_met: bool, problem: str, way_out: str, advice: Sequence[str]) -> None:
    if not is_met:
        raise CalibrationError(
            "intrinsics", problem, "; ".join([*filter(None, [way_out]), *advice])
        )


def _check(found: Intrinsics) -> None:
    advice = found.coverage.advice
    focal = (found.camera.fx_px + found.camera.fy_px) / 2
    _require(
        found.rms_px <= MAX_RMS_PX,
        f"expected {MAX_RMS_PX:g} px rms at most, got {found.rms_px:.2f}",
        "check the board's counts and that it is flat, and try the other camera model",
        (),
    )
    fault = found.coverage.fault
    _require(fault is None, fault or "", "", advice)
    _require(
        found.focal_sd_px <= MAX_FOCAL_SD * focal,
        f"expected a focal length certain to {MAX_FOCAL_SD:.1%}, "
        f"got {found.focal_sd_px / focal:.1%}",
        "",
        advice,
    )
    problems = intrinsics_problems(found.camera)
    _require(not problems, "; ".join(problems), "", advice)
