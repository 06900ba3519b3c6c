"""Projection against OpenCV's, and the points that are in no picture."""

import cv2
import numpy as np
import pytest

from fusion_rt.errors import ArrayError
from fusion_rt.preprocess.project_points import Lens, project_params, project_points

LENS = Lens(1920, 1080, 1000, 990, 960, 540, (-0.15, 0.1, 1e-3, -5e-4, -0.02))


def projected(
    points: np.ndarray, lens: Lens = LENS, transform: np.ndarray | None = None
) -> np.ndarray:
    params = project_params(lens, np.eye(4) if transform is None else transform)
    return project_points(np.asarray(points, np.float32), params)


@pytest.mark.parametrize("columns", [3, 4, 5])
def test_agrees_with_opencv(columns):
    points = np.random.default_rng(0).uniform(-20, 20, (2000, columns)).astype(np.float32)
    transform = np.eye(4)
    transform[:3, :3], _ = cv2.Rodrigues(np.array([0.3, -0.2, 0.1]))
    transform[:3, 3] = (0.1, -0.3, 0.5)
    ours = projected(points, transform=transform)
    matrix = np.array([[LENS.fx, 0, LENS.cx], [0, LENS.fy, LENS.cy], [0, 0, 1]])
    xyz = points[:, :3].astype(np.float64)
    cv, _ = cv2.projectPoints(
        xyz, transform[:3, :3], transform[:3, 3], matrix, np.array(LENS.distortion)
    )
    depth = (xyz @ transform[:3, :3].T + transform[:3, 3])[:, 2]
    seen = ~np.isnan(ours[:, 0])
    assert seen.sum() > 100
    np.testing.assert_allclose(ours[seen, :2], cv[seen, 0], atol=5e-3)
    np.testing.assert_allclose(ours[:, 2], depth, atol=1e-4)


def test_only_points_ahead_and_in_the_picture_have_pixels():
    points = [[0, 0, 5], [0, 0, -5], [0, 0, 0], [50, 0, 5], [np.nan, 0, 5], [0, 0, np.inf]]
    pixels = projected(points)
    np.testing.assert_allclose(pixels[0], [960, 540, 5])
    assert np.isnan(pixels[1:, :2]).all()


def test_a_ray_beyond_the_fold_of_the_polynomial_is_not_seen():
    """Far outside the lens k1 < 0 folds rays back into the picture; they are no pixels of it."""
    lens = Lens(1920, 1080, 1000, 1000, 960, 540, (-0.3, 0, 0, 0, 0))
    assert np.isnan(projected([[1.7, 0, 1]], lens)[0, 0])
    assert not np.isnan(projected([[0.9, 0, 1]], lens)[0, 0])


def test_takes_an_empty_cloud():
    assert projected(np.empty((0, 5))).shape == (0, 3)


@pytest.mark.parametrize(
    "points", [np.zeros((4, 2), np.float32), np.zeros((4, 3)), np.zeros(3, np.float32)]
)
def test_refuses_what_is_no_cloud(points):
    with pytest.raises(
        ArrayError, match=r'"points" expects C-contiguous \(any, 3 or more\) float32'
    ):
        project_points(points, project_params(LENS, np.eye(4)))


def test_refuses_an_output_of_another_shape():
    with pytest.raises(ArrayError, match=r'"out" expects \(4, 3\) float32, got \(4, 2\) float32'):
        project_points(
            np.zeros((4, 3), np.float32),
            project_params(LENS, np.eye(4)),
            out=np.zeros((4, 2), np.float32),
        )


def test_refuses_four_distortion_coefficients():
    with pytest.raises(ArrayError, match=r"5 distortion coefficients, got \(4, 4\) and 4"):
        project_params(Lens(10, 10, 1, 1, 5, 5, (0, 0, 0, 0)), np.eye(4))
