"""Reads u-blox UBX frames, from the ANTARIS receivers on: each says part of what a solution is.

Layouts, scales and validity flags are those of u-blox's protocol specifications (receiver
description of ANTARIS 4 up to the interface descriptions of generations F9, M10 and X20). A payload
longer than known is a newer version, which by their rule only appends.
"""

import struct
from collections.abc import Callable, Mapping

import msgspec

from fusion_rt.clock import NS_PER_MS
from fusion_rt.gnss.earth import Ecef, enu_from_ecef, geodetic_from_ecef
from fusion_rt.gnss.receiver_time import utc_from_calendar_ns
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import FixKind

_HEAD = 4  # class, id, length
_MM, _CM = 1e-3, 1e-2
_ABSURD_M = 100_000.0  # accuracies that receivers without a fix state
_NO_DOP = 9999

# Ranks: the finer the position, the higher.
_RANK_ECEF, _RANK_SOL, _RANK_LLH, _RANK_PVT, _RANK_HIGH_PRECISION = 1, 2, 3, 4, 5

Values = Mapping[str, int]


class Layout(msgspec.Struct, frozen=True):
    """How the payload of one kind of frame is read."""

    name: str
    packing: struct.Struct
    fields: tuple[str, ...]
    parse: Callable[[Values], Solution]


def part_from_frame(body: bytes) -> Solution | None:
    """What a frame (class, id, length, payload) says of a solution; None when nothing."""
    layout = _LAYOUTS.get(body[:2])
    if layout is None or len(body) < _HEAD + layout.packing.size:
        return None
    numbers = layout.packing.unpack_from(body, _HEAD)
    part = layout.parse(dict(zip(layout.fields, numbers, strict=True)))
    part.source = layout.name
    return part


def _pvt(v: Values) -> Solution:
    has_position = not v["flags3"] & 1
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        utc_ns=_calendar_ns(v) if v["valid"] & 3 == 3 else None,
        fix=_fix(v["fix_type"], v["flags"], v["flags"] >> 6) if has_position else "none",
        rank=_RANK_PVT,
        position_deg=_degrees(v["lat"] * 1e-7, v["lon"] * 1e-7),
        altitude_m=v["height"] * _MM,
        horizontal_accuracy_m=_accuracy_m(v["h_acc"] * _MM),
        vertical_accuracy_m=_accuracy_m(v["v_acc"] * _MM),
        velocity_enu_mps=(v["vel_e"] * _MM, v["vel_n"] * _MM, -v["vel_d"] * _MM),
        course_deg=v["heading"] * 1e-5 % 360,
        satellites=v["satellites"],
    )


def _sol(v: Values) -> Solution:
    part = _from_ecef(v, v["p_acc"] * _CM, (v["x"] * _CM, v["y"] * _CM, v["z"] * _CM))
    part.rank = _RANK_SOL
    part.fix = _fix(v["fix_type"], v["flags"], 0)
    part.satellites = v["satellites"]
    if v["flags"] & 0xC == 0xC:  # week and time of week are valid
        part.week = v["week"]
        part.time_of_week_ns = v["itow"] * NS_PER_MS + v["nano"]
    if part.position_deg is not None:
        velocity_mps = (v["vx"] * _CM, v["vy"] * _CM, v["vz"] * _CM)
        part.velocity_enu_mps = enu_from_ecef(velocity_mps, *part.position_deg)
    return part


def _posecef(v: Values) -> Solution:
    return _from_ecef(v, v["p_acc"] * _CM, (v["x"] * _CM, v["y"] * _CM, v["z"] * _CM))


def _hpposecef(v: Values) -> Solution:
    metres = [v[axis] * _CM + v[f"{axis}_hp"] * 1e-4 for axis in "xyz"]
    part = _from_ecef(v, v["p_acc"] * 1e-4, (metres[0], metres[1], metres[2]))
    if v["flags"] & 1:  # invalid
        part.position_deg = part.altitude_m = None
    return part


def _from_ecef(v: Values, accuracy_m: float, ecef_m: Ecef) -> Solution:
    """Its accuracy is of three dimensions: a bound for the horizontal one."""
    place = geodetic_from_ecef(ecef_m)
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        rank=_RANK_ECEF,
        position_deg=place and place[:2],
        altitude_m=place and place[2],
        horizontal_accuracy_m=_accuracy_m(accuracy_m),
    )


def _posllh(v: Values) -> Solution:
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        rank=_RANK_LLH,
        position_deg=_degrees(v["lat"] * 1e-7, v["lon"] * 1e-7),
        altitude_m=v["height"] * _MM,
        horizontal_accuracy_m=_accuracy_m(v["h_acc"] * _MM),
        vertical_accuracy_m=_accuracy_m(v["v_acc"] * _MM),
    )


def _hpposllh(v: Values) -> Solution:
    part = Solution(source="", epoch=v["itow"] * NS_PER_MS)
    if v["flags"] & 1:  # invalid
        return part
    part.rank = _RANK_HIGH_PRECISION
    part.position_deg = _degrees(
        v["lat"] * 1e-7 + v["lat_hp"] * 1e-9, v["lon"] * 1e-7 + v["lon_hp"] * 1e-9
    )
    part.altitude_m = v["height"] * _MM + v["height_hp"] * 1e-4
    part.horizontal_accuracy_m = _accuracy_m(v["h_acc"] * 1e-4)
    part.vertical_accuracy_m = _accuracy_m(v["v_acc"] * 1e-4)
    return part


def _status(v: Values) -> Solution:
    fix = _fix(v["fix_type"], v["flags"], v["flags2"] >> 6)
    return Solution(source="", epoch=v["itow"] * NS_PER_MS, is_solution=False, fix=fix)


def _dop(v: Values) -> Solution:
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        is_solution=False,
        hdop=v["hdop"] * 0.01 if v["hdop"] < _NO_DOP else None,
        vdop=v["vdop"] * 0.01 if v["vdop"] < _NO_DOP else None,
    )


def _velned(v: Values) -> Solution:
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        is_solution=False,
        velocity_enu_mps=(v["vel_e"] * _CM, v["vel_n"] * _CM, -v["vel_d"] * _CM),
        course_deg=v["heading"] * 1e-5 % 360,
    )


def _timegps(v: Values) -> Solution:
    is_known = v["valid"] & 3 == 3  # time of week and week
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        is_solution=False,
        week=v["week"] if is_known else None,
        time_of_week_ns=v["itow"] * NS_PER_MS + v["nano"] if is_known else None,
        leap_s=v["leap_s"] if v["valid"] & 4 else None,
    )


def _timeutc(v: Values) -> Solution:
    return Solution(
        source="",
        epoch=v["itow"] * NS_PER_MS,
        is_solution=False,
        utc_ns=_calendar_ns(v) if v["valid"] & 4 else None,
    )


def _eoe(v: Values) -> Solution:
    return Solution(source="", epoch=v["itow"] * NS_PER_MS, is_solution=False, is_end=True)


def _batch(v: Values) -> Solution:
    """A solution out of the receiver's memory, in the layout of NAV-PVT."""
    part = _pvt({**v, "flags3": 0})
    part.is_history = part.is_end = True
    return part


def _logged(v: Values) -> Solution:
    """A solution out of the receiver's log."""
    utc_ns = _calendar_ns({**v, "nano": 0})
    return Solution(
        source="",
        epoch=utc_ns,
        is_end=True,
        is_history=True,
        utc_ns=utc_ns,
        fix=_fix(v["fix_type"], 1, 0),
        rank=_RANK_LLH,
        position_deg=_degrees(v["lat"] * 1e-7, v["lon"] * 1e-7),
        altitude_msl_m=v["msl"] * _MM,
        horizontal_accuracy_m=_accuracy_m(v["h_acc"] * _MM),
        speed_mps=v["speed"] * _MM,
        course_deg=v["heading"] * 1e-5 % 360,
        satellites=v["satellites"],
    )


def _fix(fix_type: int, flags: int, carrier: int) -> FixKind:
    """Of gpsFix or fixType, the flags gnssFixOK and diffSoln (bits 0, 1), and carrSoln."""
    if not flags & 1 or not 1 <= fix_type <= 5:
        return "none"
    if fix_type == 1:
        return "dead_reckoned"
    if carrier in (1, 2):
        return "rtk_float" if carrier == 1 else "rtk_fixed"
    if flags & 2:
        return "dgps"
    return "2d" if fix_type == 2 else "3d"  # 5: only the time is solved, the place was surveyed


def _degrees(latitude_deg: float, longitude_deg: float) -> tuple[float, float] | None:
    if abs(latitude_deg) > 90 or abs(longitude_deg) > 180:
        return None
    return latitude_deg, longitude_deg


def _accuracy_m(stated_m: float) -> float | None:
    return stated_m if stated_m < _ABSURD_M else None


def _calendar_ns(v: Values) -> int | None:
    calendar = [v[name] for name in ("year", "month", "day", "hour", "minute", "second")]
    return utc_from_calendar_ns(calendar, v["nano"])


def _layout(name: str, parse: Callable[[Values], Solution], spec: str) -> Layout:
    """`spec` lists `field:CODE` in the codes of `struct`, or how many bytes to pass over."""
    items = [item.rpartition(":") for item in spec.split()]
    packing = struct.Struct("<" + "".join(code for _, _, code in items))
    return Layout(name, packing, tuple(field for field, _, _ in items if field), parse)


_DATE = "year:H month:B day:B hour:B minute:B second:B"
_ECEF = "x:i y:i z:i"
_LLH = "lon:i lat:i height:i 4x"  # passed over: height above sea level
_PVT = (
    f"itow:I {_DATE} valid:B 4x nano:i fix_type:B flags:B x satellites:B {_LLH} h_acc:I v_acc:I "
    "vel_n:i vel_e:i vel_d:i 4x heading:i 10x"
)
_LOGGED = f"4x lon:i lat:i msl:i h_acc:I speed:I heading:I x fix_type:B {_DATE} x satellites:B"
_SOL = f"itow:I nano:i week:h fix_type:B flags:B {_ECEF} p_acc:I vx:i vy:i vz:i 7x satellites:B"
_HPPOSECEF = f"4x itow:I {_ECEF} x_hp:b y_hp:b z_hp:b flags:B p_acc:I"
_HPPOSLLH = f"3x flags:B itow:I {_LLH} lon_hp:b lat_hp:b height_hp:b x h_acc:I v_acc:I"

_LAYOUTS = {
    b"\x01\x01": _layout("NAV-POSECEF", _posecef, f"itow:I {_ECEF} p_acc:I"),
    b"\x01\x02": _layout("NAV-POSLLH", _posllh, f"itow:I {_LLH} h_acc:I v_acc:I"),
    b"\x01\x03": _layout("NAV-STATUS", _status, "itow:I fix_type:B flags:B x flags2:B"),
    b"\x01\x04": _layout("NAV-DOP", _dop, "itow:I 6x vdop:H hdop:H"),
    b"\x01\x06": _layout("NAV-SOL", _sol, _SOL),
    b"\x01\x07": _layout("NAV-PVT", _pvt, f"{_PVT} flags3:H"),
    b"\x01\x12": _layout("NAV-VELNED", _velned, "itow:I vel_n:i vel_e:i vel_d:i 8x heading:i"),
    b"\x01\x13": _layout("NAV-HPPOSECEF", _hpposecef, _HPPOSECEF),
    b"\x01\x14": _layout("NAV-HPPOSLLH", _hpposllh, _HPPOSLLH),
    b"\x01\x20": _layout("NAV-TIMEGPS", _timegps, "itow:I nano:i week:h leap_s:b valid:B"),
    b"\x01\x21": _layout("NAV-TIMEUTC", _timeutc, f"itow:I 4x nano:i {_DATE} valid:B"),
    b"\x01\x61": _layout("NAV-EOE", _eoe, "itow:I"),
    b"\x21\x0b": _layout("LOG-RETRIEVEPOS", _logged, _LOGGED),
    b"\x21\x11": _layout("LOG-BATCH", _batch, f"4x {_PVT}"),
}
