import math

import numpy as np
import pytest

from fusion_rt.evaluation.average_precision import Curve
from fusion_rt.evaluation.confidence import (
    ScoreFit,
    best_threshold,
    calibration_error,
    fit_scores,
    score_bins,
)
from fusion_rt.evaluation.siren import Hearing, siren_score


def curve(scores: list[float], hits: list[int], asked: int) -> Curve:
    return Curve(scores=np.array(scores), is_hit=np.array(hits, np.bool_), asked=asked)


def test_scores_that_say_how_often_they_are_right_have_no_calibration_error() -> None:
    bins = score_bins([curve([0.75] * 4, [1, 1, 1, 0], 4)])
    assert bins[7].count == 4
    assert calibration_error(bins) == pytest.approx(0)


def test_calibration_error_is_the_mean_gap_by_count() -> None:
    bins = score_bins([curve([0.95, 0.95, 0.95], [1, 0, 0], 3), curve([0.15], [1], 1)])
    expected = (3 * abs(0.95 - 1 / 3) + 1 * abs(0.15 - 1)) / 4
    assert calibration_error(bins) == pytest.approx(expected)


def test_scores_too_low_to_matter_do_not_count() -> None:
    assert calibration_error(score_bins([curve([0.01] * 50, [0] * 50, 1)])) is None
    assert score_bins([curve([1.0], [1], 1)])[9].count == 1


def test_the_threshold_is_where_f1_is_highest_over_all_classes() -> None:
    first = curve([0.9, 0.6, 0.3], [1, 1, 0], 2)
    second = curve([0.5, 0.2], [0, 1], 1)
    # Cuts at 0.9: 2/4, 0.6: 4/5, 0.5: 4/6, 0.3: 4/7, 0.2: 6/8.
    assert best_threshold([first, second]) == pytest.approx(0.6)


def test_a_cut_cannot_part_equal_scores() -> None:
    assert best_threshold([curve([0.5, 0.5, 0.5, 0.2], [1, 0, 0, 1], 2)]) == pytest.approx(0.2)
    assert best_threshold([curve([0.5], [0], 2)]) is None


def hearing(probability: float, bearing_deg: float, *true_deg: float) -> Hearing:
    true = tuple(math.radians(one) for one in true_deg)
    return Hearing(probability, math.radians(bearing_deg), true)


def test_sirens_are_scored_by_recall_false_alarms_and_bearing() -> None:
    heard = [
        hearing(0.9, 179, -175, 20),
        hearing(0.8, 10, 12),
        hearing(0.1, 0, 90),
        hearing(0.7, 0),
        hearing(0.2, 0),
    ]
    score = siren_score(heard, 0.5)
    assert score is not None
    assert (score.moments, score.with_siren) == (5, 3)
    assert score.recall == pytest.approx(2 / 3)
    assert score.false_alarms == pytest.approx(1 / 2)
    assert score.bearing_median_deg == pytest.approx(4.0)


def test_without_sound_nothing_is_said_of_sirens() -> None:
    assert siren_score([], 0.5) is None
    quiet = siren_score([hearing(0.1, 0)], 0.5)
    assert quiet is not None
    assert quiet.recall is None
    assert quiet.bearing_median_deg is None


def _drawn(fit: ScoreFit) -> Curve:
    """Many detections that are right as often as `fit` makes of their scores."""
    rng = np.random.default_rng(4)
    scores = np.sort(rng.uniform(0.01, 0.99, 20_000))[::-1]
    shares = np.array([fit.of(score) for score in scores.tolist()])
    return Curve(scores=scores, is_hit=rng.random(len(scores)) < shares, asked=len(scores))


def test_a_fit_finds_how_often_scores_are_right() -> None:
    made = ScoreFit(1.7, 0.6)
    drawn = _drawn(made)
    fit = fit_scores([drawn])
    assert (fit.scale, fit.offset) == pytest.approx((made.scale, made.offset), abs=0.08)
    before = calibration_error(score_bins([drawn]))
    honest = Curve(
        scores=np.array([fit.of(score) for score in drawn.scores.tolist()]),
        is_hit=drawn.is_hit,
        asked=drawn.asked,
    )
    after = calibration_error(score_bins([honest]))
    assert before is not None
    assert after is not None
    assert after < 0.02 < before


def test_a_fit_keeps_the_order_of_scores_and_their_ends() -> None:
    fitted = [ScoreFit(0.5, -2.0).of(score) for score in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert fitted == sorted(fitted)
    assert 0 < fitted[0] < fitted[-1] < 1


@pytest.mark.parametrize(
    "drawn",
    [curve([0.9] * 60, [1] * 60, 60), _drawn(ScoreFit(-1.0, 0.0))],
    ids=["never wrong", "the higher the worse"],
)
def test_scores_stay_where_a_fit_says_nothing(drawn: Curve) -> None:
    assert fit_scores([drawn]) == ScoreFit()
