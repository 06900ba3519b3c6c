"""Finds calibration boards in images; for intrinsics and board-based camera-LiDAR calibration."""

from enum import Enum

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

MAX_EDGE_WIDTH_PX = 5.0
"""A step of the board wider than this is out of focus or moved: corners err by a tenth of it."""
MIN_CORNERS = 8
_SUBPIX_DONE = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-4)


class Chessboard(msgspec.Struct, frozen=True, tag="chessboard", kw_only=True):
    """A plain chessboard; must be seen whole."""

    columns: int
    """Inner corners across."""
    rows: int
    square_m: float

    @property
    def corners_m(self) -> Floats:
        """(rows * columns, 3), z = 0, row by row."""
        return _grid(self.columns, self.rows, self.square_m)


class Charuco(msgspec.Struct, frozen=True, tag="charuco", kw_only=True):
    """A chessboard with a marker in each white square; a part of it is enough."""

    columns: int
    """Squares across, not corners."""
    rows: int
    square_m: float
    marker_m: float
    dictionary: str = "DICT_4X4_250"
    is_legacy: bool = False
    """Pattern of OpenCV before 4.6, for boards with an even number of rows."""

    @property
    def corners_m(self) -> Floats:
        """((rows - 1) * (columns - 1), 3), z = 0, row by row."""
        first = np.array([self.square_m, self.square_m, 0.0])
        corners: Floats = _grid(self.columns - 1, self.rows - 1, self.square_m) + first
        return corners


Board = Chessboard | Charuco


class Fault(Enum):
    """Why an image is of no use."""

    UNREADABLE = "cannot be read as an image"
    OTHER_SIZE = "has another size than the rest"
    NO_BOARD = "shows no board, or not all of it"
    TOO_FEW = "shows too small a part of the board"
    BLURRED = "is blurred"
    OUTLIER = "does not fit the other views"


class BoardView(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The corners of a board in one image."""

    name: str
    corners_m: Floats
    """(N, 3) on the board."""
    pixels: Floats
    """(N, 2)."""
    edge_width_px: float


def find_board(name: str, grey: Grey, board: Board) -> BoardView | Fault:
    """The board's corners to a fraction of a pixel, or why the image is of no use."""
    found = _find_chessboard(grey, board) if isinstance(board, Chessboard) else None
    if isinstance(board, Charuco):
        found = _find_charuco(grey, board)
    if found is None:
        return Fault.NO_BOARD
    corners_m, pixels = found
    if len(pixels) < MIN_CORNERS or np.linalg.matrix_rank(corners_m - corners_m[0]) < 2:
        return Fault.TOO_FEW
    width_px = edge_width_px(grey, pixels)
    if width_px > MAX_EDGE_WIDTH_PX:
        return Fault.BLURRED
    return BoardView(name=name, corners_m=corners_m, pixels=pixels, edge_width_px=width_px)


def edge_width_px(grey: Grey, pixels: Floats) -> float:
    """Median over the corners of how many pixels the step from black to white takes."""
    spacing = _spacing_px(pixels)
    half = int(np.clip(spacing / 2, 4, 12))
    widths = []
    for u, v in np.rint(pixels).astype(int):
        patch = grey[max(v - half, 0) : v + half + 1, max(u - half, 0) : u + half + 1]
        if min(patch.shape) < 5:
            continue
        smooth = patch.astype(np.float64)
        steepest = np.hypot(*np.gradient(smooth)).max()
        low, high = np.percentile(smooth, [5, 95])
        widths.append((high - low) / max(steepest, 1e-6))
    return float(np.median(widths)) if widths else np.inf


def _spacing_px(pixels: Floats) -> float:
    """Typical distance from a corner to its nearest neighbour."""
    distances = np.linalg.norm(pixels[:, None] - pixels[None, :], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))


def _grid(columns: int, rows: int, square_m: float) -> Floats:
    v, u = np.mgrid[0:rows, 0:columns]
    return np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], axis=1) * square_m


def _find_chessboard(grey: Grey, board: Chessboard) -> tuple[Floats, Floats] | None:
    """By OpenCV's sector-based finder, and by the older one, which copes with less border."""
    size = (board.columns, board.rows)
    flags = cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
    is_found, corners = cv2.findChessboardCornersSB(grey, size, flags=flags)
    if not is_found:
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
        is_found, corners = cv2.findChessboardCorners(grey, size, flags=flags)
        if not is_found:
            return None
        corners = _refined(grey, np.asarray(corners, dtype=np.float32))
    return board.corners_m, corners.reshape(-1, 2).astype(np.float64)


def _refined(grey: Grey, corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    reach = int(np.clip(_spacing_px(corners.reshape(-1, 2).astype(np.float64)) / 3, 3, 11))
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)  # noise costs more than the blur: 0.28 to 0.31 px
    refined = cv2.cornerSubPix(smooth, corners, (reach, reach), (-1, -1), _SUBPIX_DONE)
    return np.asarray(refined, dtype=np.float32)


def _find_charuco(grey: Grey, board: Charuco) -> tuple[Floats, Floats] | None:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    drawn = cv2.aruco.CharucoBoard(
        (board.columns, board.rows), board.square_m, board.marker_m, dictionary
    )
    drawn.setLegacyPattern(board.is_legacy)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(drawn).detectBoard(grey)
    if np.size(ids) == np.size(corners):  # both empty, or None where the stubs promise arrays
        return None
    return board.corners_m[np.ravel(ids)], np.reshape(corners, (-1, 2)).astype(np.float64)
