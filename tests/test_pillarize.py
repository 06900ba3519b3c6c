"""The sweep raster against its NumPy reference, and what it does with bad input."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_rt.errors import ArrayError, ConfigError
from fusion_rt.preprocess.pillarize import MAX_SWEEP_POINTS, PillarGrid, Pillarizer, pillar_params
from tests import numpy_kernels

GRID = PillarGrid(columns=32, rows=24, y_min_m=-4.8)
STILL = (0.0, 0.0, 0.0)
KITTI = Path(__file__).parents[2] / "shared" / "data" / "kitti"


def random_sweep(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = [-5, -8, -2, -20, -0.1], [18, 8, 5, 300, 0]
    return rng.uniform(low, high, (count, 5)).astype(np.float32)


def random_transform(seed: int) -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    transform = np.eye(4)
    transform[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    transform[:3, 3] = (0.4, -0.2, 1.1)
    return transform


def clear_of_edges(grid, sweep, transform, linear, angular) -> np.ndarray:
    """Without the points that float32 may put on the other side of an edge than float64."""
    *places, _ = numpy_kernels.cell_coordinates(grid, sweep, transform, linear, angular)
    places = np.stack([places[0], places[1], places[2] * numpy_kernels.BINS])
    with np.errstate(invalid="ignore"):
        gap = np.abs(places - np.rint(places)).min(axis=0)
        reach = np.sqrt((sweep[:, :3].astype(np.float64) ** 2).sum(axis=1))
    near_limit = np.abs(reach - grid.min_range_m) < 1e-3
    return sweep[~((gap < 1e-3) | near_limit)]


def assert_equals_reference(grid, sweep, transform, linear, angular) -> None:
    linear, angular = np.asarray(linear, float), np.asarray(angular, float)
    sweep = clear_of_edges(grid, sweep, transform, linear, angular)
    ours = Pillarizer(grid, transform).run(sweep, linear, angular)
    reference = numpy_kernels.raster(grid, sweep, transform, linear, angular)
    np.testing.assert_allclose(ours, reference, atol=6e-4)  # 1 / 4096 per level, and float32


def test_equals_reference_with_motion_and_mounting():
    sweep, transform = random_sweep(1, 5000), random_transform(2)
    assert_equals_reference(GRID, sweep, transform, (12.0, 0.5, 0.1), (0.1, -0.2, 0.9))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 600),
    columns=st.integers(1, 40),
    rows=st.integers(1, 40),
    yaw_rate=st.floats(-2, 2),
    bad=st.lists(
        st.tuples(
            st.integers(0, 599),
            st.integers(0, 4),
            st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 1e-42]),
        ),
        max_size=20,
    ),
)
def test_equals_reference_for_any_shape_and_bad_values(seed, count, columns, rows, yaw_rate, bad):
    sweep = random_sweep(seed, count)
    for row, column, value in bad:
        sweep[row : row + 1, column] = value
    grid = PillarGrid(columns=columns, rows=rows, y_min_m=-4.8)
    assert_equals_reference(grid, sweep, random_transform(seed), (5, 0, 0), (0, 0, yaw_rate))


def test_a_cell_is_found_by_row_y_and_column_x():
    raster = Pillarizer(GRID, np.eye(4)).run(np.array([[4.2, -2.2, 1, 255, 0]], np.float32))
    assert np.argwhere(raster[12]).tolist() == [[6, 10]]
    assert raster[10, 6, 10] == pytest.approx(1.0, abs=1e-3)


def test_deskew_undoes_the_motion_of_base():
    """A wall point seen 0.1 s before the stamp, driving at it with 20 m/s, is 2 m nearer now."""
    early = np.array([[8.1, 0.1, 1, 0, -0.1]], np.float32)
    raster = Pillarizer(GRID, np.eye(4)).run(early, linear_mps=(20, 0, 0))
    assert np.argwhere(raster[12])[0, 1] == int(6.1 / 0.4)


def test_points_outside_range_grid_or_sweep_are_dropped():
    sweep = np.array(
        [[0.1, 0, 0.2, 0, 0], [500, 0, 1, 0, 0], [5, 0, 99, 0, 0], [5, 0.1, 1, 0, -60]], np.float32
    )
    pillarizer = Pillarizer(GRID, np.eye(4))
    assert not pillarizer.run(sweep, angular_radps=(0, 0, 0.5)).any()
    assert pillarizer.points_kept == 0


def test_leaves_no_trace_of_the_sweep_before():
    pillarizer = Pillarizer(GRID, np.eye(4))
    first = pillarizer.run(random_sweep(3, 2000)).copy()
    pillarizer.run(random_sweep(4, 2000))
    np.testing.assert_array_equal(pillarizer.run(random_sweep(3, 2000)), first)


def test_does_not_depend_on_the_order_of_points():
    sweep = random_sweep(5, 4000)
    shuffled = np.random.default_rng(0).permutation(sweep)
    one = Pillarizer(GRID, np.eye(4)).run(sweep)
    np.testing.assert_array_equal(one, Pillarizer(GRID, np.eye(4)).run(shuffled))


def test_sums_hold_the_largest_sweep_in_one_cell():
    sweep = np.tile(np.array([[0.79, 0.39, 3.99, 255, 0]], np.float32), (MAX_SWEEP_POINTS, 1))
    raster = Pillarizer(GRID, np.eye(4)).run(sweep)[:, 12, 1]
    assert raster[11] == pytest.approx(np.log(MAX_SWEEP_POINTS + 1), rel=1e-5)
    assert raster[[9, 10]] == pytest.approx([4.99 / 5, 1.0], abs=1e-3)
    assert raster[[13, 14]] == pytest.approx([0.475, 0.475], abs=1e-3)


def test_refuses_more_points_than_the_sums_hold():
    with pytest.raises(ArrayError, match=r"expects at most 1048575 points, got 1048576"):
        Pillarizer(GRID, np.eye(4)).run(np.zeros((MAX_SWEEP_POINTS + 1, 5), np.float32))


def test_writes_into_the_callers_array():
    out = np.full(GRID.raster_spec.shape, np.nan, np.float32)
    assert Pillarizer(GRID, np.eye(4)).run(random_sweep(6, 100), out=out) is out
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("points", "got"),
    [
        (np.zeros((3, 4), np.float32), r"\(3, 4\) float32"),
        (np.zeros((3, 5)), r"\(3, 5\) float64"),
        (np.zeros((3, 10), np.float32)[:, ::2], ".*strides"),
        ([[0.0] * 5], "list"),
    ],
)
def test_refuses_other_arrays(points, got):
    with pytest.raises(
        ArrayError, match=rf'"points_lidar" expects .*\(any, 5\) float32, got {got}'
    ):
        Pillarizer(GRID, np.eye(4)).run(points)


def test_refuses_a_transform_that_is_none():
    with pytest.raises(ArrayError, match=r"expects a finite \(4, 4\) transform, got \(3, 3\)"):
        pillar_params(GRID, np.eye(3))


def test_refuses_a_grid_without_height():
    with pytest.raises(ConfigError, match="expected z_min_m < z_max_m, got PillarGrid"):
        PillarGrid(z_min_m=2.0, z_max_m=2.0)


def test_runs_beside_other_threads():
    """The GIL is released: two threads with a pillarizer each get the answers of one."""
    sweep = random_sweep(7, 50_000)
    expected = Pillarizer(GRID, np.eye(4)).run(sweep)
    results = [np.empty(GRID.raster_spec.shape, np.float32) for _ in range(2)]

    def work(out: np.ndarray) -> None:
        pillarizer = Pillarizer(GRID, np.eye(4))
        for _ in range(20):
            pillarizer.run(sweep, out=out)

    threads = [threading.Thread(target=work, args=(out,)) for out in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for out in results:
        np.testing.assert_array_equal(out, expected)


@pytest.mark.skipif(not KITTI.is_dir(), reason="shared sensor data is not here")
def test_equals_reference_on_a_real_scan():
    scan = np.fromfile(next(KITTI.rglob("000001.bin")), np.float32).reshape(-1, 4)
    sweep = np.zeros((len(scan), 5), np.float32)
    sweep[:, :4] = scan
    sweep[:, 4] = -0.1 * np.linspace(1, 0, len(scan))
    grid = PillarGrid(z_min_m=-3, z_max_m=2, intensity_max=1)
    assert_equals_reference(grid, sweep, np.eye(4), (9, 0, 0), (0, 0, 0.2))
