"""Looks for the best of many poses: the cross-entropy method, for scores that are not smooth.

Draws around a guess, keeps the best draws, and goes on with their mean and covariance (Rubinstein,
"The cross-entropy method for combinatorial and continuous optimization", 1999).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_KEPT_COVARIANCE = 0.3
"""Smooths the covariance from round to round, so that one lucky round does not freeze it."""
_WIDENING = 1.15
"""The spread of the elite is biased low: it is a selection."""


def maximise(
    score: Callable[[Floats], float],
    start: Floats,
    spread: Floats,
    rng: np.random.Generator,
    *,
    rounds: int = 15,
    draws: int = 40,
) -> tuple[Floats, float]:
    """The best point found and its score, from `start` (D,) with standard deviations (D,)."""
    mean, covariance = start.astype(np.float64), np.diag(spread.astype(np.float64) ** 2)
    best, best_score = mean, score(mean)
    for _ in range(rounds):
        points = np.vstack([rng.multivariate_normal(mean, covariance, draws), best])
        scores = np.array([score(point) for point in points])
        elite = points[np.argsort(-scores)[: max(draws // 5, 2)]]
        if scores.max() > best_score:
            best, best_score = points[int(np.argmax(scores))], float(scores.max())
        mean = elite.mean(axis=0)
        fresh = np.cov(elite.T) * _WIDENING
        covariance = _KEPT_COVARIANCE * covariance + (1 - _KEPT_COVARIANCE) * fresh
    return best, best_score
