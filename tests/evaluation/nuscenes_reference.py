"""nuScenes' detection scores as its paper and devkit define them, in the plainest Python.

Written for these tests from the published definition, to compare ours with; nothing is shared.
"""

import math

import numpy as np

from fusion_rt.evaluation.matching import Outcome


def accumulate(outcomes: list[Outcome], label: int, limit_m: float):
    """Recall, precision and confidence, and per hit its confidence and its four errors."""
    positives = sum(int(t == label) for o in outcomes for t in o.truth_labels)
    predictions = []
    for sample, o in enumerate(outcomes):
        for b, s, which in zip(o.boxes.tolist(), o.scores.tolist(), o.labels.tolist(), strict=True):
            if which == label:
                predictions.append((s, sample, b))
    predictions.sort(key=lambda one: -one[0])
    taken, hits, confidence, pairs = set(), [], [], []
    for score, sample, found in predictions:
        nearest, at = math.inf, None
        for row, true in enumerate(outcomes[sample].truth_boxes.tolist()):
            if outcomes[sample].truth_labels[row] != label or (sample, row) in taken:
                continue
            apart = math.dist(true[:2], found[:2])
            if apart < nearest:
                nearest, at = apart, row
        confidence.append(score)
        hits.append(nearest < limit_m)
        if nearest < limit_m:
            taken.add((sample, at))
            pairs.append((score, errors(found, outcomes[sample].truth_boxes[at].tolist())))
    return positives, hits, confidence, pairs


def average_precision(outcomes: list[Outcome], label: int, limit_m: float) -> float:
    positives, hits, _, _ = accumulate(outcomes, label, limit_m)
    recall, precision, right = [], [], 0
    for number, hit in enumerate(hits, start=1):
        right += hit
        recall.append(right / positives)
        precision.append(right / number)
    sampled = np.interp(np.linspace(0, 1, 101), recall, precision, right=0)
    kept = [max(p - 0.1, 0) for p in sampled[11:]]
    return float(np.mean(kept)) / 0.9


def true_positive_errors(outcomes: list[Outcome], label: int) -> list[float]:
    positives, hits, confidence, pairs = accumulate(outcomes, label, 2.0)
    recall = np.cumsum(hits) / positives
    sampled = np.interp(np.linspace(0, 1, 101), recall, confidence, right=0)
    last = max(i for i, c in enumerate(sampled) if c != 0)
    results = []
    for kind in range(4):
        total, means = 0.0, []
        for number, (_, values) in enumerate(pairs, start=1):
            total += values[kind]
            means.append(total / number)
        scores = [score for score, _ in pairs]
        curve = [np.interp(c, scores[::-1], means[::-1]) for c in sampled]
        results.append(float(np.mean(curve[11 : last + 1])) if last >= 11 else 1.0)
    return results


def errors(found: list[float], true: list[float]) -> list[float]:
    common = math.prod(min(a, b) for a, b in zip(found[3:6], true[3:6], strict=True))
    both = math.prod(found[3:6]) + math.prod(true[3:6]) - common
    turned = abs(found[6] - true[6]) % (2 * math.pi)
    return [
        math.dist(found[:2], true[:2]),
        1 - common / both,
        min(turned, 2 * math.pi - turned),
        math.dist(found[7:9], true[7:9]),
    ]
