"""Geodesy for receivers that speak of positions in earth-centred coordinates (WGS84)."""

import math

_SEMI_MAJOR_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY_2 = _FLATTENING * (2 - _FLATTENING)
_MIN_RADIUS_M = 6_000_000.0  # nothing that receives satellites is that deep

Ecef = tuple[float, float, float]


def geodetic_from_ecef(ecef_m: Ecef) -> tuple[float, float, float] | None:
    """Latitude and longitude in degrees, height above the ellipsoid in metres.

    None where there can be no receiver: some report the centre of the earth while without a fix.
    """
    x, y, z = ecef_m
    if math.hypot(x, y, z) < _MIN_RADIUS_M:
        return None
    level = math.hypot(x, y)
    latitude = math.atan2(z, level * (1 - _ECCENTRICITY_2))
    for _ in range(5):  # below 1e-9 degrees up to the height of satellites
        sine = math.sin(latitude)
        normal_m = _SEMI_MAJOR_M / math.sqrt(1 - _ECCENTRICITY_2 * sine**2)
        latitude = math.atan2(z + _ECCENTRICITY_2 * normal_m * sine, level)
    sine, cosine = math.sin(latitude), math.cos(latitude)
    normal_m = _SEMI_MAJOR_M / math.sqrt(1 - _ECCENTRICITY_2 * sine**2)
    height_m = level * cosine + z * sine - _SEMI_MAJOR_M**2 / normal_m
    return math.degrees(latitude), math.degrees(math.atan2(y, x)), height_m


def ecef_from_geodetic(latitude_deg: float, longitude_deg: float, height_m: float) -> Ecef:
    """The way back, in metres."""
    latitude, longitude = math.radians(latitude_deg), math.radians(longitude_deg)
    sine, cosine = math.sin(latitude), math.cos(latitude)
    normal_m = _SEMI_MAJOR_M / math.sqrt(1 - _ECCENTRICITY_2 * sine**2)
    level = (normal_m + height_m) * cosine
    z = (normal_m * (1 - _ECCENTRICITY_2) + height_m) * sine
    return level * math.cos(longitude), level * math.sin(longitude), z


def enu_from_ecef(vector: Ecef, latitude_deg: float, longitude_deg: float) -> Ecef:
    """East, north and up of a vector at this place, for example a velocity."""
    x, y, z = vector
    latitude, longitude = math.radians(latitude_deg), math.radians(longitude_deg)
    outward = x * math.cos(longitude) + y * math.sin(longitude)
    east = y * math.cos(longitude) - x * math.sin(longitude)
    north = z * math.cos(latitude) - outward * math.sin(latitude)
    up = z * math.sin(latitude) + outward * math.cos(latitude)
    return east, north, up
