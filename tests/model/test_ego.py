"""GPS fixes as the network sees them."""

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import GpsFix
from fusion_rt.model.ego import EGO_COLUMNS, EGO_SIZE, ego_vector

ANCHOR_NS = 10 * NS_PER_S


def _fix(ago_s: float, east: float, north: float = 0.0) -> GpsFix:
    stamp_ns = ANCHOR_NS - round(ago_s * NS_PER_S)
    return GpsFix(
        stamp_ns=stamp_ns,
        fix="3d",
        velocity_enu_mps=(east, north, 0.0),
        horizontal_accuracy_m=2.0,
        satellites=7,
    )


def _values(*fixes: GpsFix) -> dict[str, float]:
    vector = ego_vector(fixes, ANCHOR_NS)
    assert vector.shape == (1, EGO_SIZE)
    assert vector.dtype == np.float32
    return dict(zip(EGO_COLUMNS, vector[0].tolist(), strict=False))


def test_without_a_fix_all_is_zero() -> None:
    assert not ego_vector([], ANCHOR_NS).any()


def test_speed_acceleration_and_age_of_the_last_fixes() -> None:
    values = _values(_fix(0.3, 4.0), _fix(0.2, 5.0), _fix(0.1, 6.0))
    assert values["speed"] == pytest.approx(0.6)
    assert values["acceleration"] == pytest.approx(2 / 0.2 / 3)
    assert values["fix_age"] == pytest.approx(0.1)
    assert values["satellites"] == pytest.approx(0.5)


def test_turning_left_is_a_positive_yaw_rate() -> None:
    assert _values(_fix(0.1, 5.0), _fix(0.0, 4.9, 1.0))["yaw_rate"] > 0


def test_at_standstill_no_course_is_believed() -> None:
    values = _values(_fix(0.1, 0.05), _fix(0.0, -0.04, 0.02))
    assert values["has_course"] == values["course_sin"] == values["yaw_rate"] == 0


def test_fixes_older_than_a_second_or_newer_than_the_anchor_do_not_count() -> None:
    assert not ego_vector([_fix(1.5, 5.0)], ANCHOR_NS).any()
    assert not ego_vector([_fix(-0.1, 5.0)], ANCHOR_NS).any()


def test_a_receiver_without_solution_says_nothing_of_motion() -> None:
    lost = GpsFix(stamp_ns=ANCHOR_NS, fix="none", satellites=0)
    assert not ego_vector([lost], ANCHOR_NS).any()


def test_wild_values_are_bounded() -> None:
    assert np.abs(ego_vector([_fix(0.1, 1.0), _fix(0.0, 900.0)], ANCHOR_NS)).max() <= 5
