"""Finds the holes of a flat board in a LiDAR sweep: the LiDAR's half of board-based calibration."""

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.search import maximise
from fusion_rt.errors import CalibrationError

Floats = npt.NDArray[np.float64]

PLANE_TOLERANCE_M = 0.03
"""Range noise of a LiDAR at a few metres is 1 to 2 cm."""
MIN_POINTS = 300
MIN_RIM_POINTS = 8
"""On the rim of each hole: with fewer it is a gap between rings, or beside the board."""
MAX_INSIDE_SHARE = 0.15
"""Of the points on the rim; a few returns come from the hole's edge."""
MAX_SPREAD_M = 0.02
_TRIES = 300
_REPEATS = 5


class HoleBoard(msgspec.Struct, frozen=True, kw_only=True):
    """Four equal holes at the corners of a rectangle, in a board larger than they are."""

    width_m: float
    """Between the centres, across."""
    height_m: float
    radius_m: float
    board_width_m: float
    board_height_m: float

    @property
    def holes_m(self) -> Floats:
        """(4, 2) clockwise from the top left; x right, y down from the middle."""
        x, y = self.width_m / 2, self.height_m / 2
        return np.array([[-x, -y], [x, -y], [x, y], [-x, y]])


def find_holes(points_m: Floats, board: HoleBoard, near_m: Floats) -> Floats:
    """(4, 3) hole centres in the LiDAR's frame: as seen from it top left, top right, bottom right,
    bottom left.

    `near_m` (3,) is where about the board's middle is, to half its size. Raises CalibrationError
    where no such board is there.
    """
    reach = float(np.hypot(board.board_width_m, board.board_height_m))
    close = points_m[np.linalg.norm(points_m - near_m, axis=1) < reach]
    if len(close) < MIN_POINTS:
        problem = f"expected {MIN_POINTS} points near the board, got {len(close)}"
        raise CalibrationError("board", problem, "bring it nearer, or say better where it is")
    origin, normal = _plane(close, np.random.default_rng(0))
    on_plane = close[np.abs((close - origin) @ normal) < PLANE_TOLERANCE_M]
    right, down = _board_axes(normal, near_m)
    flat = (on_plane - origin) @ np.stack([right, down], axis=1)
    place = _best_place(flat, board, (near_m - origin) @ np.stack([right, down], axis=1))
    holes = _placed(board.holes_m, place)
    _check(flat, holes, board)
    centres: Floats = origin + holes @ np.stack([right, down])
    return centres


def _plane(points_m: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A point on the plane that most points lie on and its normal, by random triples."""
    best: tuple[int, Floats, Floats] = (0, points_m[0], np.array([1.0, 0, 0]))
    for _ in range(_TRIES):
        a, b, c = points_m[rng.choice(len(points_m), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        if (length := float(np.linalg.norm(normal))) < 1e-6:
            continue
        count = int((np.abs((points_m - a) @ (normal / length)) < PLANE_TOLERANCE_M).sum())
        if count > best[0]:
            best = (count, a, normal / length)
    kept = points_m[np.abs((points_m - best[1]) @ best[2]) < PLANE_TOLERANCE_M]
    middle = kept.mean(axis=0)
    return middle, np.linalg.svd(kept - middle, full_matrices=False)[2][-1]


def _board_axes(normal: Floats, near_m: Floats) -> tuple[Floats, Floats]:
    """Right and down on the plane as seen from the LiDAR, whose z axis points up."""
    away = normal if normal @ near_m > 0 else -normal
    right = np.cross(away, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return right, np.cross(away, right)


def _placed(holes_m: Floats, place: Floats) -> Floats:
    """Holes of a board whose middle is at `place[:2]` metres, turned by `place[2]` radians."""
    cos, sin = np.cos(place[2]), np.sin(place[2])
    placed: Floats = holes_m @ np.array([[cos, sin], [-sin, cos]]) + place[:2]
    return placed


def _best_place(flat: Floats, board: HoleBoard, start: Floats) -> Floats:
    """Where the holes are empty and their rims are not."""
    rng = np.random.default_rng(0)
    wide = np.array([board.width_m / 2, board.height_m / 2, 0.15])
    narrow = np.array([0.03, 0.03, 0.03])

    def score(place: Floats) -> float:
        return _emptiness(flat, _placed(board.holes_m, place), board.radius_m)

    place, _ = maximise(score, np.array([*start, 0.0]), wide, rng, rounds=15, draws=150)
    found = np.array(
        [maximise(score, place, narrow, rng, rounds=10, draws=40)[0] for _ in range(_REPEATS)]
    )
    if found[:, :2].std(axis=0).max() > MAX_SPREAD_M:
        problem = (
            f"expected one place where the holes fit, got several {found[:, :2].std():.2f} m apart"
        )
        raise CalibrationError("board", problem, "bring it nearer: more rings must cross the holes")
    return np.asarray(found.mean(axis=0))


def _distances_m(flat: Floats, holes: Floats) -> Floats:
    """(holes, points): the longer axis last, along which there is much to add up."""
    x, y = flat[:, 0] - holes[:, :1], flat[:, 1] - holes[:, 1:]
    return np.asarray(np.sqrt(x * x + y * y))


def _emptiness(flat: Floats, holes: Floats, radius_m: float) -> float:
    """0 for holes without a point in them, less the deeper inside points lie; -1 off the board."""
    distance = _distances_m(flat, holes)
    depth = np.maximum(1 - distance / radius_m, 0).sum(axis=1)
    rim = ((distance >= radius_m) & (distance < radius_m * np.sqrt(2))).sum(axis=1)
    return float(np.where(rim < MIN_RIM_POINTS, -1.0, -depth / np.maximum(rim, 1)).sum())


def _check(flat: Floats, holes: Floats, board: HoleBoard) -> None:
    distance = _distances_m(flat, holes)
    inside = (distance < 0.8 * board.radius_m).sum(axis=1)
    around = (distance >= board.radius_m) & (distance < board.radius_m * np.sqrt(2))
    rim = around.sum(axis=1)
    if (rim < MIN_RIM_POINTS).any() or (inside > MAX_INSIDE_SHARE * rim).any():
        got = ", ".join(
            f"{i} beside {r}" for i, r in zip(inside.tolist(), rim.tolist(), strict=True)
        )
        problem = f"expected four empty holes with board around them, got {got} points"
        raise CalibrationError("board", problem, "check the board's measures and where it is")
