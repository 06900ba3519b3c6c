"""Reads what gpsd reports in JSON: solutions, satellites, pulses, and which receivers it has."""

import math
import re
from typing import Any

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.gnss.receiver_time import utc_from_calendar_ns
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import FixKind

# `status` of gpsd: 0 unknown, 1 normal, 2 DGPS, 3 RTK fixed, 4 RTK float, 5 dead reckoning, 6 that
# with satellites, 7 surveyed, 8 simulated, 9 precise.
_STATUS_FIX: dict[float | None, FixKind] = {
    2: "dgps",
    3: "rtk_fixed",
    4: "rtk_float",
    5: "dead_reckoned",
    8: "none",
}
_MODE_FIX: dict[float | None, FixKind] = {2: "2d", 3: "3d"}
_ABSURD = 1e9  # no quantity here comes near it
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")

Report = dict[str, Any]


def report_from_line(line: bytes) -> Report | None:
    """One report; None where the line is none."""
    try:
        report = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and isinstance(report.get("class"), str) else None


def part_from_tpv(report: Report) -> Solution:
    """The solution that a TPV report tells; gpsd does not say how certain its errors are."""
    latitude_deg, longitude_deg = _number(report, "lat"), _number(report, "lon")
    has_position = (
        latitude_deg is not None
        and longitude_deg is not None
        and abs(latitude_deg) <= 90
        and abs(longitude_deg) <= 180
    )
    mode_fix = _MODE_FIX.get(_number(report, "mode"), "none")
    fix = mode_fix if mode_fix == "none" else _STATUS_FIX.get(_number(report, "status"), mode_fix)
    return Solution(
        source="TPV",
        fix=fix,
        position_deg=(latitude_deg or 0.0, longitude_deg or 0.0) if has_position else None,
        altitude_m=_number(report, "altHAE"),
        altitude_msl_m=_number(report, "altMSL", "alt"),
        geoid_separation_m=_number(report, "geoidSep"),
        velocity_enu_mps=_velocity_enu_mps(report),
        speed_mps=_number(report, "speed"),
        course_deg=_number(report, "track"),
        horizontal_accuracy_m=_horizontal_accuracy_m(report),
        vertical_accuracy_m=_number(report, "epv"),
        utc_ns=_utc_ns(report.get("time")),
    )


def part_from_sky(report: Report) -> Solution:
    """What a SKY report tells of how good the geometry is."""
    satellites = _number(report, "uSat")
    if satellites is None and isinstance(listed := report.get("satellites"), list):
        satellites = sum(isinstance(one, dict) and one.get("used") is True for one in listed)
    return Solution(
        source="SKY",
        is_solution=False,
        hdop=_number(report, "hdop"),
        vdop=_number(report, "vdop"),
        satellites=None if satellites is None else round(satellites),
    )


def pulse_system_ns(report: Report) -> int | None:
    """System time of the pulse that a PPS report tells of."""
    seconds, nanoseconds = report.get("clock_sec"), report.get("clock_nsec")
    if type(seconds) is not int or type(nanoseconds) is not int:
        return None
    return seconds * NS_PER_S + nanoseconds


def device_names(report: Report) -> list[str]:
    """The receivers that a DEVICES report lists."""
    listed = report.get("devices")
    devices = listed if isinstance(listed, list) else []
    return [str(one["path"]) for one in devices if isinstance(one, dict) and "path" in one]


def _velocity_enu_mps(report: Report) -> tuple[float, float, float] | None:
    east, north = _number(report, "velE"), _number(report, "velN")
    down, climb = _number(report, "velD"), _number(report, "climb")
    if east is not None and north is not None:
        return east, north, -down if down is not None else (climb or 0.0)
    speed, course = _number(report, "speed"), _number(report, "track")
    if speed is None or course is None:
        return None
    course_rad = math.radians(course)
    return speed * math.sin(course_rad), speed * math.cos(course_rad), climb or 0.0


def _horizontal_accuracy_m(report: Report) -> float | None:
    east, north = _number(report, "epx"), _number(report, "epy")
    if (both := _number(report, "eph")) is not None or east is None or north is None:
        return both
    return math.hypot(east, north)


def _number(report: Report, *names: str) -> float | None:
    """The first of these fields that holds a number of sane size."""
    for name in names:
        value: Any = report.get(name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and abs(value) < _ABSURD:
            return float(value)
    return None


def _utc_ns(text: object) -> int | None:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    calendar = [int(part) for part in match.groups()[:6]]
    return utc_from_calendar_ns(calendar, int(f"{match[7] or '0':0<9}"))
