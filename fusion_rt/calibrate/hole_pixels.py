"""Where the holes of a chessboard-with-holes are in an image: the camera's half of a board."""

import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.boards import BoardView, Chessboard
from fusion_rt.calibrate.intrinsics import board_pose
from fusion_rt.geometry import CameraModel

Floats = npt.NDArray[np.float64]


def hole_pixels(camera: CameraModel, view: BoardView, board: Chessboard, holes_m: Floats) -> Floats:
    """(4, 2) pixels of holes (4, 2) given in metres from the chessboard's middle, x right, y down.

    As seen in the image: a chessboard can be found upside down, so the corners found are first
    put in reading order.
    """
    rotation, translation = board_pose(camera, view)
    middle = board.corners_m.mean(axis=0)
    across, down = rotation[:, 0], rotation[:, 1]
    right = across if across[0] > 0 else -across
    below = down if down[1] > 0 else -down
    centre = rotation @ middle + translation
    return camera.project(centre + holes_m @ np.stack([right, below]))
