"""Scores how well a LiDAR sweep lies on a camera image; for calibration and the drift monitor.

Four cues, each against the image blurred to the wanted precision: where the range jumps along a
ring the image should have an upright edge; where it jumps from ring to ring, a level one; where
the intensity jumps along a ring, an upright one again; and intensity and brightness should tell
about each other (normalised information, which knows no sign). Without level edges a sweep of
bushes fits an image of bushes at 5 degrees of pitch.
"""

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.scan_edges import ScanEdges
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, RigidTransform

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

INFORMATION_WEIGHT = 20.0
"""Makes a normalised information of 0.05, a good scene's, weigh as much as the edges."""
LEVELS = 16
MAX_EDGES, MAX_POINTS = 5000, 6000
MIN_EDGES = 100
MARGIN = 0.15
"""Points this much of the image's size outside it may come in by the search."""
TILES = 16
_GRADIENT_BLUR_PX = 1.5
_CONTRAST_BLUR_PX = 50.0
_LARGEST_CONTRAST = 6.0
_FAR_OUT_PX = -1e4


class Cue(msgspec.Struct, frozen=True, eq=False):
    """A slice of the sweep's points and the tile of the image each lay in at the start."""

    points: slice
    tiles: npt.NDArray[np.int64]


class Alignment:
    """One image and the sweep taken with it; scores any pose near the one it was made for."""

    def __init__(
        self,
        grey: Grey,
        edges: ScanEdges,
        camera: CameraModel,
        near: RigidTransform,
        seed: int = 0,
    ) -> None:
        if grey.shape != (camera.height, camera.width):
            expected, got = (camera.height, camera.width), grey.shape
            raise CalibrationError("image", f"expected height, width {expected}, got {got}")
        self._camera = camera
        rng = np.random.default_rng(seed)
        chosen = [
            _sample(edges.depth_across, camera, near, MAX_EDGES, rng),
            _sample(edges.depth_along, camera, near, MAX_EDGES, rng),
            _sample(edges.paint_across, camera, near, MAX_EDGES, rng),
            _sample(edges.points, camera, near, MAX_POINTS, rng),
        ]
        kinds = edges.depth_across, edges.depth_along, edges.paint_across, edges.points
        self._points = np.vstack([kind[one] for kind, one in zip(kinds, chosen, strict=True)])
        if (upright := len(chosen[0]) + len(chosen[2])) < MIN_EDGES:
            problem = f"expected {MIN_EDGES} edges in view, got {upright}"
            raise CalibrationError(
                "sweep", problem, "drive to a place with poles, kerbs, markings or house corners"
            )
        self._rank = _levels(edges.intensity[chosen[3]])
        self._cues = self._slices([len(one) for one in chosen], near)
        self._grey = grey.astype(np.float32)
        self._contrasts = _contrasts(self._grey)
        self.sharpen(2.0)

    def _slices(self, counts: list[int], near: RigidTransform) -> tuple[Cue, ...]:
        tiles = self._tiles(near)
        ends = np.cumsum(counts).tolist()
        starts = [0, *ends[:-1]]
        return tuple(Cue(slice(a, b), tiles[a:b]) for a, b in zip(starts, ends, strict=True))

    def _tiles(self, near: RigidTransform) -> npt.NDArray[np.int64]:
        """Which part of the scene a point belongs to: neighbours err together."""
        pixels = self._pixels(near)
        size = np.array([self._camera.width, self._camera.height]) / TILES
        cell = np.clip(pixels // size, 0, TILES - 1).astype(np.int64)
        tiles: npt.NDArray[np.int64] = cell[:, 1] * TILES + cell[:, 0]
        return tiles

    def sharpen(self, blur_px: float) -> None:
        """Blur the image so that edges attract from about `blur_px` away, and no farther."""
        self._upright, self._level = (_blurred(one, blur_px) for one in self._contrasts)
        self._blurred = cv2.GaussianBlur(self._grey, (0, 0), blur_px).astype(np.float32)
        shares = np.linspace(0, 1, LEVELS + 1)[1:-1]
        self._bounds = np.quantile(self._blurred[::4, ::4], shares)

    def score(self, camera_from_lidar: RigidTransform, weight: Floats | None = None) -> float:
        """Higher is better; `weight` (TILES * TILES,) is what each part counts."""
        return float(sum(self.cues(camera_from_lidar, weight)))

    def cues(
        self, camera_from_lidar: RigidTransform, weight: Floats | None = None
    ) -> tuple[float, float, float, float]:
        """What upright, level and painted edges and shared information contribute to the score."""
        weight = np.ones(TILES * TILES) if weight is None else weight
        pixels = self._pixels(camera_from_lidar).astype(np.float32)
        u, v = pixels[:, 0], pixels[:, 1]
        is_seen = (u >= 0) & (u < self._camera.width - 1) & (v >= 0) & (v < self._camera.height - 1)
        across, along, paint, all_points = self._cues
        return (
            _edge_mean(self._upright, across, pixels, is_seen, weight),
            _edge_mean(self._level, along, pixels, is_seen, weight),
            _edge_mean(self._upright, paint, pixels, is_seen, weight),
            INFORMATION_WEIGHT * self._information(all_points, pixels, is_seen, weight),
        )

    def _pixels(self, camera_from_lidar: RigidTransform) -> Floats:
        pixels = self._camera.project(camera_from_lidar.apply(self._points))
        return np.nan_to_num(pixels, nan=_FAR_OUT_PX)

    def _information(self, cue: Cue, pixels: Image, is_seen: Mask, weight: Floats) -> float:
        """1 - normalised information distance between intensity and brightness, 0..1."""
        seen = is_seen[cue.points]
        brightness = _sampled(self._blurred, pixels[cue.points][seen])
        cell = self._rank[seen] * LEVELS + np.searchsorted(self._bounds, brightness)
        counts = np.bincount(cell, weights=weight[cue.tiles[seen]], minlength=LEVELS * LEVELS)
        if counts.sum() <= 0:
            return 0.0
        joint = (counts / counts.sum()).reshape(LEVELS, LEVELS)
        both = _entropy(joint)
        shared = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - both
        return shared / both if both > 0 else 0.0


def _edge_mean(contrast: Image, cue: Cue, pixels: Image, is_seen: Mask, weight: Floats) -> float:
    seen = is_seen[cue.points]
    weights = weight[cue.tiles[seen]]
    if weights.sum() <= 0:
        return 0.0
    return float(np.average(_sampled(contrast, pixels[cue.points][seen]), weights=weights))


def _sample(
    points_m: Floats,
    camera: CameraModel,
    near: RigidTransform,
    limit: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """At most `limit` of the points that are in the image or could come in."""
    pixels = camera.project(near.apply(points_m))
    size = np.array([camera.width, camera.height])
    with np.errstate(invalid="ignore"):
        is_near = ((pixels > -MARGIN * size) & (pixels < (1 + MARGIN) * size)).all(axis=1)
    found = np.flatnonzero(is_near)
    return found if len(found) <= limit else np.sort(rng.choice(found, limit, replace=False))


def _contrasts(grey: Image) -> tuple[Image, Image]:
    """Gradient across and down, relative to how much goes on nearby: shade weighs as sun does."""
    smooth = cv2.GaussianBlur(grey, (0, 0), _GRADIENT_BLUR_PX)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8
    around = cv2.GaussianBlur(np.hypot(across, down), (0, 0), _CONTRAST_BLUR_PX) + 0.7
    upright, level = (
        np.minimum(np.abs(one) / around, _LARGEST_CONTRAST).astype(np.float32)
        for one in (across, down)
    )
    return upright, level


def _blurred(contrast: Image, blur_px: float) -> Image:
    """Of unit standard deviation."""
    blurred = cv2.GaussianBlur(contrast, (0, 0), blur_px)
    return (blurred / max(float(blurred.std()), 1e-6)).astype(np.float32)


def _levels(values: Floats) -> npt.NDArray[np.int64]:
    """(N,) level of each value by rank, so that every level holds as many."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return (rank * LEVELS // max(len(values), 1)).astype(np.int64)


def _sampled(image: Image, pixels: Image) -> Floats:
    if len(pixels) == 0:
        return np.zeros(0)
    u, v = (np.ascontiguousarray(pixels[:, k]).reshape(-1, 1) for k in (0, 1))
    return cv2.remap(image, u, v, cv2.INTER_LINEAR).reshape(-1).astype(np.float64)


def _entropy(shares: Floats) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
