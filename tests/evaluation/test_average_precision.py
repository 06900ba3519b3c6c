import numpy as np
import pytest

import tests.evaluation.nuscenes_reference as reference
from fusion_rt.evaluation.average_precision import (
    curve_of,
    nuscenes_ap,
    pair_errors,
    plain_ap,
)
from fusion_rt.evaluation.matching import EXCUSED, NOBODY, match
from tests.evaluation.outcomes import box, outcome, random_outcomes

CAR, BIKE = 0, 1


def aps(outcomes, label: int = CAR, limit_m: float = 2.0):
    curve = curve_of(match(outcomes, label, limit_m))
    return plain_ap(curve), nuscenes_ap(curve)


def test_perfect_detections_score_one() -> None:
    truth = [(box(10 * n), CAR) for n in range(7)]
    found = [(b, 0.9 - 0.1 * n, CAR) for n, (b, _) in enumerate(truth)]
    outcomes = [outcome(found, truth)] * 3
    assert aps(outcomes) == (1.0, pytest.approx(1.0))
    errors = pair_errors(match(outcomes, CAR, 2.0))
    assert errors is not None
    assert (errors.translation_m, errors.scale, errors.orientation_rad, errors.velocity_mps) == (
        pytest.approx((0, 0, 0, 0), abs=1e-6)
    )


def test_nothing_found_scores_zero_and_nothing_asked_scores_nothing() -> None:
    assert aps([outcome([], [(box(5), CAR)])]) == (0.0, 0.0)
    assert aps([outcome([(box(5), 0.9, CAR)], [])]) == (None, None)
    assert aps([]) == (None, None)
    assert pair_errors(match([outcome([], [])], CAR, 2.0)) is None


def test_a_known_order_has_a_known_area() -> None:
    # Right, wrong, right of two: precision 1 to recall 0.5, then 2/3.
    outcomes = [
        outcome(
            [(box(0), 0.9, CAR), (box(50), 0.8, CAR), (box(20), 0.7, CAR)],
            [(box(0), CAR), (box(20), CAR)],
        )
    ]
    plain, theirs = aps(outcomes)
    assert plain == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    # nuScenes interpolates over recalls 0.5, 0.5, 1 and precisions 1, 1/2, 2/3.
    assert theirs == pytest.approx(reference.average_precision(outcomes, CAR, 2.0))


def test_wrong_before_right_costs() -> None:
    truth = [(box(0), CAR)]
    right_first = [outcome([(box(0), 0.9, CAR), (box(50), 0.1, CAR)], truth)]
    wrong_first = [outcome([(box(0), 0.1, CAR), (box(50), 0.9, CAR)], truth)]
    assert aps(right_first)[0] == 1.0
    assert aps(wrong_first)[0] == pytest.approx(0.5)


def test_a_second_detection_of_one_thing_is_wrong() -> None:
    outcomes = [
        outcome([(box(0), 0.9, CAR), (box(0.1), 0.8, CAR)], [(box(0), CAR), (box(30), CAR)])
    ]
    matches = match(outcomes, CAR, 2.0)
    assert matches.truth.tolist() == [0, NOBODY]
    assert aps(outcomes)[0] == pytest.approx(51 / 101)


def test_the_surest_takes_the_nearest_and_leaves_the_rest() -> None:
    outcomes = [outcome([(box(1), 0.5, CAR), (box(0.9), 0.9, CAR)], [(box(0), CAR), (box(1), CAR)])]
    assert match(outcomes, CAR, 2.0).truth.tolist() == [1, 0]


def test_the_limit_itself_is_too_far() -> None:
    assert match([outcome([(box(2), 0.9, CAR)], [(box(0), CAR)])], CAR, 2.0).truth[0] == NOBODY
    assert match([outcome([(box(1.99), 0.9, CAR)], [(box(0), CAR)])], CAR, 2.0).truth[0] == 0


def test_another_class_or_another_moment_is_no_match() -> None:
    assert aps([outcome([(box(0), 0.9, BIKE)], [(box(0), CAR)])])[0] == 0
    assert aps([outcome([(box(0), 0.9, CAR)], []), outcome([], [(box(0), CAR)])])[0] == 0


def test_what_no_sensor_sees_is_no_miss_and_excuses_one_detection() -> None:
    truth = [(box(0), CAR), (box(20), CAR)]
    assert aps([outcome([(box(0), 0.9, CAR)], truth, unasked=[1])])[0] == 1.0
    twice = [(box(20), 0.95, CAR), (box(20), 0.94, CAR), (box(0), 0.9, CAR)]
    outcomes = [outcome(twice, truth, unasked=[1])]
    assert match(outcomes, CAR, 2.0).truth.tolist() == [EXCUSED, NOBODY, 0]
    assert aps(outcomes)[0] == pytest.approx(0.5)


def test_an_excuse_never_takes_what_would_be_a_hit() -> None:
    outcomes = [outcome([(box(0), 0.9, CAR)], [(box(1.5), CAR), (box(0.1), CAR)], unasked=[1])]
    assert match(outcomes, CAR, 2.0).truth.tolist() == [0]


def test_parts_count_hits_by_their_truth_and_inventions_by_their_place() -> None:
    outcomes = [
        outcome(
            [(box(19.5), 0.9, CAR), (box(10), 0.8, CAR), (box(40), 0.7, CAR)],
            [(box(20.5), CAR), (box(5), CAR)],
        )
    ]
    matches = match(outcomes, CAR, 2.0)
    far = curve_of(matches, matches.boxes[:, 0] >= 20, matches.truth_boxes[:, 0] >= 20)
    assert far.is_hit.tolist() == [True, False]
    assert far.asked == 1
    near = curve_of(matches, matches.boxes[:, 0] < 20, matches.truth_boxes[:, 0] < 20)
    assert near.is_hit.tolist() == [False]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit_m", [0.5, 1.0, 2.0, 4.0])
def test_agrees_with_nuscenes_definition(seed: int, limit_m: float) -> None:
    outcomes = random_outcomes(seed)
    for label in range(3):
        expected = reference.average_precision(outcomes, label, limit_m)
        assert aps(outcomes, label, limit_m)[1] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_errors_agree_with_nuscenes_definition(seed: int) -> None:
    outcomes = random_outcomes(seed)
    for label in range(3):
        errors = pair_errors(match(outcomes, label, 2.0))
        assert errors is not None
        got = (errors.translation_m, errors.scale, errors.orientation_rad, errors.velocity_mps)
        expected = reference.true_positive_errors(outcomes, label)
        assert got == pytest.approx(expected, abs=1e-6)


def test_errors_of_hardly_anything_found_are_one() -> None:
    truth = [(box(10 * n), CAR) for n in range(20)]
    errors = pair_errors(match([outcome([(box(0), 0.9, CAR)], truth)], CAR, 2.0))
    assert errors is not None
    assert errors.translation_m == errors.velocity_mps == 1.0


def test_truth_without_a_velocity_leaves_the_velocity_error_to_the_others() -> None:
    still = box(0)
    still[7:9] = [np.nan, np.nan]
    truth = [(still, CAR), (box(20, vx_mps=3), CAR)]
    found = [(box(0, vx_mps=9), 0.5, CAR), (box(20, vx_mps=1), 0.9, CAR)]
    errors = pair_errors(match([outcome(found, truth)], CAR, 2.0))
    assert errors is not None
    assert errors.velocity_mps == pytest.approx(2.0)
