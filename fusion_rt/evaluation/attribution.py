"""Which sensor an output came from, by taking sensors away: Shapley values over all their sets.

The graph's own `contributions` say how much of each sensor's features went in; these say how much
of the score came out of them. With all 15 answers at hand they are exact, for any model.
"""

from collections.abc import Mapping, Sequence
from math import factorial

import numpy as np

from fusion_rt.arrays import Floats
from fusion_rt.evaluation.subsets import Subset, subsets_of
from fusion_rt.perception import Answer

SAME_M = 2.0
"""A detection of the same class within it is the same detection, from other sensors."""


def shapley_scores(answers: Mapping[Subset, Answer], kinds: Sequence[str]) -> Floats:
    """(N, len(kinds)): parts of the scores of the answer from all `kinds`; rows sum to the scores.

    `answers` holds one per set of `kinds`; without any sensor all scores are 0.
    """
    full = answers[tuple(kinds)]
    values = {subset: _scores_in(full, answers[subset]) for subset in subsets_of(kinds)}
    values[()] = np.zeros_like(full.scores)
    shares = np.zeros((len(full.scores), len(kinds)), np.float32)
    for column, kind in enumerate(kinds):
        others = [other for other in kinds if other != kind]
        for subset in [(), *subsets_of(others)]:
            joined = tuple(each for each in kinds if each == kind or each in subset)
            weight = factorial(len(subset)) * factorial(len(kinds) - len(subset) - 1)
            gain = values[joined] - values[subset]
            shares[:, column] += gain * np.float32(weight / factorial(len(kinds)))
    return shares


def _scores_in(full: Answer, answer: Answer) -> Floats:
    """Per detection of `full`, the best score of the same thing in another answer; 0 if not."""
    apart = full.boxes[:, None, :2] - answer.boxes[None, :, :2]
    is_same = (np.hypot(apart[..., 0], apart[..., 1]) < SAME_M) & (
        full.labels[:, None] == answer.labels[None]
    )
    scores: Floats = np.where(is_same, answer.scores[None], 0).max(axis=1, initial=0)
    return scores if answer is not full else full.scores
