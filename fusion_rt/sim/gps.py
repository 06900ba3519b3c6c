"""The simulated GNSS receiver: where the rig is, with the errors real receivers make.

Horizontal error: a slow drift (satellites, ionosphere), a faster wander where buildings hide the
sky (multipath), and fresh noise. Velocity comes from Doppler and is far better than position;
course is that velocity's direction, so at standstill it points anywhere. No fix in tunnels.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.messages import GpsFix
from fusion_rt.sim.noise import Wandering, WhiteNoise
from fusion_rt.sim.world import World

_EQUATOR_M = 6_378_137.0
_ECCENTRICITY2 = 0.00669437999014  # WGS84
_MULTIPATH_TIME_S = 4.0
_VERTICAL = 1.8  # times the horizontal error: satellites are seen on one side only
_SPEED_NOISE_MPS = 0.06
_SATELLITES = 14
_FEWEST = 4
_SKY_WAYS = 24
_SKY_ELEVATION_RAD = math.radians(35)
_SKY_REACH_M = 60.0
_NO_FIX_SKY = 0.08

Floats = npt.NDArray[np.float64]


class GpsError(msgspec.Struct, frozen=True, eq=False):
    """What a fix is off by, and why."""

    enu_m: Floats
    """(3,): east, north, up."""
    open_sky: float
    """Share of the sky the antenna sees at middle elevations, 0..1."""
    sigma_m: float
    """What the model says of it: one standard deviation per horizontal axis."""


class SimulatedGps:
    """The receiver of the rig."""

    def __init__(self, world: World, base_from_gps: RigidTransform, rate_hz: float) -> None:
        self._world = world
        self._antenna_m = base_from_gps.translation_m
        self._gps = world.scenario.gps
        seed = world.seed
        self._drift = Wandering((seed, 0x6B5, 1), 3, self._gps.drift_time_s * rate_hz)
        self._multipath = Wandering((seed, 0x6B5, 2), 3, _MULTIPATH_TIME_S * rate_hz)
        self._noise = WhiteNoise((seed, 0x6B5, 3), 6)
        azimuth = np.arange(_SKY_WAYS) * (math.tau / _SKY_WAYS)
        flat, up = math.cos(_SKY_ELEVATION_RAD), math.sin(_SKY_ELEVATION_RAD)
        ways = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.full(_SKY_WAYS, up)], 1)
        self._sky_m: Floats = ways * _SKY_REACH_M

    def fix(self, t_ns: int, stamp_ns: int, number: int) -> GpsFix:
        """The solution for `t_ns`, which is the `number`-th; `stamp_ns` is what its clock says."""
        error, place_m = self.error(t_ns, number), self.antenna_m(t_ns)
        if error.open_sky < _NO_FIX_SKY or self._is_in_tunnel(t_ns):
            return no_fix(stamp_ns)
        latitude_deg, longitude_deg = self.geodetic(*(place_m + error.enu_m)[:2])
        velocity = self._velocity(t_ns) + self._noise.at(number, 1)[0, 3:] * _SPEED_NOISE_MPS
        sky = error.open_sky
        return GpsFix(
            stamp_ns=stamp_ns,
            fix="3d",
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            altitude_m=float(self._gps.altitude_m + place_m[2] + error.enu_m[2]),
            velocity_enu_mps=(float(velocity[0]), float(velocity[1]), float(velocity[2])),
            course_deg=math.degrees(math.atan2(velocity[0], velocity[1])) % 360,
            horizontal_accuracy_m=error.sigma_m,
            vertical_accuracy_m=error.sigma_m * _VERTICAL,
            satellites=_FEWEST + round((_SATELLITES - _FEWEST) * sky),
        )

    def error(self, t_ns: int, number: int) -> GpsError:
        """Of the position of fix `number`."""
        sky, gps = self.open_sky(t_ns), self._gps
        hidden = 1 - sky
        enu_m = gps.drift_m * self._drift.at(number)
        enu_m = enu_m + gps.multipath_m * hidden * self._multipath.at(number)
        enu_m = enu_m + gps.noise_m * self._noise.at(number, 1)[0, :3]
        enu_m[2] *= _VERTICAL
        sigma_m = math.sqrt(gps.drift_m**2 + (gps.multipath_m * hidden) ** 2 + gps.noise_m**2)
        return GpsError(enu_m, sky, sigma_m)

    def open_sky(self, t_ns: int) -> float:
        """Share of the ways to satellites at middle elevations that no building blocks."""
        antenna_m = self.antenna_m(t_ns)
        hidden = self._world.city.is_hidden(antenna_m[None], antenna_m + self._sky_m)
        return 1 - float(hidden.mean())

    def antenna_m(self, t_ns: int) -> Floats:
        """(3,), city frame."""
        return self._world.ego(t_ns).in_city(self._antenna_m)

    def geodetic(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Latitude and longitude of a place in the city, a plane that touches WGS84."""
        latitude = math.radians(self._gps.latitude_deg)
        bend = 1 - _ECCENTRICITY2 * math.sin(latitude) ** 2
        meridian_m = _EQUATOR_M * (1 - _ECCENTRICITY2) / bend**1.5
        parallel_m = _EQUATOR_M / math.sqrt(bend) * math.cos(latitude)
        north_deg, east_deg = math.degrees(north_m / meridian_m), math.degrees(east_m / parallel_m)
        return self._gps.latitude_deg + north_deg, self._gps.longitude_deg + east_deg

    def _is_in_tunnel(self, t_ns: int) -> bool:
        """Or just out of one."""
        city, back_ns = self._world.city, round(self._gps.reacquire_s * NS_PER_S)
        for ago_ns in (0, back_ns // 2, back_ns):
            pose = self._world.ego(max(0, t_ns - ago_ns)).pose
            if city.is_in_tunnel(pose.x_m, pose.y_m):
                return True
        return False

    def _velocity(self, t_ns: int) -> Floats:
        """(3,) of the antenna: it swings about the rear axle."""
        ego = self._world.ego(t_ns)
        arm = ego.city_from_base.rotation @ self._antenna_m
        yaw, v, rate = ego.pose.yaw_rad, ego.v_mps, ego.yaw_rate
        return np.array([v * math.cos(yaw) - rate * arm[1], v * math.sin(yaw) + rate * arm[0], 0.0])


def no_fix(stamp_ns: int) -> GpsFix:
    """What a receiver says that sees too little."""
    return GpsFix(stamp_ns=stamp_ns, fix="none", satellites=0)
