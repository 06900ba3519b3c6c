import struct
from collections import Counter

import pytest

from fusion_rt.gnss.earth import ecef_from_geodetic
from fusion_rt.gnss.framing import Splitter
from fusion_rt.gnss.receiver_time import utc_from_calendar_ns
from fusion_rt.gnss.solution import Solution
from fusion_rt.gnss.ubx import part_from_frame
from tests.gnss.receivers import pvt, sol, ubx


def part(frame: bytes) -> Solution:
    (found,) = Splitter(Counter()).feed(frame, 0)
    said = part_from_frame(found.body)
    assert said is not None
    return said


def test_nav_pvt_tells_it_all() -> None:
    said = part(pvt(5000, nano=-250))
    noon_ns = utc_from_calendar_ns((2026, 3, 23, 12, 0, 0))
    assert noon_ns is not None
    assert (said.source, said.epoch, said.utc_ns) == ("NAV-PVT", 5_000_000_000, noon_ns - 250)
    assert said.position_deg == pytest.approx((48.1, 11.5))
    assert said.velocity_enu_mps == pytest.approx((4.0, 3.0, 0.5))
    assert (said.altitude_m, said.satellites) == (560.0, 9)
    assert (said.horizontal_accuracy_m, said.vertical_accuracy_m) == (1.5, 2.5)
    assert said.course_deg == pytest.approx(53.1301)


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        ({}, "3d"),
        ({"fix_type": 2}, "2d"),
        ({"fix_type": 4}, "3d"),
        ({"fix_type": 1}, "dead_reckoned"),
        ({"flags": 3}, "dgps"),
        ({"flags": 0x43}, "rtk_float"),
        ({"flags": 0x83}, "rtk_fixed"),
        ({"fix_type": 5}, "3d"),
        ({"fix_type": 0}, "none"),
        ({"fix_type": 9}, "none"),
        ({"flags": 0}, "none"),
        ({"flags3": 1}, "none"),
    ],
)
def test_nav_pvt_tells_the_kind_of_fix(values: dict[str, int], fix: str) -> None:
    assert part(pvt(**values)).fix == fix


def test_a_cold_receiver_tells_no_time() -> None:
    assert part(pvt(valid=1)).utc_ns is None
    assert part(pvt(calendar=(2026, 13, 1, 0, 0, 0))).utc_ns is None
    assert part(pvt(calendar=(65535, 1, 1, 0, 0, 0))).utc_ns is None


def test_nav_sol_of_old_receivers_tells_a_place_from_the_centre_of_the_earth() -> None:
    x, y, z = ecef_from_geodetic(48.1, 11.5, 560)
    said = part(sol(7000, (round(x * 100), round(y * 100), round(z * 100)), week=2150))
    assert said.position_deg == pytest.approx((48.1, 11.5), abs=2e-7)
    assert said.altitude_m == pytest.approx(560, abs=0.02)
    assert (said.fix, said.week, said.satellites) == ("3d", 2150, 7)
    assert said.time_of_week_ns == 7_000_000_000


def test_nav_sol_without_a_fix_stands_at_no_place() -> None:
    said = part(sol(7000, (0, 0, 0), flags=0))
    assert (said.position_deg, said.fix, said.week) == (None, "none", None)


def test_high_precision_adds_the_last_digits() -> None:
    numbers = (0, 0, 0, 0, 1000, 115000000, 481000000, 560000, 0, 25, -50, 3, 0, 141, 100)
    said = part(ubx("0114", struct.pack("<BBBBIiiiibbbbII", *numbers)))
    assert said.position_deg == pytest.approx((48.09999995, 11.500000025), abs=1e-11)
    assert said.altitude_m == pytest.approx(560.0003)
    assert said.horizontal_accuracy_m == pytest.approx(0.0141)


def test_high_precision_marked_invalid_tells_no_place() -> None:
    numbers = (0, 0, 0, 1, 1000, 115000000, 481000000, 560000, 0, 25, -50, 3, 0, 141, 100)
    assert part(ubx("0114", struct.pack("<BBBBIiiiibbbbII", *numbers))).position_deg is None


def test_high_precision_from_the_centre_of_the_earth() -> None:
    x, y, z = (round(metres * 100) for metres in ecef_from_geodetic(48.1, 11.5, 560))
    valid = part(ubx("0113", struct.pack("<IIiiibbbBI", 0, 1000, x, y, z, 0, 0, 0, 0, 141)))
    assert valid.position_deg == pytest.approx((48.1, 11.5), abs=2e-7)
    invalid = part(ubx("0113", struct.pack("<IIiiibbbBI", 0, 1000, x, y, z, 0, 0, 0, 1, 141)))
    assert invalid.position_deg is None


def test_velocity_time_and_geometry_come_in_frames_of_their_own() -> None:
    velned = part(ubx("0112", struct.pack("<IiiiIIiII", 1, 300, 400, -50, 0, 0, 5313010, 1, 1)))
    assert velned.velocity_enu_mps == pytest.approx((4.0, 3.0, 0.5))
    dop = part(ubx("0104", struct.pack("<I7H", 1, 300, 200, 100, 150, 90, 1, 1)))
    assert (dop.vdop, dop.hdop) == (1.5, 0.9)
    timegps = part(ubx("0120", struct.pack("<IihbBI", 1000, -5, 2150, 18, 7, 30)))
    assert (timegps.week, timegps.leap_s, timegps.time_of_week_ns) == (2150, 18, 999_999_995)
    unsure = part(ubx("0120", struct.pack("<IihbBI", 1000, -5, 2150, 16, 3, 30)))
    assert (unsure.week, unsure.leap_s) == (2150, None)
    timeutc = part(ubx("0121", struct.pack("<IIiHBBBBBB", 1, 30, 7, 2026, 3, 23, 12, 0, 0, 7)))
    assert timeutc.utc_ns == part(pvt(nano=7)).utc_ns
    assert part(ubx("0161", struct.pack("<I", 1000))).is_end


def test_solutions_out_of_a_receiver_s_memory_are_marked() -> None:
    batch = part(ubx("2111", struct.pack("<BBH", 0, 1, 0) + pvt()[6:-2] + bytes(4)))
    assert batch.is_history
    assert batch.position_deg == pytest.approx((48.1, 11.5))
    logged = struct.pack(
        *("<IiiiIIIBBHBBBBBBBB", 1, 115000000, 481000000, 512000, 2000, 1000, 0, 0, 3),
        *(2026, 3, 23, 12, 0, 0, 0, 9, 0),
    )
    retrieved = part(ubx("210B", logged))
    assert retrieved.is_history
    assert retrieved.position_deg == pytest.approx((48.1, 11.5))


def test_unknown_frames_and_short_ones_tell_nothing() -> None:
    assert part_from_frame(b"\x0a\x04\x00\x00") is None
    assert part_from_frame(b"\x01\x07\x02\x00ab") is None
    assert part_from_frame(b"\x01") is None


def test_absurd_accuracies_are_none() -> None:
    numbers = (1000, 115000000, 481000000, 560000, 0, 2**32 - 1, 2**32 - 1)
    assert part(ubx("0102", struct.pack("<IiiiiII", *numbers))).horizontal_accuracy_m is None


def test_places_beyond_the_poles_are_none() -> None:
    numbers = (1000, 115000000, 981000000, 560000, 0, 100, 100)
    assert part(ubx("0102", struct.pack("<IiiiiII", *numbers))).position_deg is None
