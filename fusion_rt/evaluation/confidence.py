"""What scores are worth: how often a detection of some score is right, and where to cut."""

from collections.abc import Sequence

import msgspec
import numpy as np

from fusion_rt.evaluation.average_precision import Curve

BINS = 10
LEAST_SCORE = 0.05
"""Below this no threshold is put, and the many detections there would hide all others."""


class ScoreBin(msgspec.Struct, frozen=True):
    """Detections whose scores lie within a tenth."""

    count: int
    mean_score: float
    right: float
    """Share that is right."""


def score_bins(curves: Sequence[Curve]) -> list[ScoreBin]:
    """BINS of equal width from 0 to 1, over all classes."""
    scores = np.concatenate([np.zeros(0), *(curve.scores for curve in curves)])
    is_hit = np.concatenate([np.zeros(0, np.bool_), *(curve.is_hit for curve in curves)])
    at = np.where(scores < LEAST_SCORE, -1, np.minimum((scores * BINS).astype(int), BINS - 1))
    return [
        ScoreBin(int(inside.sum()), float(scores[inside].mean()), float(is_hit[inside].mean()))
        if (inside := at == number).any()
        else ScoreBin(0, 0.0, 0.0)
        for number in range(BINS)
    ]


def calibration_error(bins: Sequence[ScoreBin]) -> float | None:
    """Expected calibration error: mean gap of score and share that is right, by count."""
    count = sum(each.count for each in bins)
    if not count:
        return None
    return sum(each.count * abs(each.mean_score - each.right) for each in bins) / count


def best_threshold(curves: Sequence[Curve]) -> float | None:
    """The score that cuts with the highest F1 over all classes; None where nothing is right."""
    scores = np.concatenate([np.zeros(0), *(curve.scores for curve in curves)])
    is_hit = np.concatenate([np.zeros(0, np.bool_), *(curve.is_hit for curve in curves)])
    asked = sum(curve.asked for curve in curves)
    if not is_hit.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_hit[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + asked)
    is_last = np.append(np.diff(scores[order]) != 0, True)  # a cut keeps all of one score
    return float(scores[order][np.where(is_last, f1, -1).argmax()])
