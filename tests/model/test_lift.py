"""Looking up places in the camera's picture."""

import math

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.errors import ConfigError
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.model.lift import CameraLift, LiftGrid, shot_from_anchor
from fusion_rt.preprocess.image_prepare import ImageRecipe, plan_image

PINHOLE = Pinhole(width=1280, height=720, fx_px=760, fy_px=760, cx_px=639.5, cy_px=359.5)
OPTICAL = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
MOUNT = RigidTransform(OPTICAL, np.array([1.5, 0.0, 1.4]))
RECIPE = ImageRecipe(448, 256)


def _lift(grid: LiftGrid, pinhole: Pinhole = PINHOLE) -> CameraLift:
    plan = plan_image("bgr8", pinhole.width, pinhole.height, RECIPE)
    return CameraLift(grid, pinhole, MOUNT, plan)


def test_a_place_straight_ahead_at_the_height_of_the_camera_lies_in_the_middle() -> None:
    grid = LiftGrid(x_min_m=11.0, y_min_m=-0.5, cell_m=1, columns=1, rows=1, heights_m=(1.4,))
    coordinates, valid = _lift(grid).run()
    np.testing.assert_allclose(coordinates, [[[0, 0, 10.0]]], atol=1e-6)
    assert valid.tolist() == [[1.0]]


def test_left_of_us_is_left_in_the_picture_and_rows_run_along_y() -> None:
    grid = LiftGrid(x_min_m=11.0, y_min_m=-3, cell_m=3, columns=1, rows=2, heights_m=(1.4,))
    coordinates, _ = _lift(grid).run()
    right, left = coordinates[0, :, 0]
    assert left < 0 < right
    assert left == pytest.approx(-1.5 / 11 * 760 / 640, rel=1e-6)


def test_the_letterbox_moves_coordinates_towards_the_middle_of_the_height() -> None:
    grid = LiftGrid(x_min_m=11.0, y_min_m=-0.5, cell_m=1, columns=1, rows=1, heights_m=(0.4,))
    coordinates, _ = _lift(grid).run()
    assert coordinates[0, 0, 1] == pytest.approx(1.0 / 10 * 760 / 360 * 252 / 256, rel=1e-6)


def test_a_frame_of_another_resolution_is_looked_up_at_the_same_place() -> None:
    half = Pinhole(width=640, height=360, fx_px=380, fy_px=380, cx_px=319.5, cy_px=179.5)
    small = Pinhole(
        width=640, height=360, fx_px=380, fy_px=380, cx_px=(640 - 1) / 2, cy_px=(360 - 1) / 2
    )
    grid = LiftGrid(rows=8, columns=8, cell_m=6)
    assert half == small
    np.testing.assert_allclose(_lift(grid, half).run()[0], _lift(grid).run()[0], atol=1e-6)


def test_places_out_of_the_picture_are_not_valid_and_hold_zeros() -> None:
    grid = LiftGrid(x_min_m=-20, y_min_m=-20, cell_m=10, columns=4, rows=4)
    coordinates, valid = _lift(grid).run()
    assert 0 < valid.sum() < valid.size
    assert not coordinates[0, valid[0] == 0].any()
    assert np.isfinite(coordinates).all()


def test_a_picture_taken_later_shows_a_place_nearer() -> None:
    grid = LiftGrid(x_min_m=11.0, y_min_m=-0.5, cell_m=1, columns=1, rows=1, heights_m=(1.4,))
    moved = shot_from_anchor(20.0, 0.0, NS_PER_S // 10, 0)
    coordinates, _ = _lift(grid).run(moved)
    assert coordinates[0, 0, 2] == pytest.approx(8.0)


def test_turning_left_puts_what_was_ahead_to_the_right() -> None:
    moved = shot_from_anchor(0.0, math.pi / 2, NS_PER_S, 0)
    np.testing.assert_allclose(moved.apply(np.array([5.0, 0, 0])), [0, -5, 0], atol=1e-12)


def test_on_a_quarter_circle_we_end_up_one_radius_ahead_and_aside() -> None:
    moved = shot_from_anchor(10 * math.pi / 2, math.pi / 2, NS_PER_S, 0)
    np.testing.assert_allclose(moved.inverse().translation_m, [10, 10, 0], atol=1e-9)


@pytest.mark.parametrize("wrong", [{"cell_m": 0}, {"rows": 0}, {"heights_m": ()}])
def test_a_grid_without_places_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="lift grid: expected"):
        LiftGrid(**wrong)  # type: ignore[arg-type]
