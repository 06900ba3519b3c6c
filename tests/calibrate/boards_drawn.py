"""Photographs of boards by cameras that are known exactly."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.boards import Board, BoardView, Charuco, Chessboard, Fault, find_board
from fusion_rt.geometry import CameraModel, Fisheye, Pinhole, RigidTransform

Grey = npt.NDArray[np.uint8]
PINHOLE = Pinhole(
    width=960, height=600, fx_px=700, fy_px=701, cx_px=484, cy_px=296,
    distortion=(-0.12, 0.06, 0.0005, -0.0004, 0.0),
)  # fmt: skip
FISHEYE = Fisheye(
    width=960, height=720, fx_px=330, fy_px=331, cx_px=477, cy_px=363,
    distortion=(0.05, -0.012, 0.002, -0.0005),
)  # fmt: skip
CHESSBOARD = Chessboard(columns=9, rows=6, square_m=0.06)
CHARUCO = Charuco(columns=10, rows=7, square_m=0.06, marker_m=0.045)
_TEXTURE_PX = 40
"""Per square."""


def poses(count: int, distance_m: float, seed: int = 0, reach: float = 1.0) -> list[RigidTransform]:
    """Camera from board: the board's middle all over the image, tilted this way and that."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        spot = (
            np.array([(k % 4 - 1.5) / 1.5, (k // 4 % 3 - 1), 0])
            * [0.42, 0.22, 0]
            * reach
            * distance_m
        )
        tilt = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(-0.2, 0.2)])
        turn = RigidTransform.from_rotation_vector(tilt)
        middle = np.array([0.3, 0.21, 0])
        place = spot - turn.rotation @ middle
        place[2] += distance_m * rng.uniform(0.75, 1.0)
        found.append(RigidTransform(turn.rotation, place))
    return found


def photograph(
    camera: CameraModel, board: Board, pose: RigidTransform, blur_px: float = 0.7
) -> Grey:
    """The board in front of grey, seen by the camera."""
    texture, scale, margin = _texture(board)
    board_from_camera = pose.inverse()
    directions = _rays(camera) @ board_from_camera.rotation.T
    origin = board_from_camera.translation_m
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = -origin[2] / directions[:, 2]
        places = origin[:2] + directions[:, :2] * reach[:, None]
        pixels = np.where((reach > 0)[:, None], places * scale + margin, -1e4)
    pixels = np.nan_to_num(pixels, nan=-1e4).astype(np.float32)
    across, down = (pixels[:, k].reshape(camera.height, camera.width) for k in (0, 1))
    image = cv2.remap(
        texture, across, down, cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT,
        borderValue=120,
    )  # fmt: skip
    image = cv2.GaussianBlur(image, (0, 0), blur_px) if blur_px else image
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def views(camera: CameraModel, board: Board, at: Sequence[RigidTransform]) -> list[BoardView]:
    found = [
        find_board(f"{k}.png", photograph(camera, board, pose), board) for k, pose in enumerate(at)
    ]
    return [view for view in found if not isinstance(view, Fault)]


@lru_cache
def _rays(camera: CameraModel) -> npt.NDArray[np.float64]:
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    return camera.rays(np.stack([u.ravel(), v.ravel()], axis=1))


def _texture(board: Board) -> tuple[Grey, float, float]:
    """The board's picture, its pixels per metre, and where the origin of its corners lies in it."""
    scale = _TEXTURE_PX / board.square_m
    if isinstance(board, Charuco):
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
        drawn = cv2.aruco.CharucoBoard(
            (board.columns, board.rows), board.square_m, board.marker_m, dictionary
        )
        size = (board.columns * _TEXTURE_PX, board.rows * _TEXTURE_PX)
        return np.asarray(drawn.generateImage(size, marginSize=0)), scale, -0.5
    v, u = np.mgrid[0 : board.rows + 1, 0 : board.columns + 1]
    squares = np.where((u + v) % 2 == 0, 20, 235).astype(np.uint8)
    picture = np.kron(squares, np.ones((_TEXTURE_PX, _TEXTURE_PX), np.uint8))
    bordered = cv2.copyMakeBorder(picture, *[_TEXTURE_PX] * 4, cv2.BORDER_CONSTANT, value=235)
    return np.asarray(bordered), scale, 2 * _TEXTURE_PX - 0.5
