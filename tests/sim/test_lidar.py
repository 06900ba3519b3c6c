import msgspec
import numpy as np
import pytest

pytest.importorskip("embreex", reason="the extra sim is not installed")
pytest.importorskip("cv2", reason="the extra sim is not installed")

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sim.beams import BEAM_TABLES, directions
from fusion_rt.sim.lidar import SimulatedLidar, Sweep
from fusion_rt.sim.models import models
from fusion_rt.sim.scenario import Weather, load_scenario
from fusion_rt.sim.truth import truth_at
from fusion_rt.sim.world import World
from tests.sim.conftest import shared_world

PERIOD_NS = 100 * NS_PER_MS


def lidar_of(world: World, calibration: Calibration, beams: str = "hdl64") -> SimulatedLidar:
    return SimulatedLidar(world, BEAM_TABLES[beams], 1200, calibration.base_from["lidar_top"])


def inside_share(
    world: World, calibration: Calibration, sweep: Sweep, end_ns: int
) -> tuple[int, int]:
    """Points on objects, and those of them inside their boxes where these were when they fired.

    Boxes are grown by 8 cm, four standard deviations of the range noise.
    """
    inside = total = 0
    points = calibration.base_from["lidar_top"].apply(sweep.points[:, :3])
    fired_ns = end_ns + np.round(sweep.points[:, 4].astype(np.float64) * NS_PER_S).astype(np.int64)
    for number in np.unique(sweep.object_ids[sweep.object_ids > 0]):
        of_it = sweep.object_ids == number
        for t_ns in np.unique(fired_ns[of_it]):
            truth = truth_at(world, int(t_ns))
            box = truth.boxes[truth.ids == number][0].astype(np.float64)
            offset = points[of_it & (fired_ns == t_ns)] - box[:3]
            cos, sin = np.cos(box[6]), np.sin(box[6])
            along = np.stack(
                [
                    cos * offset[:, 0] + sin * offset[:, 1],
                    cos * offset[:, 1] - sin * offset[:, 0],
                    offset[:, 2],
                ],
                1,
            )
            total += len(along)
            inside += int((np.abs(along) <= box[3:6] / 2 + 0.08).all(axis=1).sum())
    return inside, total


def test_a_sweep_has_at_least_sixty_thousand_points(urban: World, calibration: Calibration) -> None:
    sweep = lidar_of(urban, calibration).turn(16 * NS_PER_S, 0)
    assert len(sweep.points) >= 60_000
    assert len(sweep.ring) == len(sweep.object_ids) == len(sweep.points)


@pytest.mark.parametrize(("scenario", "seed"), [("urban_day", 1), ("siren_behind", 3)])
def test_points_on_objects_lie_inside_their_boxes(
    scenario: str, seed: int, calibration: Calibration
) -> None:
    world = shared_world(scenario, seed)
    lidar, counts = lidar_of(world, calibration), []
    for number, end_ns in enumerate(range(4 * NS_PER_S, 24 * NS_PER_S, 5 * NS_PER_S)):
        counts.append(inside_share(world, calibration, lidar.turn(end_ns, number), end_ns))
    inside, total = np.sum(counts, axis=0)
    assert total > 3000
    assert inside / total >= 0.99


def test_the_ground_lies_at_height_zero(urban: World, calibration: Calibration) -> None:
    sweep = lidar_of(urban, calibration).turn(16 * NS_PER_S, 0)
    points = calibration.base_from["lidar_top"].apply(sweep.points[sweep.ring < 20, :3])
    near = points[np.hypot(points[:, 0], points[:, 1]) < 7]
    assert abs(np.median(near[:, 2])) < 0.01


def test_points_carry_when_they_were_measured(urban: World, calibration: Calibration) -> None:
    dt_s = lidar_of(urban, calibration).turn(16 * NS_PER_S, 0).points[:, 4]
    assert dt_s.max() == 0
    assert dt_s.min() == pytest.approx(-0.1, abs=0.001)
    assert (np.diff(dt_s) >= 0).all()


def test_a_moving_rig_smears_what_stands_still(urban: World, calibration: Calibration) -> None:
    """De-skewed by the ego's true motion, a pole's returns are as thin as the pole."""
    lidar, end_ns = lidar_of(urban, calibration), 6 * NS_PER_S
    assert urban.ego(end_ns).v_mps > 5
    sweep = lidar.turn(end_ns, 0)
    place = calibration.base_from["lidar_top"]
    wall = sweep.points[(sweep.object_ids == 0) & (sweep.ring > 60)]
    fired = end_ns + np.round(wall[:, 4].astype(float) * NS_PER_S).astype(np.int64)
    city = np.stack(
        [
            urban.ego(int(t)).city_from_base.apply(place.apply(p[:3].astype(float)))
            for p, t in zip(wall[::7], fired[::7], strict=True)
        ]
    )
    x0, x1, y0, y1, height = urban.city.buildings_m.T
    beside = np.maximum(
        np.maximum(x0 - city[:, :1], city[:, :1] - x1),
        np.maximum(y0 - city[:, 1:2], city[:, 1:2] - y1),
    )
    beside = np.where(city[:, 2:] < height + 0.1, np.abs(beside), np.inf).min(axis=1)
    assert np.median(beside) < 0.03


def test_one_seed_gives_the_same_sweep_to_two_devices(
    urban: World, calibration: Calibration
) -> None:
    first, second = (lidar_of(urban, calibration).turn(9 * NS_PER_S, 5) for _ in range(2))
    assert first.points.tobytes() == second.points.tobytes()
    assert (
        first.points.tobytes()
        != lidar_of(urban, calibration).turn(9 * NS_PER_S, 6).points.tobytes()
    )


def test_rain_takes_far_returns_and_adds_near_ones(calibration: Calibration) -> None:
    dry = load_scenario("urban_day")
    wet = msgspec.structs.replace(dry, weather=Weather(rain_mm_h=40, visibility_m=600))
    ranges = []
    for scenario in (dry, wet):
        sweep = lidar_of(World(scenario, 1), calibration).turn(3 * NS_PER_S, 0)
        ranges.append(np.linalg.norm(sweep.points[:, :3], axis=1))
    assert (ranges[1] > 40).sum() < 0.9 * (ranges[0] > 40).sum()
    assert (ranges[1] < 2).sum() > (ranges[0] < 2).sum() + 100


def test_dark_cars_return_less(urban: World, calibration: Calibration) -> None:
    sweep = lidar_of(urban, calibration).turn(16 * NS_PER_S, 0)
    objects = urban.objects(16 * NS_PER_S)
    means = {}
    for row, number in enumerate(objects.ids.tolist()):
        of_it = sweep.points[sweep.object_ids == number]
        if len(of_it) > 100 and models()[objects.models[row]].class_id == 0:
            means[number] = (
                float(objects.colours[row].mean()),
                float(np.percentile(of_it[:, 3], 70)),
            )
    darkest, brightest = min(means.values()), max(means.values())
    assert darkest[1] < brightest[1]


@pytest.mark.parametrize("name", BEAM_TABLES)
def test_beams_are_in_order_and_unit_long(name: str) -> None:
    table = BEAM_TABLES[name]
    assert list(table.elevations_deg) == sorted(table.elevations_deg)
    assert {"hdl64": 64, "vlp32c": 32, "vlp16": 16}[name] == len(table.elevations_deg)
    assert np.allclose(np.linalg.norm(directions(table, 90), axis=-1), 1, atol=1e-6)


def test_beams_turn_clockwise_from_behind() -> None:
    ways = directions(BEAM_TABLES["vlp16"], 360)[:, 8]
    assert ways[0, 0] < -0.99
    assert ways[90, 1] > 0.9  # a quarter turn on: to the left
    assert ways[180, 0] > 0.9
