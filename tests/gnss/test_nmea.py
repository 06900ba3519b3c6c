import math

import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.gnss.nmea import part_from_sentence, time_of_day_ns
from fusion_rt.gnss.solution import Solution

NOON_NS = 12 * 3600 * NS_PER_S


def part(body: str) -> Solution:
    said = part_from_sentence(body.encode())
    assert said is not None
    return said


def test_rmc_tells_time_place_and_motion() -> None:
    said = part("GPRMC,120000.50,A,4807.038,S,01131.000,W,022.4,084.4,230394,003.1,W,D")
    assert (said.time_of_day_ns, said.date) == (NOON_NS + NS_PER_S // 2, (1994, 3, 23))
    assert said.position_deg == pytest.approx((-48.1173, -11.516667), abs=1e-6)
    assert said.speed_mps == pytest.approx(11.5235, abs=1e-4)
    assert (said.course_deg, said.fix) == (84.4, "dgps")


def test_gga_tells_height_geometry_and_satellites() -> None:
    said = part("GNGGA,120000,4807.038,N,01131.000,E,5,08,0.9,545.4,M,46.9,M,,")
    assert (said.fix, said.satellites, said.hdop) == ("rtk_float", 8, 0.9)
    assert (said.altitude_msl_m, said.geoid_separation_m) == (545.4, 46.9)


@pytest.mark.parametrize(
    ("quality", "fix"),
    [
        ("0", "none"),
        ("1", "3d"),
        ("2", "dgps"),
        ("3", "3d"),
        ("4", "rtk_fixed"),
        ("8", "none"),
        ("6", "dead_reckoned"),
        ("7", "none"),
        ("", "none"),
        ("x", "none"),
    ],
)
def test_gga_tells_the_quality(quality: str, fix: str) -> None:
    assert part(f"GPGGA,120000,4807.0,N,01131.0,E,{quality},08,0.9,5,M,4,M,,").fix == fix


def test_gns_is_as_good_as_its_best_constellation() -> None:
    assert part("GNGNS,120000,4807.0,N,01131.0,E,ANR,12,0.8,100.0,47.0,,,V").fix == "rtk_fixed"
    assert part("GNGNS,120000,,,,,NNN,00,99.9,,,,,V").fix == "none"


def test_gll_of_the_oldest_edition_has_neither_time_nor_status() -> None:
    said = part("LCGLL,4807.038,N,01131.000,E")
    assert (said.fix, said.epoch) == ("3d", None)


@pytest.mark.parametrize("body", ["GPVTG,77.5,T,,M,10.0,N,18.52,K,A", "GPVTG,77.5,,10.0,18.52"])
def test_vtg_tells_motion_in_both_editions(body: str) -> None:
    said = part(body)
    assert (said.course_deg, said.is_solution) == (77.5, False)
    assert said.speed_mps == pytest.approx(5.1444, abs=1e-4)


def test_vtg_falls_back_on_kilometres_per_hour() -> None:
    assert part("GPVTG,77.5,T,,M,,N,36.0,K").speed_mps == pytest.approx(10)


def test_gsa_tells_dimensions_and_geometry() -> None:
    said = part("GPGSA,A,2,14,30,31,,,,,,,,,,7.6,2.2,6.8")
    assert (said.dimensions, said.hdop, said.vdop) == (2, 2.2, 6.8)


def test_gst_tells_one_standard_deviation() -> None:
    said = part("GNGST,120000.00,22,2.5,2.4,126,3.0,4.0,3.1")
    assert (said.horizontal_accuracy_m, said.vertical_accuracy_m) == (5.0, 3.1)


def test_an_empty_gst_tells_nothing() -> None:
    said = part("GPGST,120000.000,,,,,,,")
    assert (said.horizontal_accuracy_m, said.vertical_accuracy_m) == (None, None)


def test_zda_tells_the_date_in_full() -> None:
    assert part("GPZDA,120000.00,11,07,2020,00,00").date == (2020, 7, 11)


def test_makers_own_sentences_are_read_where_they_help() -> None:
    garmin = part("PGRME,19.9,M,50.0,M,53.8,M")
    assert (garmin.horizontal_accuracy_m, garmin.vertical_accuracy_m) == (19.9, 50.0)
    ublox = part(
        "PUBX,00,120000.00,4807.0380,N,01131.0000,E,560.1,D3,2.1,2.5,36.0,77.5,0,,0.9,1,1,9"
    )
    assert (ublox.fix, ublox.altitude_m, ublox.horizontal_accuracy_m) == ("dgps", 560.1, 2.1)
    assert ublox.speed_mps == pytest.approx(10)


@pytest.mark.parametrize(
    "body",
    [
        "GPGSV,1,1,00",
        "AIVDM,1,1,,A,x,0",
        "GPBWC,120000,4807.0,N,01131.0,E",
        "PUBX,04,1",
        "PSRF,1",
        "GPXXX,1",
        "GP",
        "RMC,1",
        "GPGGA",
        "P,1",
        "\x7f",
    ],
)
def test_other_sentences_are_none_of_our_business(body: str) -> None:
    assert part_from_sentence(body.encode()) is None


@pytest.mark.parametrize(
    "place",
    [
        "4860.000,N,01131.000,E",
        "9100.000,N,01131.000,E",
        "4807.000,X,01131.000,E",
        "4807.000,N,18100.000,E",
        ",,,",
        "48O7.0,N,01131.0,E",
        "-4807.0,N,01131.0,E",
        "nan,N,inf,E",
    ],
)
def test_a_place_that_cannot_be_is_no_position(place: str) -> None:
    assert part(f"GPRMC,120000,A,{place},0.0,0.0,230326,,,A").position_deg is None


@pytest.mark.parametrize(
    "text", ["", "12", "240000", "126000", "120061", "1200.5", "-20000", "12000x"]
)
def test_a_time_that_cannot_be_is_none(text: str) -> None:
    assert time_of_day_ns(text) is None


def test_a_leap_second_reaches_beyond_the_day() -> None:
    assert time_of_day_ns("235960.25") == 86_400 * NS_PER_S + NS_PER_S // 4


@pytest.mark.parametrize("date", ["310226", "2208-1", "", "991399", "000000"])
def test_a_date_that_cannot_be_is_none(date: str) -> None:
    assert part(f"GPRMC,120000,A,4807.0,N,01131.0,E,0,0,{date},,,A").date is None


def test_numbers_are_decimal_digits_and_nothing_else() -> None:
    said = part("GPGGA,120000,4807.0,N,01131.0,E,1,0x8,1e3,inf,M,1_0,M,,")
    assert (said.satellites, said.hdop, said.altitude_msl_m) == (None, None, None)
    assert said.geoid_separation_m is None
    assert math.isclose(part("GPVTG,360.0,T,,M,1,N,,K").course_deg or 0.0, 0.0)
