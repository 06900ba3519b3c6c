import math

import msgspec
import numpy as np
import pytest

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.sim.gps import SimulatedGps
from fusion_rt.sim.noise import Wandering, WhiteNoise
from fusion_rt.sim.scenario import Gps, Layout, load_scenario
from fusion_rt.sim.world import World
from tests.sim.conftest import shared_world

RATE_HZ = 10


def receiver(world: World, calibration: Calibration) -> SimulatedGps:
    return SimulatedGps(world, calibration.base_from["gps_main"], RATE_HZ)


def open_world(seed: int, gps: Gps) -> World:
    scenario = msgspec.structs.replace(load_scenario("urban_day"), layout=Layout(gaps=1.0), gps=gps)
    return World(scenario, seed)


def test_open_sky_errors_follow_their_stated_model() -> None:
    """Standard deviation over seeds, and how fast the drift forgets itself."""
    gps = Gps(drift_m=1.5, drift_time_s=5, noise_m=0.3, multipath_m=0)
    now, later = [], []
    for seed in range(300):
        model = Wandering((seed, 1), 3, gps.drift_time_s * RATE_HZ)
        now.append(model.at(1000))
        later.append(model.at(1000 + 5 * RATE_HZ))
    now_all, later_all = np.array(now), np.array(later)
    assert now_all.std() == pytest.approx(1, rel=0.06)
    assert abs(now_all.mean()) < 0.1
    assert np.corrcoef(now_all.ravel(), later_all.ravel())[0, 1] == pytest.approx(
        math.exp(-1), abs=0.08
    )


def test_fixes_are_off_by_what_the_receiver_states(calibration: Calibration) -> None:
    """Over many short drives the horizontal error per axis is the stated accuracy."""
    gps, ratios = Gps(drift_time_s=2), []
    world = open_world(1, gps)
    for seed in range(12):
        world.seed = seed
        device = receiver(world, calibration)
        for number in range(0, 200, 10):
            t_ns = number * NS_PER_S // RATE_HZ
            error = device.error(t_ns, number)
            ratios += (error.enu_m[:2] / error.sigma_m).tolist()
    assert np.std(ratios) == pytest.approx(1, rel=0.12)


def test_a_fix_lies_where_the_antenna_is_plus_its_error(
    urban: World, calibration: Calibration
) -> None:
    device, number = receiver(urban, calibration), 70
    t_ns = number * NS_PER_S // RATE_HZ
    fix, error = device.fix(t_ns, t_ns, number), device.error(t_ns, number)
    gps = urban.scenario.gps
    east_m, north_m = (device.antenna_m(t_ns) + error.enu_m)[:2]
    radius_m = 6_371_000  # a sphere is near enough here
    assert (fix.latitude_deg - gps.latitude_deg) == pytest.approx(
        math.degrees(north_m / radius_m), abs=5e-6
    )
    circle_m = radius_m * math.cos(math.radians(gps.latitude_deg))
    assert (fix.longitude_deg - gps.longitude_deg) == pytest.approx(
        math.degrees(east_m / circle_m), abs=5e-6
    )


def test_houses_make_it_worse(calibration: Calibration) -> None:
    open_sky = receiver(open_world(1, Gps()), calibration)
    canyon = receiver(
        World(
            msgspec.structs.replace(
                load_scenario("urban_day"), layout=Layout(building_height_m=(40, 60), gaps=0)
            ),
            1,
        ),
        calibration,
    )
    t_ns = 3 * NS_PER_S
    assert open_sky.open_sky(t_ns) == 1
    assert canyon.open_sky(t_ns) < 0.6
    good, bad = open_sky.fix(t_ns, 0, 30), canyon.fix(t_ns, 0, 30)
    assert (bad.horizontal_accuracy_m or 0) > 1.5 * (good.horizontal_accuracy_m or 0)
    assert (bad.satellites or 0) < (good.satellites or 0)


def test_tunnels_have_no_fix_nor_the_first_moment_after(calibration: Calibration) -> None:
    world = shared_world("tunnel", 1)
    device = receiver(world, calibration)
    kinds, inside = [], []
    for t_s in range(0, 120):
        pose = world.ego(t_s * NS_PER_S).pose
        inside.append(world.city.is_in_tunnel(pose.x_m, pose.y_m))
        kinds.append(device.fix(t_s * NS_PER_S, 0, t_s * RATE_HZ).fix)
    assert kinds[0] == "3d"
    assert {kind for kind, is_in in zip(kinds, inside, strict=True) if is_in} == {"none"}
    leaves = inside.index(False, inside.index(True))
    assert kinds[leaves] == "none"
    assert "3d" in kinds[leaves + 2 :]


def test_course_means_nothing_at_standstill(urban: World, calibration: Calibration) -> None:
    device = receiver(urban, calibration)
    speeds = [urban.ego(n * NS_PER_S // RATE_HZ).v_mps for n in range(600)]
    still = [n for n, v in enumerate(speeds) if v < 0.01]
    fast = [
        n
        for n, v in enumerate(speeds)
        if v > 6 and abs(urban.ego(n * NS_PER_S // RATE_HZ).yaw_rate) < 1e-6
    ]
    assert min(len(still), len(fast)) > 20
    courses = np.radians([device.fix(n * NS_PER_S // RATE_HZ, 0, n).course_deg or 0 for n in still])
    assert np.abs(np.exp(1j * courses).mean()) < 0.5  # all over the compass
    for n in fast[::10]:
        pose = urban.ego(n * NS_PER_S // RATE_HZ).pose
        expected = 90 - math.degrees(pose.yaw_rad)
        course = device.fix(n * NS_PER_S // RATE_HZ, 0, n).course_deg or 0
        assert abs(math.remainder(course - expected, 360)) < 4


def test_every_fix_is_valid(urban: World, calibration: Calibration) -> None:
    device = receiver(urban, calibration)
    assert all(device.fix(n * NS_PER_S, n, n).problem() is None for n in range(10))


def test_white_noise_is_the_same_wherever_one_begins() -> None:
    noise = WhiteNoise((1, 2), 2)
    whole = noise.at(4000, 300)
    assert np.array_equal(whole[100:], WhiteNoise((1, 2), 2).at(4100, 200))
    assert np.array_equal(noise.at(-3, 5)[:3], np.zeros((3, 2)))
