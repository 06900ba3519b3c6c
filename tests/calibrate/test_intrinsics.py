import cv2
import numpy as np
import pytest

from fusion_rt.calibrate.boards import BoardView, Chessboard, Fault, find_board
from fusion_rt.calibrate.coverage import coverage_of
from fusion_rt.calibrate.intrinsics import calibrate_intrinsics, intrinsics_problems, view_errors
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, Fisheye, Pinhole, RigidTransform
from tests.calibrate.boards_drawn import CHARUCO, CHESSBOARD, FISHEYE, PINHOLE, poses, views
from tests.calibrate.real_data import recording


def exact_views(camera: CameraModel, at: list[RigidTransform], noise_px: float = 0.1):
    """Corners as a finder would give them, without drawing the images."""
    rng = np.random.default_rng(0)
    found = []
    for k, pose in enumerate(at):
        pixels = camera.project(pose.apply(CHESSBOARD.corners_m))
        pixels += rng.normal(0, noise_px, pixels.shape)
        name = f"{k}.png"
        found.append(
            BoardView(name=name, corners_m=CHESSBOARD.corners_m, pixels=pixels, edge_width_px=2.0)
        )
    return found


def size(camera: CameraModel) -> tuple[int, int]:
    return camera.width, camera.height


@pytest.mark.parametrize("board", [CHESSBOARD, CHARUCO])
def test_a_drawn_pinhole_camera_is_found_again(board) -> None:
    at = poses(12, 1.3, reach=0.6)  # a chessboard must be seen whole
    found = calibrate_intrinsics(views(PINHOLE, board, at), size(PINHOLE))
    assert found.camera.fx_px == pytest.approx(PINHOLE.fx_px, rel=0.003)
    assert found.camera.cx_px == pytest.approx(PINHOLE.cx_px, abs=2)
    assert found.rms_px < 0.3


def test_a_drawn_fisheye_is_found_again() -> None:
    found = calibrate_intrinsics(views(FISHEYE, CHARUCO, poses(12, 0.6)), size(FISHEYE), "fisheye")
    assert isinstance(found.camera, Fisheye)
    assert found.camera.fx_px == pytest.approx(FISHEYE.fx_px, rel=0.005)
    assert found.rms_px < 0.4


def test_a_view_that_does_not_fit_is_left_out() -> None:
    seen = exact_views(PINHOLE, poses(12, 1.1))
    spoilt = seen[4].pixels + np.random.default_rng(1).normal(0, 4, seen[4].pixels.shape)
    seen[4] = BoardView(
        name="bad.png", corners_m=seen[4].corners_m, pixels=spoilt, edge_width_px=2.0
    )
    found = calibrate_intrinsics(seen, size(PINHOLE))
    assert found.outliers == ("bad.png",)
    assert found.rms_px < 0.3


def test_too_few_views_are_refused() -> None:
    with pytest.raises(CalibrationError, match="expected 5 usable views, got 3"):
        calibrate_intrinsics(exact_views(PINHOLE, poses(3, 1.1)), size(PINHOLE))


def test_views_in_one_corner_are_refused_with_what_to_add() -> None:
    one = poses(8, 2.5)[0]
    tilts = np.random.default_rng(0).uniform(-0.4, 0.4, (8, 3))
    at = [
        RigidTransform(
            RigidTransform.from_rotation_vector(tilt).rotation @ one.rotation, one.translation_m
        )
        for tilt in tilts
    ]
    with pytest.raises(CalibrationError, match=r"corners in 6 of 16 .*; .*show the board in the"):
        calibrate_intrinsics(exact_views(PINHOLE, at), size(PINHOLE))


def test_boards_held_alike_are_refused() -> None:
    at = [RigidTransform(np.eye(3), pose.translation_m) for pose in poses(12, 1.1)]
    with pytest.raises(CalibrationError, match="tilt"):
        calibrate_intrinsics(exact_views(PINHOLE, at, 0.3), size(PINHOLE))


def test_a_wrong_camera_model_is_refused_by_its_errors() -> None:
    seen = exact_views(PINHOLE, poses(12, 1.1), noise_px=2.0)
    with pytest.raises(CalibrationError, match=r"expected 1 px rms at most, got 2\.\d"):
        calibrate_intrinsics(seen, size(PINHOLE))


def camera(**changes: float) -> Pinhole:
    numbers = {"width": 640, "height": 480, "fx_px": 500, "fy_px": 500, "cx_px": 320, "cy_px": 240}
    return Pinhole(**{**numbers, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (camera(fx_px=400), "expected square pixels, got fx_px 400.0 and fy_px 500.0, 20% apart"),
        (camera(cx_px=10), "expected cx_px near 320, got 10.0"),
        (camera(cy_px=470), "expected cy_px near 240, got 470.0"),
        (camera(fx_px=20_000, fy_px=20_000), "expected a field of view of 5 to 140 degrees, got 2"),
        (
            camera(distortion=(-2.0, 0.0, 0.0, 0.0, 0.0)),  # type: ignore[arg-type]
            "expected a distortion that can be undone in the whole image: it folds back",
        ),
    ],
)
def test_what_cannot_be_right_is_named(wrong: Pinhole, words: str) -> None:
    assert words in intrinsics_problems(wrong)


def test_a_plausible_camera_raises_no_problem() -> None:
    assert intrinsics_problems(camera()) == []


def test_coverage_asks_for_what_is_missing() -> None:
    left_half = np.stack(np.meshgrid(np.arange(10, 300, 20.0), np.arange(10, 470, 20.0)), -1)
    pixels = left_half.reshape(-1, 2)
    tilted = RigidTransform.from_rotation_vector([0.3, 0, 0]).rotation
    coverage = coverage_of([pixels, pixels], [np.eye(3), tilted], (640, 480))
    assert coverage.fault is None
    assert "tilt the board" in coverage.advice[0]
    assert "middle right" in coverage.advice[1]
    assert "left of" not in coverage.advice[1]
    assert "2 of the 12" in coverage.advice[2]


def test_the_recorded_chessboard_set_gives_the_reference() -> None:
    folder = recording("calibration/chessboard_1920x1200")
    board = Chessboard(columns=15, rows=17, square_m=0.05)
    seen = []
    for path in sorted(folder.glob("*.png")):
        view = find_board(path.name, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), board)
        assert not isinstance(view, Fault)
        seen.append(view)
    found = calibrate_intrinsics(seen, (1920, 1200))
    assert found.camera.fx_px == pytest.approx(1058.2, rel=0.003)
    assert found.camera.fy_px == pytest.approx(1059.8, rel=0.003)
    assert found.rms_px <= 0.3


def test_a_known_camera_is_checked_on_new_views() -> None:
    seen = exact_views(PINHOLE, poses(4, 1.1))
    errors = np.vstack(view_errors(PINHOLE, seen))
    assert np.sqrt((errors**2).sum(axis=1).mean()) < 0.3
