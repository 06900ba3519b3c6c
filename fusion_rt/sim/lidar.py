"""The simulated LiDAR: one turn of its beams through the moving world.

Every beam leaves at its own time: the device moves and turns meanwhile, and so do the others. What
stands still is cast at once; each other road user is met by just the beams that may hit it, in its
own frame at the time of each beam, so that nothing is rebuilt as it moves.
"""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt import _sim
from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.sim.beams import BeamTable, directions
from fusion_rt.sim.casting import Target
from fusion_rt.sim.materials import FIRST_GROUND, reflectivities
from fusion_rt.sim.meshes import join
from fusion_rt.sim.models import RADIUS_M, middles_m, models, sizes_m
from fusion_rt.sim.world import EgoState, Objects, World

_FARTHEST_M = 120.0
_MARGIN_RAD = 0.01
_SLACK_M = 5.0  # for the way that the device and the object make during a turn
_NOBODY = 0
_SURELY = 2.0  # times the threshold of detection above which nothing gets lost
_FALSE_ECHO_M = 12.0
_ROUGHNESS = np.float32(0.3)
"""Share of its light that a surface returns even along itself: streets are seen 50 m ahead."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class Sweep(msgspec.Struct, frozen=True, eq=False):
    """What one turn returned, firing by firing: columns in the order of time, lowest beam first."""

    points: Singles
    """(N, 5): as in LidarSweep."""
    ring: npt.NDArray[np.uint16]
    object_ids: npt.NDArray[np.int32]
    """(N,): what each point lies on; 0 for the city, and for what floats in the air."""


class _Turn(msgspec.Struct, frozen=True, eq=False):
    """Where the device is as each column fires, in the city frame."""

    origins: Singles
    """(columns, 3)"""
    cos: Singles
    sin: Singles
    """(columns,), of the ego's heading."""
    share: Singles
    """(columns,): 0 at the start of the turn, 1 at its end."""


class _Echoes(msgspec.Struct, frozen=True, eq=False):
    """The nearest surface of each firing so far: (columns, beams) each."""

    range_m: Singles
    reflectivity: Singles
    facing: Singles
    """Cosine between beam and surface normal."""
    object_ids: npt.NDArray[np.int32]


class SimulatedLidar:
    """One LiDAR of the rig, looking at a world."""

    def __init__(
        self,
        world: World,
        beams: BeamTable,
        columns: int,
        base_from_lidar: RigidTransform,
        period_ns: int = NS_PER_S // 10,
    ) -> None:
        self._world = world
        self._beams = beams
        self._columns = columns
        self._base_from_lidar = base_from_lidar
        self._period_ns = period_ns
        self._directions = directions(beams, columns)
        self._base_directions = (self._directions @ base_from_lidar.rotation.T).astype(np.float32)
        self._city = Target(join(world.city.blocks))
        self._targets = [Target(model.mesh) for model in models()]
        self._sizes_m, self._middles_m = sizes_m(), middles_m()
        elevations = np.arcsin(np.clip(self._base_directions[..., 2], -1, 1))
        self._lowest, self._highest = elevations.min(axis=0), elevations.max(axis=0)
        azimuth = np.arctan2(self._base_directions[..., 1], self._base_directions[..., 0])
        self._azimuths = np.unwrap(azimuth.mean(axis=1) if columns < 2 else azimuth[:, 0])
        self._ring = np.tile(np.arange(len(beams.elevations_deg), dtype=np.uint16), (columns, 1))

    def turn(self, end_ns: int, number: int) -> Sweep:
        """The sweep that ends at `end_ns`; `number` draws its noise."""
        start_ns = max(0, end_ns - self._period_ns)
        before, after = self._world.ego(start_ns), self._world.ego(end_ns)
        turn = self._turn(before, after)
        echoes = self._static_echoes(turn)
        objects = self._world.objects(start_ns), self._world.objects(end_ns)
        self._add_objects(echoes, turn, before, *objects)
        return self._returned(echoes, turn, end_ns - start_ns, number)

    def _turn(self, before: EgoState, after: EgoState) -> _Turn:
        share = (np.arange(self._columns) + 1) / self._columns
        swing = math.remainder(after.pose.yaw_rad - before.pose.yaw_rad, math.tau)
        yaw = before.pose.yaw_rad + share * swing
        cos, sin = np.cos(yaw), np.sin(yaw)
        x, y, z = self._base_from_lidar.translation_m
        base_x = before.pose.x_m + share * (after.pose.x_m - before.pose.x_m)
        base_y = before.pose.y_m + share * (after.pose.y_m - before.pose.y_m)
        origins = np.stack(
            [base_x + cos * x - sin * y, base_y + sin * x + cos * y, np.full_like(yaw, z)], axis=-1
        )
        return _Turn(*(array.astype(np.float32) for array in (origins, cos, sin, share)))

    def _static_echoes(self, turn: _Turn) -> _Echoes:
        """Of the city, and of the ground at height 0."""
        beams = self._base_directions
        cos, sin = turn.cos[:, None], turn.sin[:, None]
        ways = np.empty_like(beams)
        ways[..., 0] = cos * beams[..., 0] - sin * beams[..., 1]
        ways[..., 1] = sin * beams[..., 0] + cos * beams[..., 1]
        ways[..., 2] = beams[..., 2]
        origins = np.repeat(turn.origins, beams.shape[1], axis=0)
        flat = ways.reshape(-1, 3)
        hits = self._city.cast(origins, flat)
        to_ground = np.where(
            flat[:, 2] < -1e-4, -origins[:, 2] / np.minimum(flat[:, 2], -1e-4), np.inf
        )
        is_ground = to_ground < hits.range_m
        range_m = np.where(is_ground, to_ground, hits.range_m).astype(np.float32)
        normals = self._city.normals[hits.triangles]
        facing = np.where(is_ground, -flat[:, 2], -np.einsum("ij,ij->i", normals, flat))
        reflectivity = self._city.reflectivity[hits.triangles]
        reflectivity[is_ground] = self._ground(
            origins[is_ground], flat[is_ground], range_m[is_ground]
        )
        shape = beams.shape[:2]
        ids = np.full(shape, _NOBODY, np.int32)
        return _Echoes(
            range_m.reshape(shape),
            reflectivity.reshape(shape),
            facing.astype(np.float32).reshape(shape),
            ids,
        )

    def _ground(self, origins: Singles, ways: Singles, range_m: Singles) -> Singles:
        layout = self._world.scenario.layout
        x = origins[:, 0] + ways[:, 0] * range_m
        y = origins[:, 1] + ways[:, 1] * range_m
        kinds = np.empty(len(x), np.uint8)
        _sim.ground(x, y, layout.block_m, layout.nodes, kinds)
        found: Singles = reflectivities()[FIRST_GROUND + kinds]
        return found

    def _add_objects(
        self, echoes: _Echoes, turn: _Turn, ego: EgoState, before: Objects, after: Objects
    ) -> None:
        """Replaces the echoes of all firings that meet a road user first."""
        is_common = np.isin(before.ids, after.ids)  # an ambulance may come into being meanwhile
        before = before.where(is_common)
        after = after.where(np.isin(after.ids, before.ids))
        away_m = np.hypot(*(before.positions_m - (ego.pose.x_m, ego.pose.y_m)).T)
        is_near = away_m < _FARTHEST_M
        before, after, away_m = before.where(is_near), after.where(is_near), away_m[is_near]
        for row, window in enumerate(self._windows(turn, before, after)):
            columns, rings = self._window(*window)
            if not len(columns) or not len(rings):
                continue
            nearest_m = away_m[row] - RADIUS_M - _SLACK_M
            if echoes.range_m[np.ix_(columns, rings)].max() > nearest_m:  # else houses hide it
                self._meet(echoes, turn, before, after, row, columns, rings)

    def _windows(self, turn: _Turn, before: Objects, after: Objects) -> list[list[float]]:
        """Per object: lowest and highest azimuth, lowest and highest elevation during the turn."""
        starts = self._seen_from(turn, 0, self._corners(before))
        ends = self._seen_from(turn, -1, self._corners(after))
        azimuth, elevation = (
            np.concatenate(pair, axis=1) for pair in zip(starts, ends, strict=True)
        )
        first = azimuth[:, :1]
        azimuth = first + np.remainder(azimuth - first + np.pi, 2 * np.pi) - np.pi
        limits = [
            azimuth.min(axis=1),
            azimuth.max(axis=1),
            elevation.min(axis=1),
            elevation.max(axis=1),
        ]
        rows: list[list[float]] = np.stack(limits, axis=1).tolist()
        return rows

    def _window(
        self, right: float, left: float, low: float, high: float
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """The columns and beams that may hit what lies within these angles."""
        if left - right > 3.0:  # around us, or nearly
            columns = np.arange(self._columns)
        else:
            step = 2 * np.pi / self._columns  # clockwise: the azimuth falls
            first = (self._azimuths[0] - left - _MARGIN_RAD) / step
            last = (self._azimuths[0] - right + _MARGIN_RAD) / step
            columns = np.arange(math.floor(first), math.ceil(last) + 1) % self._columns
        is_hit = (self._highest > low - _MARGIN_RAD) & (self._lowest < high + _MARGIN_RAD)
        return columns, np.flatnonzero(is_hit)

    def _corners(self, objects: Objects) -> Floats:
        """(N, 8, 3): of the objects' boxes, in the city frame."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
        middle, size = self._middles_m[objects.models], self._sizes_m[objects.models]
        x, y, z = np.moveaxis(middle[:, None] + signs * size[:, None], -1, 0)
        cos, sin = np.cos(objects.yaws_rad)[:, None], np.sin(objects.yaws_rad)[:, None]
        east, north = objects.positions_m[:, 0, None], objects.positions_m[:, 1, None]
        return np.stack([east + cos * x - sin * y, north + sin * x + cos * y, z], axis=-1)

    def _seen_from(self, turn: _Turn, column: int, corners: Floats) -> tuple[Floats, Floats]:
        """Azimuth and elevation of places (N, 8, 3), in axes of `base` about the device."""
        x, y, z = np.moveaxis(corners - turn.origins[column], -1, 0)
        cos, sin = turn.cos[column], turn.sin[column]
        ahead, left = cos * x + sin * y, cos * y - sin * x
        return np.arctan2(left, ahead), np.arctan2(z, np.hypot(x, y))

    def _meet(
        self,
        echoes: _Echoes,
        turn: _Turn,
        before: Objects,
        after: Objects,
        row: int,
        columns: npt.NDArray[np.intp],
        rings: npt.NDArray[np.intp],
    ) -> None:
        share = turn.share[columns]
        swing = math.remainder(after.yaws_rad[row] - before.yaws_rad[row], math.tau)
        yaw = before.yaws_rad[row] + share * swing
        moved = after.positions_m[row] - before.positions_m[row]
        x, y, z = (
            turn.origins[columns] - _flat(before.positions_m[row] + share[:, None] * moved)
        ).T
        cos, sin = np.cos(yaw), np.sin(yaw)
        origins = np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1)
        # Both turn about z only: the beam in the object's frame is the beam in base, turned once.
        turned_cos = cos * turn.cos[columns] + sin * turn.sin[columns]
        turned_sin = cos * turn.sin[columns] - sin * turn.cos[columns]
        beams = self._base_directions[np.ix_(columns, rings)]
        ways = np.empty_like(beams)
        ways[..., 0] = turned_cos[:, None] * beams[..., 0] - turned_sin[:, None] * beams[..., 1]
        ways[..., 1] = turned_sin[:, None] * beams[..., 0] + turned_cos[:, None] * beams[..., 1]
        ways[..., 2] = beams[..., 2]
        flat = ways.reshape(-1, 3)
        target = self._targets[before.models[row]]
        starts = np.repeat(origins.astype(np.float32), len(rings), axis=0)
        hits = target.cast(starts, flat)
        place = np.ix_(columns, rings)
        is_first = (hits.range_m < echoes.range_m[place].ravel()).reshape(ways.shape[:2])
        if not is_first.any():
            return
        chosen = is_first.ravel()
        at = columns[np.nonzero(is_first)[0]], rings[np.nonzero(is_first)[1]]
        triangles = hits.triangles[chosen]
        echoes.range_m[at] = hits.range_m[chosen]
        echoes.object_ids[at] = before.ids[row]
        echoes.facing[at] = -np.einsum("ij,ij->i", target.normals[triangles], flat[chosen])
        bright = 0.25 + 0.75 * float(before.colours[row].mean())  # black paint returns little
        dimming = np.where(target.is_coloured[triangles], bright, 1.0)
        echoes.reflectivity[at] = target.reflectivity[triangles] * dimming

    def _returned(self, echoes: _Echoes, turn: _Turn, lasted_ns: int, number: int) -> Sweep:
        """Range noise, false echoes and losses; then only what came back."""
        rng = np.random.default_rng([self._world.seed, 0x11DA, number])
        weather, shape = self._world.scenario.weather, echoes.range_m.shape
        true_m = np.minimum(echoes.range_m, _FARTHEST_M * 2)
        fading = np.exp(
            np.float32(-2 * _extinction_per_m(weather.visibility_m, weather.rain_mm_h)) * true_m
        )
        rough = _ROUGHNESS + (1 - _ROUGHNESS) * np.maximum(echoes.facing, 0)
        power = echoes.reflectivity * rough / 0.1
        power *= fading * (np.float32(self._beams.range_m) / np.maximum(true_m, 1.0)) ** 2
        luck = rng.random(shape, np.float32)
        is_back = (power > 1 + (_SURELY - 1) * luck) & (true_m < _FARTHEST_M)
        is_back &= true_m > self._beams.nearest_m
        noise = rng.standard_normal(shape, np.float32) * np.float32(self._beams.range_noise_m)
        range_m = true_m + noise
        intensity = np.minimum(echoes.reflectivity * rough * fading, 1.0)
        ids = echoes.object_ids
        false = self._false_echoes(rng, true_m)
        if false is not None:
            is_false, false_m = false
            range_m, intensity = (
                np.where(is_false, false_m, range_m),
                np.where(is_false, 0.03, intensity),
            )
            is_back, ids = is_back | is_false, np.where(is_false, _NOBODY, ids)
        dt_s = ((turn.share - 1) * np.float32(lasted_ns / NS_PER_S))[:, None]
        points = np.empty((*shape, 5), np.float32)
        np.multiply(self._directions, range_m[..., None], out=points[..., :3])
        points[..., 3], points[..., 4] = intensity, dt_s
        return Sweep(points[is_back], self._ring[is_back], ids[is_back])

    def _false_echoes(
        self, rng: np.random.Generator, true_m: Singles
    ) -> tuple[npt.NDArray[np.bool_], Singles] | None:
        """Of raindrops and fog close by: which firings, and how far. None in clear air."""
        weather = self._world.scenario.weather
        share = weather.rain_mm_h * 0.0012 + max(0.0, 3 / weather.visibility_m - 0.003) * 1.2
        if share <= 0.001:
            return None
        range_m = rng.exponential(_FALSE_ECHO_M / 3, true_m.shape).astype(np.float32)
        range_m += np.float32(self._beams.nearest_m)
        return (rng.random(true_m.shape) < share) & (range_m < true_m), range_m


def _extinction_per_m(visibility_m: float, rain_mm_h: float) -> float:
    """Of 905 nm light: 5 % contrast at the visibility; rain after Rasshofer and others, 2011."""
    return 3.0 / visibility_m + 0.03 * math.pow(rain_mm_h / 100, 0.6)


def _flat(places_m: npt.NDArray[Any]) -> Floats:
    """(N, 3) on the ground, of (N, 2)."""
    return np.column_stack([places_m, np.zeros(len(places_m))])
