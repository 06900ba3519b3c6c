"""Light and air of a scenario: what the camera's renderer is told beside where things are."""

import math

import msgspec

from fusion_rt import _sim
from fusion_rt.clock import NS_PER_MS
from fusion_rt.sim.scenario import Scenario
from fusion_rt.sim.streets import lamps_per_block
from fusion_rt.sim.world import World

Colour = tuple[float, float, float]
_CONTRAST_AT_VISIBILITY = 3.0  # -ln 0.05: meteorological visibility is where contrast falls to 5 %
_NIGHT_LIGHT = 0.035
_TUNNEL_LIGHT = 0.06
_GRAIN = 1.1  # standard deviation of the noise at full light, steps of the 8-bit image
_MOST_GRAIN = 5.0
_SHORTEST_S, _LONGEST_S = 0.0008, 0.016
_MEMORY_MS = (0, 250, 500, 750, 1000, 1250)  # what automatic exposure averages over


class Air(msgspec.Struct, frozen=True):
    """Light of a scenario, linear RGB in units of full sun."""

    to_sun: Colour
    """Unit vector: east, north, up."""
    sun: Colour
    zenith: Colour
    horizon: Colour
    fog: Colour
    outside: float
    """How bright the open street is."""


def air_of(scenario: Scenario) -> Air:
    """What light a scenario's sky gives."""
    up, around = (
        math.radians(scenario.sky.sun_elevation_deg),
        math.radians(scenario.sky.sun_azimuth_deg),
    )
    to_sun = (math.cos(up) * math.sin(around), math.cos(up) * math.cos(around), math.sin(up))
    if scenario.is_night:
        night = (0.006, 0.006, 0.009)
        return Air(
            to_sun, (0, 0, 0), (0.002, 0.003, 0.006), night, (0.01, 0.01, 0.012), _NIGHT_LIGHT
        )
    cloud, low = scenario.sky.cloud, math.exp(-scenario.sky.sun_elevation_deg / 12)
    clear = 1 - 0.97 * cloud
    sun = (clear, clear * (0.95 - 0.25 * low), clear * (0.88 - 0.5 * low))
    day = 0.35 + 0.65 * math.sin(up)
    zenith = _mixed((0.09 * day, 0.15 * day, 0.30 * day), (0.38 * day,) * 3, cloud)
    horizon = _mixed((0.50 * day, 0.58 * day, 0.66 * day), (0.46 * day,) * 3, cloud)
    outside = 0.55 * sun[1] * math.sin(up) + 0.9 * zenith[1]
    return Air(to_sun, sun, zenith, horizon, tuple(0.9 * c for c in horizon), outside)  # type: ignore[arg-type]


def _mixed(a: Colour, b: tuple[float, ...], share: float) -> Colour:
    x, y, z = ((1 - share) * p + share * q for p, q in zip(a, b, strict=True))
    return x, y, z


class Exposure(msgspec.Struct, frozen=True):
    """What the camera's automatic exposure has come to."""

    gain: float
    shutter_s: float
    noise: float
    """Standard deviation, steps of the 8-bit image."""


def exposure_at(world: World, air: Air, t_ns: int) -> Exposure:
    """Of the light where the camera was during the last second: it is slow, as real ones are."""
    total = 0.0
    for ago_ms in _MEMORY_MS:
        pose = world.ego(max(0, t_ns - ago_ms * NS_PER_MS)).pose
        is_dark = world.city.is_in_tunnel(pose.x_m, pose.y_m)
        total += min(_TUNNEL_LIGHT, air.outside) if is_dark else air.outside
    light = total / len(_MEMORY_MS)
    shutter_s = min(_LONGEST_S, max(_SHORTEST_S, 0.0012 / light))
    return Exposure(0.8 / light, shutter_s, min(_MOST_GRAIN, _GRAIN / math.sqrt(light)))


def scene_of(world: World, air: Air) -> _sim.Scene:
    """A scene with all that does not change during a drive."""
    scenario, layout = world.scenario, world.scenario.layout
    scene = _sim.Scene()
    scene.set_plan(layout.block_m, layout.nodes, lamps_per_block(layout.block_m))
    scene.to_sun, scene.sun = air.to_sun, air.sun
    scene.zenith, scene.horizon, scene.fog = air.zenith, air.horizon, air.fog
    scene.cloud = scenario.sky.cloud
    scene.shadow = 0.0 if scenario.is_night else 1 - scenario.sky.cloud
    scene.lamps = 1.0 if scenario.is_night else 0.0
    scene.wetness = min(1.0, scenario.weather.rain_mm_h / 3)
    scene.fog_per_m = _CONTRAST_AT_VISIBILITY / scenario.weather.visibility_m
    scene.tunnels = [(x0, x1, y0, y1) for x0, x1, y0, y1 in world.city.tunnels_m.tolist()]
    return scene
