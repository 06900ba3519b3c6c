"""The simulated camera: pictures of the world, and which object each of their pixels shows.

Drawn by `native/camera.h` as a pinhole, at a resolution of its own, then bent by the lens. Picture
and labels come from one depth buffer. Global shutter.
"""

import math
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt import _sim
from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.sim.light import air_of, exposure_at, scene_of
from fusion_rt.sim.materials import FIRST_GROUND, colours, textures
from fusion_rt.sim.meshes import Mesh
from fusion_rt.sim.models import CLASSES, models
from fusion_rt.sim.world import EgoState, Objects, World

RENDER_WIDTH = 640
"""Pixels across the picture in which the world is drawn, unless told otherwise."""
NOBODY = 0
"""Label of pixels that show no object; others hold the object's id."""
_SEEN_M = 220.0
_SUN_REACH_M = 150.0  # no house throws a longer shadow while the sun makes any
_SHADOW, _COUNTED, _SUNLIT, _BEACON = 1, 2, 4, 8
_BLINK_NS = 250_000_000
_DROP_LIFE_NS = 4 * NS_PER_S

Floats = npt.NDArray[np.float64]


class Visibility(msgspec.Struct, frozen=True, eq=False):
    """What the camera sees of each object in front of it, in pixels of the drawing."""

    ids: npt.NDArray[np.int32]
    shown_px: npt.NDArray[np.int64]
    alone_px: npt.NDArray[np.int64]
    """If nothing stood in between; parts outside the picture do not count."""

    def counts(self) -> dict[int, tuple[int, ...]]:
        """Pixels shown, and pixels if alone, by the id of each object in the picture."""
        rows = zip(self.ids.tolist(), self.shown_px.tolist(), self.alone_px.tolist(), strict=True)
        return {number: (shown, alone) for number, shown, alone in rows if alone}


class Look(msgspec.Struct, frozen=True, eq=False):
    """What a picture shows, pixel by pixel."""

    object_ids: npt.NDArray[np.int32]
    """(H, W): an object's id, or NOBODY."""
    depth_m: npt.NDArray[np.float32]
    """(H, W), along the optical axis; inf on the ground and in the sky."""
    visibility: Visibility


class _View(msgspec.Struct, frozen=True, eq=False):
    """All that is drawn at one time."""

    ego: EgoState
    objects: Objects
    instances: _sim.Instances
    arrays: tuple[npt.NDArray[Any], ...]
    """What `instances` borrows."""
    first_object: int
    count: int


class SimulatedCamera:
    """One camera of the rig, looking at a world."""

    def __init__(
        self,
        world: World,
        pinhole: Pinhole,
        base_from_camera: RigidTransform,
        render_width: int = RENDER_WIDTH,
        *,
        is_bgr: bool = True,
    ) -> None:
        self._world = world
        self._pinhole = pinhole
        self._base_from_camera = base_from_camera
        self._is_bgr = is_bgr
        drawing, lens_map = _drawing(pinhole, render_width / pinhole.width)
        self._drawing = drawing
        self._lens = _sim.LensMap(lens_map, drawing.width, drawing.height)
        ground = colours()[FIRST_GROUND:]
        self._camera = _sim.Camera(
            drawing.width, drawing.height, drawing.fx_px, drawing.fy_px,
            drawing.cx_px, drawing.cy_px, ground,
        )  # fmt: skip
        self._air = air_of(world.scenario)
        self._scene = scene_of(world, self._air)
        self._blocks = [self._add(block) for block in world.city.blocks]
        self._models = np.array([self._add(model.mesh) for model in models()], np.int32)
        self._pixels = np.zeros((0, 2), np.int64)
        self._shaded: dict[int, bool] = {}

    def shutter_ns(self, t_ns: int) -> int:
        """How long the shutter is open around `t_ns`."""
        return round(exposure_at(self._world, self._air, t_ns).shutter_s * NS_PER_S)

    def take(self, t_ns: int, grain: int, image: npt.NDArray[np.uint8]) -> Visibility:
        """The picture with its mid-exposure at `t_ns`, into `image` (H, W, 3), and what it shows.

        `grain` draws the noise and the rain: the number of the frame.
        """
        view = self._draw(t_ns)
        exposure = exposure_at(self._world, self._air, t_ns)
        scene = self._scene
        scene.grain, scene.noise = grain & 0xFFFFFFFF, exposure.noise
        scene.gain, scene.exposure_s = exposure.gain, exposure.shutter_s
        scene.yaw_rate = view.ego.yaw_rate
        scene.velocity = self._velocity(view.ego)
        self._light_head_lamps(view.ego)
        rain = self._world.scenario.weather.rain_mm_h
        self._camera.light(scene, view.instances, self._glows(view, t_ns), rain)
        self._lens.develop(self._camera, scene, self._drops(t_ns), self._is_bgr, image)
        return self._visibility(view)

    def look(self, t_ns: int) -> Look:
        """What each pixel of the picture shows, and how much is seen of each object."""
        view = self._draw(t_ns)
        shape = self._pinhole.height, self._pinhole.width
        owners, inverse_depths = np.empty(shape, np.uint32), np.empty(shape, np.float32)
        self._lens.look_up(self._camera, owners, inverse_depths)
        ids = np.full(0x10000, NOBODY, np.int32)
        ids[view.first_object : view.count] = view.objects.ids
        with np.errstate(divide="ignore"):
            depth_m = np.float32(1) / inverse_depths
        return Look(ids[owners >> 16], depth_m, self._visibility(view))

    def _visibility(self, view: _View) -> Visibility:
        pixels = self._pixels[view.first_object : view.count]
        return Visibility(view.objects.ids, pixels[:, 0].copy(), pixels[:, 1].copy())

    def _add(self, mesh: Mesh) -> int:
        kinds = textures()[mesh.materials]
        return self._camera.add_mesh(mesh.vertices_m, mesh.triangles, kinds, mesh.colours)

    def _draw(self, t_ns: int) -> _View:
        ego = self._world.ego(t_ns)
        camera_from_city = (ego.city_from_base @ self._base_from_camera).inverse()
        self._scene.set_camera(_row(camera_from_city).astype(np.float32))
        view = self._view(t_ns, ego, camera_from_city)
        self._pixels = np.zeros((view.count, 2), np.int64)
        self._camera.draw(self._scene, view.instances, self._pixels)
        return view

    def _view(self, t_ns: int, ego: EgoState, camera_from_city: RigidTransform) -> _View:
        blocks = self._visible_blocks(ego, camera_from_city)
        objects = self._world.objects(t_ns).within(ego.pose.x_m, ego.pose.y_m, _SEEN_M)
        objects = objects.where(self._is_ahead(camera_from_city, objects.positions_m, 8.0, 30.0))
        count, first = len(blocks) + len(objects), len(blocks)
        transforms = np.zeros((count, 12), np.float32)
        transforms[:, [0, 4, 8]] = 1
        cos, sin = np.cos(objects.yaws_rad), np.sin(objects.yaws_rad)
        transforms[first:, 0], transforms[first:, 1] = cos, -sin
        transforms[first:, 3], transforms[first:, 4] = sin, cos
        transforms[first:, 9:11] = objects.positions_m
        arrays = (
            np.concatenate([np.array(blocks, np.int32), self._models[objects.models]]),
            transforms,
            np.concatenate([np.zeros((first, 3), np.float32), objects.colours]),
            _velocities(first, objects),
            np.concatenate([np.zeros(first), objects.yaw_rates]).astype(np.float32),
            self._flags(first, objects, t_ns),
        )
        return _View(ego, objects, _sim.Instances(*arrays), arrays, first, count)

    def _visible_blocks(self, ego: EgoState, camera_from_city: RigidTransform) -> list[int]:
        centres = self._world.city.centres_m
        reach_m = 0.75 * self._world.city.block_m
        away_m = np.hypot(*(centres - (ego.pose.x_m, ego.pose.y_m)).T)
        is_ahead = self._is_ahead(camera_from_city, centres, reach_m, reach_m)
        can_shade = away_m < 1.1 * self._world.city.block_m
        chosen = np.flatnonzero((is_ahead & (away_m < _SEEN_M + reach_m)) | can_shade)
        rest = range(len(centres), len(self._blocks))  # end walls and tunnels
        return [self._blocks[i] for i in [*chosen.tolist(), *rest]]

    def _is_ahead(
        self, camera_from_city: RigidTransform, places_m: Floats, radius_m: float, behind_m: float
    ) -> npt.NDArray[np.bool_]:
        """Whether balls of that radius may be in view, or throw a shadow into it from behind."""
        places = camera_from_city.apply(np.column_stack([places_m, np.ones(len(places_m))]))
        slope = self._drawing.width / 2 / self._drawing.fx_px + 0.1
        wide_m = np.maximum(places[:, 2], 0) * slope + radius_m * math.hypot(1, slope)
        in_view: npt.NDArray[np.bool_] = (places[:, 2] > -behind_m) & (
            np.abs(places[:, 0]) < wide_m
        )
        return in_view

    def _flags(self, first: int, objects: Objects, t_ns: int) -> npt.NDArray[np.uint8]:
        flags = np.full(first + len(objects), _SHADOW | _SUNLIT, np.uint8)
        flags[first:] |= _COUNTED
        if self._scene.shadow > 0:
            flags[first:][self._is_shaded(objects)] &= 0xFF - _SUNLIT
        if t_ns // _BLINK_NS % 2:
            ids = [number for number, _, _ in self._world.sirens(t_ns)]
            flags[first:][np.isin(objects.ids, ids)] |= _BEACON
        return flags

    def _is_shaded(self, objects: Objects) -> npt.NDArray[np.bool_]:
        """(N,): whose middle lies in the shadow of a house. Who stands still is asked once."""
        known = [self._shaded.get(number) for number in objects.ids.tolist()]
        asked = np.array([answer is None for answer in known], bool)
        shaded = np.array([bool(answer) for answer in known], bool)
        if asked.any():
            some = objects.where(asked)
            middle = np.column_stack([some.positions_m, np.ones(len(some))])
            sun = middle + _SUN_REACH_M * np.array(self._air.to_sun)
            shaded[asked] = self._world.city.is_hidden(middle, sun)
        is_parked = objects.ids >= self._world.first_parked
        self._shaded.update(
            zip(objects.ids[is_parked].tolist(), shaded[is_parked].tolist(), strict=True)
        )
        return shaded

    def _velocity(self, ego: EgoState) -> tuple[float, float, float]:
        """Of the camera: it swings about the rear axle."""
        arm = ego.city_from_base.rotation @ self._base_from_camera.translation_m
        yaw = ego.pose.yaw_rad
        vx = ego.v_mps * math.cos(yaw) - ego.yaw_rate * arm[1]
        return vx, ego.v_mps * math.sin(yaw) + ego.yaw_rate * arm[0], 0.0

    def _light_head_lamps(self, ego: EgoState) -> None:
        yaw, scene = ego.pose.yaw_rad, self._scene
        is_on = scene.lamps > 0 or self._world.city.is_in_tunnel(ego.pose.x_m, ego.pose.y_m)
        scene.head_lamp_power = 25.0 if is_on else 0.0
        x_m, y_m = ego.pose.x_m + 3.6 * math.cos(yaw), ego.pose.y_m + 3.6 * math.sin(yaw)
        scene.head_lamp, scene.head_lamp_way = (
            (x_m, y_m, 0.7),
            (math.cos(yaw), math.sin(yaw), -0.02),
        )

    def _glows(self, view: _View, t_ns: int) -> npt.NDArray[np.float32]:
        """(N, 7): place, colour and radius of each light that dazzles."""
        wide_px = self._drawing.width
        rows: list[list[float]] = []
        eye = view.ego.in_city(self._base_from_camera.translation_m)
        if self._scene.shadow > 0:
            sun = eye + 900.0 * np.array(self._air.to_sun)
            rows.append(
                [*sun, *(3.0 * c * self._scene.shadow for c in self._air.sun), wide_px * 0.11]
            )
        if self._scene.lamps > 0:
            near = np.hypot(*(self._world.city.lamps_m[:, :2] - eye[:2]).T) < 90
            rows += [
                [*lamp, 0.25, 0.2, 0.13, wide_px / 250] for lamp in self._world.city.lamps_m[near]
            ]
            rows += self._head_lamp_glows(view.objects, eye)
        if t_ns // _BLINK_NS % 2:
            for _, _, motion in self._world.sirens(t_ns):
                place = [motion.pose.x_m, motion.pose.y_m, 2.7]
                rows.append([*place, 0.02, 0.06, 0.6 * self._air.outside + 0.05, wide_px / 90])
        return np.array(rows, np.float32).reshape(-1, 7)

    def _head_lamp_glows(self, objects: Objects, eye: Floats) -> list[list[float]]:
        """Of moving vehicles, as far as they shine our way."""
        rows = []
        for i in np.flatnonzero(np.hypot(*objects.velocities_mps.T) > 0.1):
            model = models()[objects.models[i]]
            if CLASSES[model.class_id] not in ("car", "truck", "emergency"):
                continue
            ahead = np.array([math.cos(objects.yaws_rad[i]), math.sin(objects.yaws_rad[i])])
            for side in (-0.75, 0.75):
                aside = np.array([-ahead[1], ahead[0]]) * side * model.size_m[1] / 2
                place = objects.positions_m[i] + ahead * (model.size_m[0] / 2 + 0.05) + aside
                way = eye[:2] - place
                facing = max(0.0, float(way @ ahead) / float(np.hypot(*way)))
                power = 0.7 * facing**3
                rows.append(
                    [*place, 0.7, power, power * 0.95, power * 0.8, self._drawing.width / 120]
                )
        return rows

    def _drops(self, t_ns: int) -> npt.NDArray[np.float32]:
        """(N, 3): x, y, radius of the drops on the lens; each stays for some seconds."""
        count = self._world.scenario.weather.lens_drops
        rows = np.zeros((count, 3), np.float32)
        for i in range(count):
            age = t_ns + i * _DROP_LIFE_NS // max(1, count)
            rng = np.random.default_rng([self._world.seed, 0xD40, i, age // _DROP_LIFE_NS])
            x, y, size = rng.random(3)
            radius = self._pinhole.width * (0.004 + 0.012 * size**2)
            rows[i] = x * self._pinhole.width, y * self._pinhole.height, radius
        return rows


def _row(transform: RigidTransform) -> Floats:
    """(12,): rotation by rows, then translation."""
    return np.concatenate([transform.rotation.ravel(), transform.translation_m])


def _velocities(first: int, objects: Objects) -> npt.NDArray[np.float32]:
    velocities = np.zeros((first + len(objects), 3), np.float32)
    velocities[first:, :2] = objects.velocities_mps
    return velocities


@lru_cache(maxsize=4)  # worlds come and go, the lens stays
def _drawing(pinhole: Pinhole, scale: float) -> tuple[Pinhole, npt.NDArray[np.float32]]:
    """The undistorted camera that covers all the lens sees, and where each pixel lies in it."""
    u, v = np.meshgrid(np.arange(pinhole.width), np.arange(pinhole.height))
    rays = _rays(pinhole, np.stack([u, v], axis=-1).astype(np.float64))
    fx_px, fy_px = pinhole.fx_px * scale, pinhole.fy_px * scale
    places = rays * (fx_px, fy_px)
    low = np.floor(places.min(axis=(0, 1))) - 1
    width, height = (int(n) for n in np.ceil(places.max(axis=(0, 1)) - low) + 2)
    drawing = Pinhole(
        width=width, height=height, fx_px=fx_px, fy_px=fy_px, cx_px=-low[0], cy_px=-low[1]
    )
    lens_map = (places - low).astype(np.float32)
    lens_map.flags.writeable = False
    return drawing, lens_map


def _rays(pinhole: Pinhole, pixels: Floats) -> Floats:
    """(..., 2): x / z and y / z of the rays that reach these pixels: `project`, backwards."""
    focal, centre = (pinhole.fx_px, pinhole.fy_px), (pinhole.cx_px, pinhole.cy_px)
    wanted = (pixels - centre) / focal
    rays: Floats = wanted.copy()
    for _ in range(50):  # a fixed point: converges for any lens whose project() does not fold
        points = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1)
        missed = wanted - (pinhole.project(points) - centre) / focal
        rays += missed
        if np.abs(missed).max() < 1e-7:
            break
    return rays
