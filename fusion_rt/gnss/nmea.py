"""Reads NMEA 0183 sentences: each says part of what a solution is, in text.

Any talker is read alike. Sentences that say nothing about our own position, velocity, time or their
quality (satellites in view, waypoints, AIS, most proprietary ones) are none of our business.
"""

import datetime
import math
import re
from collections.abc import Callable, Sequence

from fusion_rt.clock import NS_PER_S
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import FixKind

MPS_PER_KNOT = 1852 / 3600
_MPS_PER_KMH = 1 / 3.6
_NAME = re.compile(r"(P[A-Z]{3,4})(?=,)|[A-Z][A-Z0-9]([A-Z]{3})(?=,)")
_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_ANGLE = re.compile(r"(\d{1,3})(\d\d(?:\.\d{0,15})?)", re.ASCII)  # degrees, minutes
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d{0,15}))?", re.ASCII)
_DATE = re.compile(r"(\d\d)(\d\d)(\d\d)", re.ASCII)
_NO_DOP = 99.0
_FIRST_YEAR = 80  # two digits: GPS began in 1980

# Ranks: PUBX,00 and GGA have altitude and the finest position, RMC often one digit less, GLL least.
_RANK_FULL, _RANK_FIX, _RANK_RMC, _RANK_GLL = 4, 3, 2, 1

_GGA_FIX: dict[str, FixKind] = {
    "0": "none",
    "1": "3d",
    "2": "dgps",
    "3": "3d",  # precise positioning service
    "4": "rtk_fixed",
    "5": "rtk_float",
    "6": "dead_reckoned",
    "7": "none",  # typed in by hand
    "8": "none",  # the receiver's own simulator
    "9": "dgps",  # NovAtel and others: SBAS
}
_MODE_FIX: dict[str, FixKind] = {
    "A": "3d",
    "D": "dgps",
    "E": "dead_reckoned",
    "F": "rtk_float",
    "M": "none",
    "N": "none",
    "P": "3d",
    "R": "rtk_fixed",
    "S": "none",
}
_GNS_ORDER = "RFDPAEMSN"
_PUBX_FIX: dict[str, FixKind] = {
    "NF": "none",
    "DR": "dead_reckoned",
    "G2": "2d",
    "G3": "3d",
    "D2": "dgps",
    "D3": "dgps",
    "RK": "3d",
    "TT": "none",  # time only
}

Fields = Sequence[str]
"""Of a sentence, the name not among them; empty ones follow, as older editions have fewer."""
_EDITIONS_DIFFER_BY = [""] * 20


def part_from_sentence(body: bytes) -> Solution | None:
    """What the sentence between `$` and `*` says of a solution; None when nothing."""
    text = body.decode("ascii", "replace")
    name = _NAME.match(text)
    if name is None:
        return None
    parse = _PARSERS.get(name[1] or name[2])
    if parse is None:
        return None
    return parse(name[0], [*text.split(",")[1:], *_EDITIONS_DIFFER_BY])


def _rmc(source: str, fields: Fields) -> Solution:
    time_ns = time_of_day_ns(fields[0])
    return Solution(
        source=source,
        epoch=time_ns,
        time_of_day_ns=time_ns,
        date=_date(fields[8]),
        fix=_fix_by_status(fields[1], fields[11]),
        rank=_RANK_RMC,
        position_deg=_position_deg(fields[2:6]),
        speed_mps=_scaled(fields[6], MPS_PER_KNOT),
        course_deg=_course_deg(fields[7]),
    )


def _gga(source: str, fields: Fields) -> Solution:
    time_ns = time_of_day_ns(fields[0])
    return Solution(
        source=source,
        epoch=time_ns,
        time_of_day_ns=time_ns,
        fix=_GGA_FIX.get(fields[5], "none"),
        rank=_RANK_FIX,
        position_deg=_position_deg(fields[1:5]),
        satellites=_count(fields[6]),
        hdop=_dop(fields[7]),
        altitude_msl_m=_number(fields[8]),
        geoid_separation_m=_number(fields[10]),
    )


def _gns(source: str, fields: Fields) -> Solution:
    time_ns = time_of_day_ns(fields[0])
    best = next((mode for mode in _GNS_ORDER if mode in fields[5]), "N")
    return Solution(
        source=source,
        epoch=time_ns,
        time_of_day_ns=time_ns,
        fix=_MODE_FIX[best],
        rank=_RANK_FIX,
        position_deg=_position_deg(fields[1:5]),
        satellites=_count(fields[6]),
        hdop=_dop(fields[7]),
        altitude_msl_m=_number(fields[8]),
        geoid_separation_m=_number(fields[9]),
    )


def _gll(source: str, fields: Fields) -> Solution:
    time_ns = time_of_day_ns(fields[4])
    return Solution(
        source=source,
        epoch=time_ns,
        time_of_day_ns=time_ns,
        fix=_fix_by_status(fields[5] or "A", fields[6]),  # the oldest edition has no status
        rank=_RANK_GLL,
        position_deg=_position_deg(fields[0:4]),
    )


def _vtg(source: str, fields: Fields) -> Solution:
    has_units = fields[1] == "T"  # the oldest edition has none
    knots, kmh = (fields[4], fields[6]) if has_units else (fields[2], fields[3])
    speed_mps = _scaled(knots, MPS_PER_KNOT)
    return Solution(
        source=source,
        is_solution=False,
        speed_mps=_scaled(kmh, _MPS_PER_KMH) if speed_mps is None else speed_mps,
        course_deg=_course_deg(fields[0]),
    )


def _gsa(source: str, fields: Fields) -> Solution:
    return Solution(
        source=source,
        is_solution=False,
        dimensions=_count(fields[1]),
        hdop=_dop(fields[15]),
        vdop=_dop(fields[16]),
    )


def _gst(source: str, fields: Fields) -> Solution:
    return _accuracies(source, time_of_day_ns(fields[0]), fields[5:8])


def _gbs(source: str, fields: Fields) -> Solution:
    return _accuracies(source, time_of_day_ns(fields[0]), fields[1:4])


def _accuracies(source: str, time_ns: int | None, fields: Fields) -> Solution:
    north_m, east_m, up_m = (_number(field) for field in fields)
    is_stated = north_m is not None and east_m is not None
    return Solution(
        source=source,
        epoch=time_ns,
        is_solution=False,
        horizontal_accuracy_m=math.hypot(north_m or 0, east_m or 0) if is_stated else None,
        vertical_accuracy_m=up_m,
    )


def _zda(source: str, fields: Fields) -> Solution:
    time_ns = time_of_day_ns(fields[0])
    return Solution(
        source=source,
        epoch=time_ns,
        is_solution=False,
        time_of_day_ns=time_ns,
        date=_valid_date(_count(fields[3]), _count(fields[2]), _count(fields[1])),
    )


def _garmin_errors(source: str, fields: Fields) -> Solution:
    """PGRME: estimated horizontal and vertical error."""
    return Solution(
        source=source,
        is_solution=False,
        horizontal_accuracy_m=_number(fields[0]) or None,  # 0 stands for unknown
        vertical_accuracy_m=_number(fields[2]) or None,
    )


def _ublox(source: str, fields: Fields) -> Solution | None:
    """PUBX,00: position, velocity and their accuracy; altitude above the ellipsoid."""
    if fields[0] != "00":
        return None
    time_ns = time_of_day_ns(fields[1])
    return Solution(
        source=source,
        epoch=time_ns,
        time_of_day_ns=time_ns,
        fix=_PUBX_FIX.get(fields[7], "none"),
        rank=_RANK_FULL,
        position_deg=_position_deg(fields[2:6]),
        altitude_m=_number(fields[6]),
        horizontal_accuracy_m=_number(fields[8]),
        vertical_accuracy_m=_number(fields[9]),
        speed_mps=_scaled(fields[10], _MPS_PER_KMH),
        course_deg=_course_deg(fields[11]),
        hdop=_dop(fields[14]),
        vdop=_dop(fields[15]),
        satellites=_count(fields[17]),
    )


_PARSERS: dict[str, Callable[[str, Fields], Solution | None]] = {
    "GBS": _gbs,
    "GGA": _gga,
    "GLL": _gll,
    "GNS": _gns,
    "GSA": _gsa,
    "GST": _gst,
    "PGRME": _garmin_errors,
    "PUBX": _ublox,
    "RMC": _rmc,
    "VTG": _vtg,
    "ZDA": _zda,
}


def time_of_day_ns(text: str) -> int | None:
    """`hhmmss.ss` as nanoseconds since midnight; a leap second reaches beyond 24 h."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    fraction_ns = int(f"{match[4] or '0':0<9.9}")
    return ((hours * 60 + minutes) * 60 + seconds) * NS_PER_S + fraction_ns


def _date(text: str) -> tuple[int, int, int] | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    day, month, year = int(match[1]), int(match[2]), int(match[3])
    return _valid_date(year + (1900 if year >= _FIRST_YEAR else 2000), month, day)


def _valid_date(
    year: int | None, month: int | None, day: int | None
) -> tuple[int, int, int] | None:
    if year is None or month is None or day is None or not 1980 <= year <= 2200:
        return None
    try:
        datetime.date(year, month, day)
    except ValueError:
        return None
    return year, month, day


def _fix_by_status(status: str, mode: str) -> FixKind:
    if status != "A":
        return "none"
    return _MODE_FIX.get(mode, "3d")  # editions before 2.3 have no mode


def _position_deg(fields: Fields) -> tuple[float, float] | None:
    latitude_deg = _angle_deg(fields[0], {"N": 1, "S": -1}.get(fields[1], 0), 90)
    longitude_deg = _angle_deg(fields[2], {"E": 1, "W": -1}.get(fields[3], 0), 180)
    if latitude_deg is None or longitude_deg is None:
        return None
    return latitude_deg, longitude_deg


def _angle_deg(text: str, sign: int, limit_deg: int) -> float | None:
    match = _ANGLE.fullmatch(text)
    if match is None or not sign:
        return None
    minutes = float(match[2])
    angle_deg = int(match[1]) + minutes / 60
    return None if minutes >= 60 or angle_deg > limit_deg else sign * angle_deg


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _scaled(text: str, unit: float) -> float | None:
    value = _number(text)
    return None if value is None else value * unit


def _course_deg(text: str) -> float | None:
    value = _number(text)
    return value % 360 if value is not None and 0 <= value <= 360 else None


def _count(text: str) -> int | None:
    return int(text) if len(text) <= 4 and text.isdecimal() else None


def _dop(text: str) -> float | None:
    """None also where a receiver without solution says 0 or 99.99."""
    value = _number(text)
    return value if value is not None and 0 < value < _NO_DOP else None
