import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from fusion_rt import _sim
from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.sim.camera import SimulatedCamera
from fusion_rt.sim.scenario import Ego, Scenario, Sky, Traffic, Weather, load_scenario
from fusion_rt.sim.world import World
from tests.sim.conftest import shared_world

Image = npt.NDArray[np.uint8]


def camera_of(world: World, calibration: Calibration, *, is_bgr: bool = True) -> SimulatedCamera:
    place = calibration.base_from["camera_front"]
    return SimulatedCamera(world, calibration.cameras["camera_front"], place, is_bgr=is_bgr)


def picture(world: World, calibration: Calibration, t_s: float, grain: int = 0) -> Image:
    image = np.empty((720, 1280, 3), np.uint8)
    camera_of(world, calibration).take(round(t_s * NS_PER_S), grain, image)
    return image


def changed(**parts: object) -> World:
    return World(msgspec.structs.replace(load_scenario("urban_day"), **parts), 1)


def detail(image: Image) -> float:
    """How much neighbouring rows differ, over the middle of the picture."""
    return float(np.abs(np.diff(image[200:500].astype(float), axis=0)).mean())


def test_one_seed_gives_the_same_picture_to_two_cameras(
    urban: World, calibration: Calibration
) -> None:
    first, second = (picture(urban, calibration, 9, grain=4) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_noise_is_fresh_in_every_frame(urban: World, calibration: Calibration) -> None:
    first, second = (picture(urban, calibration, 9, grain).astype(int) for grain in (1, 2))
    difference = (first - second)[300:700]
    assert abs(difference.mean()) < 0.05
    assert 1 < difference.std() < 4


def test_rgb_is_bgr_the_other_way_round(urban: World, calibration: Calibration) -> None:
    images = [np.empty((720, 1280, 3), np.uint8) for _ in range(2)]
    for image, is_bgr in zip(images, (True, False), strict=True):
        camera_of(urban, calibration, is_bgr=is_bgr).take(NS_PER_S, 0, image)
    blue, red = (images[0][..., i].astype(int) for i in (0, 2))
    assert abs(blue.mean() - images[1][..., 2].mean()) < 0.1
    assert abs(red.mean() - images[1][..., 0].mean()) < 0.1
    assert (images[0][:100] != images[1][:100]).any()  # a blue sky


def test_the_sky_is_above_the_horizon_and_the_street_below(
    urban: World, calibration: Calibration
) -> None:
    image = picture(urban, calibration, 3).astype(float)
    sky, street = image[20:60, 560:720].mean(axis=(0, 1)), image[560:700, 560:720].mean(axis=(0, 1))
    assert sky[0] > sky[2] + 10  # blue
    assert np.ptp(street) < 25  # grey
    assert sky.mean() > street.mean() + 30


def test_automatic_exposure_holds_day_and_night_apart_but_usable(calibration: Calibration) -> None:
    day = picture(shared_world("urban_day", 1), calibration, 9).mean()
    night = picture(shared_world("night_rain", 1), calibration, 9).mean()
    assert 60 < day < 180
    assert 15 < night < day


def test_fog_takes_detail(calibration: Calibration) -> None:
    clear = picture(changed(), calibration, 6)
    foggy = picture(changed(weather=Weather(visibility_m=60)), calibration, 6)
    assert detail(foggy) < 0.8 * detail(clear)


def test_drops_on_the_lens_bend_only_what_is_behind_them(calibration: Calibration) -> None:
    clear = picture(changed(), calibration, 6).astype(int)
    wet = picture(changed(weather=Weather(lens_drops=20)), calibration, 6).astype(int)
    share = (np.abs(clear - wet).max(axis=-1) > 0).mean()
    assert 0.0005 < share < 0.1


def test_a_sun_in_the_picture_dazzles(calibration: Calibration) -> None:
    # The rig of seed 1 looks south at first, and the street there is open.
    high, low = (
        picture(
            changed(sky=Sky(sun_elevation_deg=up, sun_azimuth_deg=180, cloud=0)), calibration, 1
        )
        for up in (50, 16)
    )
    assert (low[:300] > 250).all(axis=-1).mean() > (high[:300] > 250).all(axis=-1).mean() + 0.005


def test_fast_turns_blur(calibration: Calibration) -> None:
    """At night the shutter stays open long: what moves is smeared, what stands is not."""
    sky = Sky(sun_elevation_deg=-20, cloud=1)
    still, moving = (
        changed(sky=sky, ego=Ego(speed_mps=v), traffic=Traffic(cars=0, trucks=0))
        for v in (0.001, 20)
    )
    assert detail(picture(moving, calibration, 4)[400:]) != detail(
        picture(still, calibration, 4)[400:]
    )


def test_houses_throw_shadows_on_the_street(calibration: Calibration) -> None:
    sun, no_sun = (changed(sky=Sky(sun_elevation_deg=25, cloud=c)) for c in (0.0, 1.0))
    images = [picture(world, calibration, 3)[450:, :, 1].astype(float) for world in (sun, no_sun)]
    assert images[0].std() > images[1].std()


def test_nothing_behind_the_camera_is_seen(urban: World, calibration: Calibration) -> None:
    t_ns = 16 * NS_PER_S
    look = camera_of(urban, calibration).look(t_ns)
    shown = set(np.unique(look.object_ids).tolist()) - {0}
    objects, pose = urban.objects(t_ns), urban.ego(t_ns).pose
    for row, number in enumerate(objects.ids.tolist()):
        if number in shown:
            away = objects.positions_m[row] - (pose.x_m, pose.y_m)
            assert away @ (np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)) > -4


def test_visibility_counts_the_labelled_pixels(urban: World, calibration: Calibration) -> None:
    look = camera_of(urban, calibration).look(16 * NS_PER_S)
    seen = look.visibility
    assert (seen.shown_px <= seen.alone_px).all()
    assert (seen.alone_px > seen.shown_px).any()  # somebody is half hidden
    for number, shown in zip(seen.ids, seen.shown_px, strict=True):
        drawn = (look.object_ids == number).sum() / 4  # twice as many pixels each way
        assert abs(drawn - shown) <= 0.15 * shown + 40


def test_depth_is_that_of_the_wall_ahead(urban: World, calibration: Calibration) -> None:
    look = camera_of(urban, calibration).look(3 * NS_PER_S)
    assert np.isinf(look.depth_m[700, 640])  # street
    houses = look.depth_m[350, :200]
    assert np.isfinite(houses).all()
    assert 4 < houses.min() < houses.max() < 200


def mesh_arguments(triangle: tuple[int, int, int]) -> tuple[npt.NDArray[np.generic], ...]:
    zeros = np.zeros((3, 3), np.float32)
    return (
        zeros,
        np.array([triangle], np.int32),
        np.zeros(1, np.uint8),
        np.zeros((1, 3), np.float32),
    )


def native() -> _sim.Camera:
    return _sim.Camera(64, 36, 50, 50, 31.5, 17.5, np.zeros((5, 3), np.float32))


def test_the_renderer_refuses_a_triangle_without_corners() -> None:
    with pytest.raises(ValueError, match="names a vertex that is not there"):
        native().add_mesh(*mesh_arguments((0, 1, 3)))  # type: ignore[arg-type]


def test_the_renderer_refuses_arrays_that_do_not_match() -> None:
    vertices, triangles, _, colours = mesh_arguments((0, 1, 2))
    with pytest.raises(ValueError, match="expected a texture and a colour for each"):
        native().add_mesh(vertices, triangles, np.zeros(2, np.uint8), colours)  # type: ignore[arg-type]
    rows = np.zeros((1, 3), np.float32)
    instances = _sim.Instances(
        np.zeros(1, np.int32), np.zeros((2, 12), np.float32), rows, rows,
        np.zeros(1, np.float32), np.zeros(1, np.uint8),
    )  # fmt: skip
    with pytest.raises(ValueError, match="instances: expected equal lengths"):
        native().draw(_sim.Scene(), instances, np.zeros((1, 2), np.int64))
    with pytest.raises(ValueError, match="ground: expected equal lengths"):
        _sim.ground(np.zeros(2, np.float32), np.zeros(1, np.float32), 100, 4, np.zeros(2, np.uint8))


def test_the_renderer_refuses_impossible_sizes() -> None:
    with pytest.raises(ValueError, match=r"camera: expected 2\.\.16384 pixels"):
        _sim.Camera(0, 36, 50, 50, 0, 0, np.zeros((5, 3), np.float32))
    lens = _sim.LensMap(np.zeros((4, 4, 2), np.float32), 64, 36)
    with pytest.raises(ValueError, match="image: not of the size of the lens map"):
        lens.develop(
            native(),
            _sim.Scene(),
            np.zeros((0, 3), np.float32),
            True,
            np.zeros((4, 5, 3), np.uint8),
        )


def test_scenarios_without_anybody_can_be_drawn(calibration: Calibration) -> None:
    nobody = Traffic(cars=0, trucks=0, pedestrians=0, crossers=0, cyclists=0)
    world = World(msgspec.structs.replace(load_scenario("urban_day"), traffic=nobody), 1)
    assert isinstance(world.scenario, Scenario)
    assert picture(world, calibration, 2).std() > 10
