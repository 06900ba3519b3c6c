"""What scores are worth: how often a detection of some score is right, and where to cut."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

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


_NEARLY = 1e-6
_FEWEST = 50
"""Right and wrong detections, of which a line can be drawn."""
_STEPS = 30


class ScoreFit(msgspec.Struct, frozen=True):
    """A line through logits that turns scores into the share that is right; keeps their order."""

    scale: float = 1.0
    offset: float = 0.0

    def of(self, score: float) -> float:
        """What a score becomes."""
        score = min(max(score, _NEARLY), 1 - _NEARLY)
        logit = self.scale * math.log(score / (1 - score)) + self.offset
        return 1 / (1 + math.exp(-logit))


def score_bins(curves: Sequence[Curve]) -> list[ScoreBin]:
    """BINS of equal width from 0 to 1, over all classes."""
    scores, is_hit = _scores(curves)
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


def fit_scores(curves: Sequence[Curve]) -> ScoreFit:
    """Platt's scaling: the likeliest line, by Newton's steps.

    Scores stay as they are where there is too little to fit, or where higher ones are no better.
    """
    scores, is_hit = _scores(curves)
    if min(is_hit.sum(), (~is_hit).sum()) < _FEWEST:
        return ScoreFit()
    scores = scores.clip(_NEARLY, 1 - _NEARLY)
    logits = np.log(scores / (1 - scores))
    columns = np.stack([logits, np.ones_like(logits)], axis=1)
    line = np.zeros(2)
    for _ in range(_STEPS):
        right = 0.5 + 0.5 * np.tanh(columns @ line / 2)  # a sigmoid that cannot overflow
        slope = columns.T @ (is_hit - right)
        curvature = (columns * (right * (1 - right))[:, None]).T @ columns
        line += np.linalg.solve(curvature + _NEARLY * np.eye(2), slope)
    scale, offset = line.tolist()
    return ScoreFit(scale, offset) if scale > 0 else ScoreFit()


def best_threshold(curves: Sequence[Curve]) -> float | None:
    """The score that cuts with the highest F1 over all classes; None where nothing is right."""
    scores, is_hit = _scores(curves)
    asked = sum(curve.asked for curve in curves)
    if not is_hit.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_hit[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + asked)
    is_last = np.append(np.diff(scores[order]) != 0, True)  # a cut keeps all of one score
    return float(scores[order][np.where(is_last, f1, -1).argmax()])


def _scores(curves: Sequence[Curve]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Of all classes: scores, and whether each is right."""
    scores = np.concatenate([np.zeros(0), *(curve.scores for curve in curves)])
    is_hit = np.concatenate([np.zeros(0, np.bool_), *(curve.is_hit for curve in curves)])
    return scores, is_hit
