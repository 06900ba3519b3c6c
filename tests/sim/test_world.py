import math

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sim.models import CLASSES, models, sizes_m
from fusion_rt.sim.scenario import load_scenario
from fusion_rt.sim.world import Objects, World
from tests.sim.conftest import shared_world


def same(a: Objects, b: Objects) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__struct_fields__)


def test_one_seed_is_one_world_in_whatever_order_it_is_asked(urban: World) -> None:
    other = World(load_scenario("urban_day"), 1)
    for t_s in (31, 7, 19):
        assert same(urban.objects(t_s * NS_PER_S), other.objects(t_s * NS_PER_S))
        assert urban.ego(t_s * NS_PER_S) == other.ego(t_s * NS_PER_S)


def test_another_seed_is_another_world(urban: World) -> None:
    other = shared_world("urban_day", 2)
    assert urban.ego(NS_PER_S) != other.ego(NS_PER_S)


def test_the_rig_turns_and_stops(urban: World) -> None:
    states = [urban.ego(t_s * NS_PER_S) for t_s in range(120)]
    yaws = np.unwrap([state.pose.yaw_rad for state in states])
    assert np.ptp(yaws) > math.radians(80)
    assert min(state.v_mps for state in states[5:]) < 0.05
    assert max(state.v_mps for state in states) > 8


def test_velocity_is_the_change_of_place(urban: World) -> None:
    step_ns = NS_PER_MS
    for t_s in (3.3, 12.7, 28.1, 51.9):
        t_ns = round(t_s * NS_PER_S)
        here, there = urban.objects(t_ns), urban.objects(t_ns + step_ns)
        moved = (there.positions_m - here.positions_m) / (step_ns / NS_PER_S)
        assert np.abs(moved - here.velocities_mps).max() < 0.6  # curves, kerbs, lane changes
        assert np.median(np.abs(moved - here.velocities_mps)) < 0.01


def test_nobody_drives_through_anybody() -> None:
    for seed in (1, 2, 3):
        world = shared_world("urban_day", seed)
        wide = sizes_m()[:, 1]
        for t_s in range(0, 90, 3):
            objects, ego = world.objects(t_s * NS_PER_S), world.ego(t_s * NS_PER_S)
            is_vehicle = np.isin([models()[m].class_id for m in objects.models], (0, 1))
            places = np.vstack([objects.positions_m[is_vehicle], [[ego.pose.x_m, ego.pose.y_m]]])
            width = np.append(wide[objects.models[is_vehicle]], 1.8)
            gap = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
            np.fill_diagonal(gap, np.inf)
            assert (gap > (width[:, None] + width[None]) / 2).all()


def test_traffic_keeps_flowing(urban: World) -> None:
    speeds = [
        [m.v_mps for m in urban.motions(t_s * NS_PER_S).values()] for t_s in range(60, 200, 5)
    ]
    assert (np.max(speeds, axis=0) > 2).all()  # nobody stands for ever


def test_the_ambulance_comes_from_behind_and_passes() -> None:
    world = shared_world("siren_behind", 1)
    ahead_m = []
    for t_s in range(5, 60):
        ((_, _, motion),) = world.sirens(t_s * NS_PER_S)
        pose = world.ego(t_s * NS_PER_S).pose
        dx, dy = motion.pose.x_m - pose.x_m, motion.pose.y_m - pose.y_m
        ahead_m.append(dx * math.cos(pose.yaw_rad) + dy * math.sin(pose.yaw_rad))
    assert min(ahead_m[:10]) < -5
    assert ahead_m[-1] > 10
    assert not world.sirens(3 * NS_PER_S)


def test_the_tunnel_lies_on_the_way() -> None:
    world = shared_world("tunnel", 1)
    poses = [world.ego(t_s * NS_PER_S).pose for t_s in range(0, 90, 2)]
    inside = [world.city.is_in_tunnel(pose.x_m, pose.y_m) for pose in poses]
    assert not inside[0]
    assert any(inside)


def test_every_class_has_a_shape_on_the_ground() -> None:
    assert {CLASSES[model.class_id] for model in models()} == set(CLASSES)
    for model in models():
        assert model.mesh.vertices_m[:, 2].min() == pytest.approx(0, abs=1e-6), model.name


def test_solids_show_their_outside() -> None:
    for model in models():
        corners = model.mesh.vertices_m.astype(np.float64)[model.mesh.triangles]
        volume = (
            np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        )
        assert 0 < volume < 2 * np.prod(model.size_m), model.name  # parts overlap


def test_houses_hide_what_is_behind_them(urban: World) -> None:
    x0, x1, y0, y1, height = urban.city.buildings_m[0]
    before, behind = (
        np.array([[x0 - 1, (y0 + y1) / 2, 1.0]]),
        np.array([[x1 + 1, (y0 + y1) / 2, 1.0]]),
    )
    above = behind + np.array([0, 0, 3 * height])
    assert urban.city.is_hidden(before, behind)[0]
    assert not urban.city.is_hidden(above, behind + np.array([0, 0, 2 * height]))[0]
