import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusion_rt.geometry import Fisheye, Pinhole, RigidTransform

KITTI = Path(__file__).parents[2] / "shared/data/kitti/training"

metres = st.floats(-100, 100)
translations = st.tuples(metres, metres, metres)
quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 1e-3)
transforms = st.builds(RigidTransform.from_quaternion, quaternions, translations)
points = st.tuples(metres, metres, metres).map(np.array)


@given(transforms, transforms, points)
def test_composing_is_applying_one_after_the_other(
    a_from_b: RigidTransform, b_from_c: RigidTransform, point_c: np.ndarray
) -> None:
    expected = a_from_b.apply(b_from_c.apply(point_c))
    np.testing.assert_allclose((a_from_b @ b_from_c).apply(point_c), expected, atol=1e-9)


@given(transforms, points)
def test_the_inverse_brings_points_back(a_from_b: RigidTransform, point: np.ndarray) -> None:
    back = a_from_b.inverse().apply(a_from_b.apply(point))
    np.testing.assert_allclose(back, point, atol=1e-9)


@given(quaternions)
def test_a_quaternion_survives_the_round_trip(wxyz: tuple[float, ...]) -> None:
    unit = np.array(wxyz) / np.linalg.norm(wxyz)
    got = RigidTransform.from_quaternion(wxyz).quaternion_wxyz
    assert got[0] >= 0
    assert min(np.abs(got - unit).max(), np.abs(got + unit).max()) < 1e-9


@given(st.floats(-3.14, 3.14))
def test_yaw_turns_x_towards_y(yaw_rad: float) -> None:
    turned = RigidTransform.from_yaw(yaw_rad)
    expected = [math.cos(yaw_rad), math.sin(yaw_rad), 0]
    np.testing.assert_allclose(turned.apply(np.array([1.0, 0, 0])), expected, atol=1e-12)
    assert turned.yaw_rad == pytest.approx(yaw_rad)


@given(transforms, points)
def test_the_matrix_is_the_transform(a_from_b: RigidTransform, point: np.ndarray) -> None:
    expected = (a_from_b.matrix @ [*point, 1.0])[:3]
    np.testing.assert_allclose(a_from_b.apply(point), expected, atol=1e-9)


def test_a_long_chain_stays_a_rotation() -> None:
    step = RigidTransform.from_quaternion((0.9, 0.1, 0.2, 0.3))
    chain = RigidTransform.identity()
    for _ in range(10_000):
        chain = chain @ step
    error = np.abs(chain.rotation @ chain.rotation.T - np.eye(3)).max()
    assert error < 1e-12


def test_a_transform_keeps_its_own_read_only_copy() -> None:
    rotation = np.eye(3)
    transform = RigidTransform(rotation, np.zeros(3))
    rotation[0, 0] = 5
    assert transform.rotation[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        transform.translation_m[0] = 1


def test_a_matrix_that_is_no_rotation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rotation: expected orthonormal rows to .*, got 3 off"):
        RigidTransform(np.eye(3) * 2, np.zeros(3))


def test_a_mirror_is_refused() -> None:
    with pytest.raises(ValueError, match="expected determinant 1, got -1: it mirrors"):
        RigidTransform(np.diag([1.0, -1, 1]), np.zeros(3))


@pytest.mark.parametrize("translation_m", [[1, 2], [1, 2, math.nan]])
def test_a_translation_that_is_none_is_refused(translation_m: list[float]) -> None:
    with pytest.raises(ValueError, match=r"translation_m: expected \(3,\) finite numbers, got \[1"):
        RigidTransform(np.eye(3), np.array(translation_m))


def test_a_quaternion_of_length_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a quaternion of 4 numbers, not all 0, got"):
        RigidTransform.from_quaternion((0, 0, 0, 0))


def pinhole(distortion: tuple[float, ...] = (0, 0, 0, 0, 0)) -> Pinhole:
    return Pinhole(
        width=640, height=480, fx_px=500, fy_px=400, cx_px=320, cy_px=240, distortion=distortion
    )


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.1, 100))
def test_a_pixel_without_distortion_is_on_its_ray(x_m: float, y_m: float, z_m: float) -> None:
    u, v = pinhole().project(np.array([x_m, y_m, z_m]))
    assert (u - 320) * z_m == pytest.approx(500 * x_m, abs=1e-6)
    assert (v - 240) * z_m == pytest.approx(400 * y_m, abs=1e-6)


def test_distortion_is_the_brown_conrady_polynomial() -> None:
    k1, k2, p1, p2, k3 = distortion = (-0.2, 0.05, 0.001, -0.002, -0.001)
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = 500 * (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)) + 320
    v = 400 * (y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y) + 240
    got = pinhole(distortion).project(np.array([2 * x, 2 * y, 2.0]))
    np.testing.assert_allclose(got, [u, v], rtol=1e-12)


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels = pinhole().project(np.array([[0, 0, 1.0], [0, 0, -1], [0, 0, 0]]))
    assert np.isnan(pixels).any(axis=1).tolist() == [False, True, True]


def test_points_where_the_distortion_folds_back_have_no_pixel() -> None:
    camera = pinhole((-0.3, 0, 0, 0, 0))  # r (1 - 0.3 r^2) turns at r = 1.054
    pixels = camera.project(np.array([[1.0, 0, 1], [1.1, 0, 1], [3.0, 0, 1]]))
    assert np.isnan(pixels).any(axis=1).tolist() == [False, True, True]


@given(st.tuples(*[st.floats(-1e4, 1e4)] * 5), points)
@example((0, 0, 0, 0, 5e-324), np.array([0.1, 0.2, 1.0]))
def test_any_distortion_gives_a_pixel_or_none(
    distortion: tuple[float, ...], point: np.ndarray
) -> None:
    pixel = pinhole(distortion).project(point)
    assert np.isnan(pixel).all() or np.isfinite(pixel).all()


def test_numbers_too_large_to_be_a_rotation_are_refused() -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="expected orthonormal rows"):
        RigidTransform(np.full((3, 3), 1e300), np.zeros(3))


def test_a_principal_point_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cx_px, cy_px inside 320x240, got 320, 240: are they of"):
        Pinhole(width=320, height=240, fx_px=500, fy_px=500, cx_px=320, cy_px=240)


def numbers_by_name(path: Path) -> dict[str, np.ndarray]:
    rows = (line.split(":") for line in path.read_text().splitlines() if ":" in line)
    return {name: np.array(row.split(), float) for name, row in rows}


@pytest.mark.skipif(not KITTI.exists(), reason="needs the KITTI frames beside the repository")
def test_real_lidar_points_in_a_labelled_box_fall_into_its_image_rectangle() -> None:
    calib = numbers_by_name(KITTI.parent / "training/calib/000001.txt")
    velo, rectify = calib["Tr_velo_to_cam"].reshape(3, 4), calib["R0_rect"].reshape(3, 3)
    p2 = calib["P2"].reshape(3, 4)
    baseline = np.linalg.solve(p2[:, :3], p2[:, 3])
    camera_from_lidar = (
        RigidTransform(np.eye(3), baseline)
        @ RigidTransform(rectify, np.zeros(3))
        @ RigidTransform(velo[:, :3], velo[:, 3])
    )
    camera = Pinhole(
        width=1242, height=375, fx_px=p2[0, 0], fy_px=p2[1, 1], cx_px=p2[0, 2], cy_px=p2[1, 2]
    )
    points_lidar = np.fromfile(KITTI / "velodyne/000001.bin", np.float32).reshape(-1, 4)[:, :3]
    points_camera = camera_from_lidar.apply(points_lidar) - baseline
    truck = (KITTI / "label_2/000001.txt").read_text().splitlines()[0].split()
    left, top, right, bottom, h, w, length, x, y, z, yaw = map(float, truck[4:15])
    box_from_camera = RigidTransform(
        np.array(
            [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
        ),
        np.array([x, y, z]),
    ).inverse()
    points_box = box_from_camera.apply(points_camera)
    points_box[:, 1] += h / 2  # a label's origin is the middle of the box's floor
    members = (np.abs(points_box) <= [length / 2, h / 2, w / 2]).all(axis=1)
    assert members.sum() == 70  # as the documentation of the data counts them
    pixels = camera.project(camera_from_lidar.apply(points_lidar[members]))
    assert (pixels >= [left - 2, top - 2]).all()
    assert (pixels <= [right + 2, bottom + 2]).all()


WIDE = Fisheye(
    width=960, height=720, fx_px=330, fy_px=331, cx_px=477, cy_px=363,
    distortion=(0.05, -0.012, 0.002, -0.0005),
)  # fmt: skip
BENT = Pinhole(
    width=960, height=600, fx_px=700, fy_px=701, cx_px=484, cy_px=296,
    distortion=(-0.12, 0.06, 0.0005, -0.0004, 0.0),
)  # fmt: skip


@pytest.mark.parametrize("camera", [WIDE, BENT])
def test_rays_lead_back_to_their_pixels(camera: Pinhole | Fisheye) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform([0, 0], [camera.width - 1, camera.height - 1], (500, 2))
    rays = camera.rays(pixels)
    assert np.linalg.norm(rays, axis=1) == pytest.approx(1)
    assert camera.project(rays * 7) == pytest.approx(pixels, abs=1e-3)


def test_a_fisheye_sees_beside_itself_but_not_straight_behind() -> None:
    beside, behind, centre = [1.0, 0, -0.2], [0.0, 0, -1], [0.0, 0, 2]
    pixels = WIDE.project(np.array([beside, behind, centre]))
    assert pixels[0, 0] > WIDE.width
    assert np.isnan(pixels[1]).all()
    assert pixels[2] == pytest.approx([WIDE.cx_px, WIDE.cy_px])


def test_rays_where_the_distortion_folds_back_are_nan() -> None:
    folding = msgspec.structs.replace(BENT, distortion=(-2.0, 0.0, 0.0, 0.0, 0.0))
    assert np.isnan(folding.rays([0, 0])).all()
    assert folding.rays([folding.cx_px, folding.cy_px]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("vector", [[0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.1], [0, 3.1, 0]])
def test_a_rotation_vector_survives_the_matrix(vector: list[float]) -> None:
    turn = RigidTransform.from_rotation_vector(vector)
    assert turn.rotation_vector_rad == pytest.approx(vector, abs=1e-9)
    assert turn.angle_rad == pytest.approx(np.linalg.norm(vector), abs=1e-9)
