import cv2
import numpy as np
import pytest

from fusion_rt.calibrate.boards import Fault, edge_width_px, find_board
from tests.calibrate.boards_drawn import CHARUCO, CHESSBOARD, PINHOLE, photograph, poses

POSE = poses(6, 1.2)[5]


@pytest.mark.parametrize("board", [CHESSBOARD, CHARUCO])
def test_corners_are_found_to_a_tenth_of_a_pixel(board) -> None:
    found = find_board("a", photograph(PINHOLE, board, POSE), board)
    assert not isinstance(found, Fault)
    errors = np.linalg.norm(found.pixels - PINHOLE.project(POSE.apply(found.corners_m)), axis=1)
    half_turned = found.corners_m.max(axis=0) - found.corners_m  # 9 x 6 looks the same upside down
    turned = np.linalg.norm(found.pixels - PINHOLE.project(POSE.apply(half_turned)), axis=1)
    assert min(np.median(errors), np.median(turned)) < 0.1


def test_an_image_without_a_board_is_told_so() -> None:
    grey = np.full((300, 400), 120, np.uint8)
    assert find_board("a", grey, CHESSBOARD) is Fault.NO_BOARD
    assert find_board("a", grey, CHARUCO) is Fault.NO_BOARD


def test_a_blurred_board_is_left_out() -> None:
    grey = photograph(PINHOLE, CHESSBOARD, POSE, blur_px=6)
    assert find_board("a", grey, CHESSBOARD) in (Fault.BLURRED, Fault.NO_BOARD)
    grey = photograph(PINHOLE, CHESSBOARD, POSE, blur_px=3)
    assert find_board("a", grey, CHESSBOARD) is Fault.BLURRED


def test_a_part_of_a_charuco_board_is_enough_and_of_a_chessboard_is_not() -> None:
    for board, is_enough in ((CHARUCO, True), (CHESSBOARD, False)):
        grey = photograph(PINHOLE, board, POSE)
        middle = int(PINHOLE.project(POSE.apply(np.array([0.3, 0.2, 0.0])))[0])
        grey[:, middle:] = 120
        assert isinstance(find_board("a", grey, board), Fault) is not is_enough


def test_too_small_a_part_of_a_charuco_board_is_told_so() -> None:
    grey = photograph(PINHOLE, CHARUCO, POSE)
    corner = PINHOLE.project(POSE.apply(np.array([0.14, 0.14, 0.0]))).astype(int)
    grey[:, corner[0] :] = 120
    grey[corner[1] :] = 120
    assert find_board("a", grey, CHARUCO) in (Fault.TOO_FEW, Fault.NO_BOARD)


def test_the_width_of_an_edge_grows_with_blur() -> None:
    step = np.zeros((60, 60), np.uint8)
    step[:, 30:] = 200
    at = np.array([[30.0, 20.0], [30.0, 40.0]])
    widths = [edge_width_px(cv2.GaussianBlur(step, (0, 0), blur), at) for blur in (0.5, 2.0)]
    assert widths[0] < 3 < widths[1]
