import cv2
import numpy as np
import pytest

from fusion_rt.calibrate.boards import Chessboard, Fault, find_board
from fusion_rt.calibrate.correspondences import fit_points
from fusion_rt.calibrate.hole_board import HoleBoard, find_holes
from fusion_rt.calibrate.hole_pixels import hole_pixels
from fusion_rt.calibrate.sweep_file import read_sweep
from fusion_rt.calibrate.targetless import difference
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import Pinhole, RigidTransform
from tests.calibrate.boards_drawn import CHESSBOARD, PINHOLE, photograph
from tests.calibrate.real_data import recording

POSE = RigidTransform(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), [0.1, -0.3, -0.2])
MIRROR_Y = np.diag([1.0, -1, 1])
HOLES = HoleBoard(width_m=0.6, height_m=0.6, radius_m=0.11, board_width_m=1.06, board_height_m=1.0)


def seen_points(count: int, noise_px: float = 0.5):
    rng = np.random.default_rng(0)
    points = rng.uniform([4, -2, -1], [9, 2, 1], (count, 3))
    pixels = PINHOLE.project(POSE.apply(points))
    return points, pixels + rng.normal(0, noise_px, pixels.shape)


def test_points_seen_by_both_give_the_pose_and_its_uncertainty() -> None:
    found = fit_points(*seen_points(32), PINHOLE)
    degrees, metres = difference(found.camera_from_lidar, POSE)
    assert degrees < 0.15
    assert metres < 0.02
    assert metres < 4 * np.linalg.norm(found.sd_m)
    assert found.rms_px < 1


def test_a_point_that_does_not_fit_is_left_out() -> None:
    points, pixels = seen_points(16)
    pixels[5] += 40
    found = fit_points(points, pixels, PINHOLE)
    assert np.flatnonzero(~found.is_used).tolist() == [5]
    assert difference(found.camera_from_lidar, POSE)[1] < 0.03


def test_left_handed_axes_are_refused_by_name() -> None:
    points, pixels = seen_points(32)
    with pytest.raises(CalibrationError, match="axes are left-handed: turn the sign of y"):
        fit_points(points @ MIRROR_Y, pixels, PINHOLE)


def test_points_that_do_not_belong_together_are_refused() -> None:
    points, pixels = seen_points(32)
    with pytest.raises(CalibrationError, match="check the order of the points"):
        fit_points(points[::-1].copy(), pixels, PINHOLE)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(CalibrationError, match="expected 8 points seen by both, got 4"):
        fit_points(*seen_points(4), PINHOLE)


def test_points_that_leave_the_pose_open_are_refused() -> None:
    points, _ = seen_points(12)
    far = points * [0.2, 1, 1] + [25, 0, 0]
    pixels = PINHOLE.project(POSE.apply(far))
    pixels += np.random.default_rng(0).normal(0, 1.0, pixels.shape)
    with pytest.raises(CalibrationError, match=r"expected a pose certain to 0\.3 degrees"):
        fit_points(far, pixels, PINHOLE)


def test_points_in_one_place_are_refused() -> None:
    points, _ = seen_points(12)
    close = points * 0.001 + [25, 0, 0]
    with pytest.raises(CalibrationError, match="expected points that determine a pose, got some"):
        fit_points(close, PINHOLE.project(POSE.apply(close)), PINHOLE)


def board_sweep(holes: bool = True):
    """A board turned by 10 degrees, 3.3 m ahead, and the wall behind it."""
    rng = np.random.default_rng(0)
    flat = np.stack(np.meshgrid(np.arange(-0.53, 0.53, 0.012), np.arange(-0.5, 0.5, 0.012)), -1)
    flat = flat.reshape(-1, 2)
    inside = np.linalg.norm(flat[:, None] - HOLES.holes_m[None], axis=2).min(axis=1) < 0.11
    flat = flat[~inside] if holes else flat
    turn = RigidTransform.from_yaw(np.radians(10))
    across, down = turn.rotation @ [0.0, -1, 0], np.array([0.0, 0, -1])
    middle = np.array([3.3, 0.5, -0.2])
    board = middle + flat @ np.stack([across, down]) + rng.normal(0, 0.008, (len(flat), 3))
    wall = np.stack([np.full(3000, 5.0), *rng.uniform(-3, 3, (2, 3000))], axis=1)
    truth = middle + HOLES.holes_m @ np.stack([across, down])
    return np.vstack([board, wall]), truth


def test_holes_are_found_to_a_centimetre() -> None:
    sweep, truth = board_sweep()
    found = find_holes(sweep, HOLES, np.array([3.2, 0.65, -0.3]))
    assert np.linalg.norm(found - truth, axis=1).max() < 0.01


def test_a_board_without_holes_and_no_board_are_refused() -> None:
    sweep, _ = board_sweep(holes=False)
    with pytest.raises(CalibrationError, match=r"(expected four empty holes|got several)"):
        find_holes(sweep, HOLES, np.array([3.3, 0.5, -0.2]))
    with pytest.raises(CalibrationError, match="expected 300 points near the board, got 0"):
        find_holes(sweep, HOLES, np.array([-8.0, 0, 0]))


def test_two_recorded_scans_of_a_board_agree_to_5_mm() -> None:
    paths = sorted(recording("calibration/lidar_circle_board").glob("*.pcd"))
    first, second = (
        find_holes(read_sweep(path).points_m, HOLES, np.array([3.3, 0.65, -0.35])) for path in paths
    )
    assert np.linalg.norm(first - second, axis=1).max() < 0.005


def test_holes_are_where_the_drawn_chessboard_says() -> None:
    turn = RigidTransform.from_rotation_vector([0.3, -0.2, 0.1]).rotation
    middle = CHESSBOARD.corners_m.mean(axis=0)
    pose = RigidTransform(turn, [0.05, -0.02, 1.3] - turn @ middle)
    view = find_board("a", photograph(PINHOLE, CHESSBOARD, pose), CHESSBOARD)
    assert not isinstance(view, Fault)
    found = hole_pixels(PINHOLE, view, CHESSBOARD, HOLES.holes_m)
    places = np.hstack([HOLES.holes_m, np.zeros((4, 1))]) + middle
    assert np.abs(found - PINHOLE.project(pose.apply(places))).max() < 1.0


def test_simulated_boards_give_the_known_pose() -> None:
    """A simulator's boards; it says neither focal length nor board, so both are as measured."""
    folder = recording("calibration/joint_board_sim")
    rows = np.loadtxt(folder / "circle.csv", delimiter=",", skiprows=1)
    board = Chessboard(columns=17, rows=7, square_m=0.0488)
    camera = Pinhole(width=1920, height=1200, fx_px=1660, fy_px=1660, cx_px=959.5, cy_px=599.5)
    points, pixels = [], []
    for number in (1, 5, 9, 13, 17, 21):
        grey = cv2.imread(str(folder / f"{number:02d}.jpg"), cv2.IMREAD_GRAYSCALE)
        view = find_board(str(number), grey, board)
        assert not isinstance(view, Fault)
        points.append(rows[number - 1].reshape(4, 3))
        pixels.append(hole_pixels(camera, view, board, HOLES.holes_m))
    left_handed, seen = np.vstack(points), np.vstack(pixels)
    with pytest.raises(CalibrationError, match="left-handed"):
        fit_points(left_handed, seen, camera)
    found = fit_points(left_handed @ MIRROR_Y, seen, camera)
    reference = RigidTransform(POSE.rotation, np.zeros(3))
    assert difference(found.camera_from_lidar, reference)[0] < 0.3
    place = found.camera_from_lidar.inverse().translation_m
    assert place == pytest.approx([2.48, 0.0, -0.6], abs=0.05)
    assert found.rms_px < 1.5
