"""Draws what was calibrated, for a person to judge."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.coverage import GRID
from fusion_rt.calibrate.intrinsics import Intrinsics
from fusion_rt.calibration_file import Calibration
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, RigidTransform

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.uint8]

ERROR_ZOOM = 100.0
"""Arrows of residuals are drawn this many times as long as they are."""
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_RED, _GREEN, _BLUE = (60, 60, 220), (80, 170, 60), (220, 120, 40)
_PIXELS_PER_M = 140
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def save_picture(picture: Picture, target: Path) -> None:
    try:
        is_written = cv2.imwrite(str(target), picture)
    except cv2.error:
        is_written = False
    if not is_written:
        raise CalibrationError(
            str(target), "expected a picture's name that can be written, such as x.png"
        )


def reprojection_picture(found: Intrinsics) -> Picture:
    """All corners where they were seen, with their errors as arrows, and the cells of the image."""
    camera = found.camera
    picture = np.full((camera.height, camera.width, 3), 255, np.uint8)
    thickness = max(camera.width // 900, 1)
    for row, column in np.ndindex(GRID, GRID):
        corner = (column * camera.width // GRID, row * camera.height // GRID)
        opposite = ((column + 1) * camera.width // GRID, (row + 1) * camera.height // GRID)
        if found.coverage.counts[row, column] == 0:
            cv2.rectangle(picture, corner, opposite, (225, 225, 255), -1)
        cv2.rectangle(picture, corner, opposite, (200, 200, 200), 1)
    for view, errors in zip(found.views, found.errors_px, strict=True):
        for seen, error in zip(view.pixels, errors, strict=True):
            tip = seen + error * ERROR_ZOOM
            cv2.line(picture, _point(seen), _point(tip), _RED, thickness, cv2.LINE_AA)
            cv2.circle(picture, _point(seen), thickness + 1, _BLUE, -1, cv2.LINE_AA)
    text = f"rms {found.rms_px:.3f} px, {len(found.views)} views, errors x {ERROR_ZOOM:g}"
    _label(picture, text, (10, 10), camera.width / 1400)
    return picture


def overlay_picture(
    grey: Grey, points_m: Floats, camera: CameraModel, camera_from_lidar: RigidTransform
) -> Picture:
    """LiDAR points on the image, near ones red and far ones blue."""
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    in_camera = camera_from_lidar.apply(points_m)
    pixels = camera.project(in_camera)
    with np.errstate(invalid="ignore"):
        is_seen = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    range_m = np.linalg.norm(in_camera[is_seen], axis=1)
    nearness = np.clip(255 * (1.1 - np.log10(np.maximum(range_m, 1)) / 1.9), 0, 255)
    colours = cv2.applyColorMap(nearness.astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_TURBO)
    radius = max(camera.width // 800, 1)
    order = np.argsort(-range_m)
    for pixel, colour in zip(pixels[is_seen][order], colours.reshape(-1, 3)[order], strict=True):
        cv2.circle(picture, _point(pixel), radius, colour.tolist(), -1, cv2.LINE_AA)
    return np.asarray(picture, dtype=np.uint8)


def rig_picture(calibration: Calibration) -> Picture:
    """All frames seen from above, forward up, and from the left; x red, y green, z blue."""
    places = np.array([pose.translation_m for pose in calibration.base_from.values()])
    low, high = places.min(axis=0) - 0.8, places.max(axis=0) + 0.8
    above = _view(calibration, (1, 0), low, high, "from above, forward is up")
    side = _view(calibration, (0, 2), low, high, "from the right, forward is right")
    height = max(above.shape[0], side.shape[0])
    padded = [
        cv2.copyMakeBorder(view, 0, height - view.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=_WHITE)
        for view in (above, side)
    ]
    return np.asarray(np.hstack(padded), dtype=np.uint8)


def _view(
    calibration: Calibration, axes: tuple[int, int], low: Floats, high: Floats, title: str
) -> Picture:
    """Projected on two of base's axes; y is drawn to the left, as base has it."""
    across, up = axes
    scale = _PIXELS_PER_M * min(1.0, 6.0 / float((high - low).max()))
    size = (high - low) * scale
    width, height = max(int(size[across]), 420), max(int(size[up]), 160) + 40
    picture = np.full((height, width, 3), 255, np.uint8)
    turn = -1 if across == 1 else 1

    def at(place: Floats) -> tuple[int, int]:
        sideways = (place[across] - (low[across] if turn > 0 else high[across])) * turn
        return int(sideways * scale), int(height - (place[up] - low[up]) * scale)

    for name, pose in calibration.base_from.items():
        origin = pose.translation_m
        for axis, colour in enumerate((_RED, _GREEN, _BLUE)):
            tip = origin + 0.35 * pose.rotation[:, axis]
            cv2.arrowedLine(picture, at(origin), at(tip), colour, 2, cv2.LINE_AA, tipLength=0.25)
        u, v = at(origin)
        cv2.putText(picture, name, (u + 6, v + 16), _FONT, 0.45, _BLACK, 1, cv2.LINE_AA)
    _label(picture, title, (6, 6), 0.5)
    return picture


def _point(pixel: Floats) -> tuple[int, int]:
    u, v = np.rint(np.clip(pixel, -30_000, 30_000)).astype(int).tolist()
    return u, v


def _label(picture: Picture, text: str, corner: tuple[int, int], scale: float) -> None:
    scale = max(scale, 0.4)
    (width, height), base = cv2.getTextSize(text, _FONT, scale, 1)
    u, v = corner
    cv2.rectangle(picture, (u, v), (u + width + 8, v + height + base + 6), _WHITE, -1)
    cv2.putText(picture, text, (u + 4, v + height + 2), _FONT, scale, _BLACK, 1, cv2.LINE_AA)
