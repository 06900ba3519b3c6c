import msgspec
import pytest

from fusion_rt.gnss.fix import fix_from_solution
from fusion_rt.gnss.options import GpsOptions
from fusion_rt.gnss.rig_time import Stamp
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import GpsFix

OPTIONS = GpsOptions(driver="x", geoid_separation_m=40.0)


def fix(**said: object) -> GpsFix:
    known: dict[str, object] = {"fix": "3d", "position_deg": (48.1, 11.5), **said}
    solution = Solution(source="x", **known)  # type: ignore[arg-type]
    found = fix_from_solution(solution, Stamp(5, 3), 7, OPTIONS)
    assert found.problem() is None
    msgspec.convert(msgspec.to_builtins(found), GpsFix)
    return found


def test_a_solution_without_a_fix_says_only_that_the_receiver_is_alive() -> None:
    for without in (fix(fix="none"), fix(position_deg=None)):
        assert (without.fix, without.latitude_deg, without.altitude_m) == ("none", 0, 0)
        assert (without.stamp_ns, without.utc_ns, without.stamp_uncertainty_ns) == (5, 7, 3)


def test_a_bare_position_counts_where_its_accuracy_is_sane() -> None:
    assert fix(fix=None).fix == "none"
    assert fix(fix=None, horizontal_accuracy_m=3.0).fix == "3d"


def test_two_dimensions_are_told_apart_from_three() -> None:
    assert fix(dimensions=2).fix == "2d"
    assert fix(dimensions=2, fix="dgps").fix == "dgps"


def test_altitude_is_above_the_ellipsoid() -> None:
    assert fix(altitude_m=560.0, altitude_msl_m=1.0).altitude_m == 560.0
    assert fix(altitude_msl_m=500.0, geoid_separation_m=47.0).altitude_m == 547.0
    assert fix(altitude_msl_m=500.0).altitude_m == 540.0


def test_velocity_follows_from_speed_and_course() -> None:
    moving = fix(speed_mps=10.0, course_deg=90.0)
    assert moving.velocity_enu_mps == pytest.approx((10, 0, 0))
    assert moving.course_deg == pytest.approx(90)
    assert fix(speed_mps=10.0).velocity_enu_mps is None
    assert fix().velocity_enu_mps is None


@pytest.mark.parametrize(
    "said",
    [
        {"speed_mps": 0.1, "course_deg": 90.0},
        {"speed_mps": 0.0},
        {"velocity_enu_mps": (0.1, 0.1, 2.0), "course_deg": 90.0},
        {"speed_mps": 10.0},
    ],
)
def test_the_course_is_unknown_at_standstill_and_where_nobody_says(said: dict[str, object]) -> None:
    assert fix(**said).course_deg is None


def test_a_standstill_without_a_course_is_a_velocity_too() -> None:
    assert fix(speed_mps=0.0).velocity_enu_mps == (0, 0, 0)


def test_accuracy_is_the_receiver_s_own_or_follows_from_the_geometry() -> None:
    assert fix(horizontal_accuracy_m=2.0, hdop=9.0).horizontal_accuracy_m == 2.0
    assert fix(hdop=2.0, vdop=3.0).horizontal_accuracy_m == 8.0
    assert fix(hdop=2.0, vdop=3.0).vertical_accuracy_m == 12.0
    assert fix(hdop=1.0, fix="rtk_fixed").horizontal_accuracy_m == pytest.approx(0.02)
    assert fix().horizontal_accuracy_m is None
