"""Outcomes made by hand and by chance, for tests of scores."""

from collections.abc import Sequence

import numpy as np

from fusion_rt.evaluation.matching import Outcome


def box(x_m: float, y_m: float = 0.0, *, yaw_rad: float = 0.0, vx_mps: float = 0.0) -> list[float]:
    return [x_m, y_m, 0.8, 4.0, 2.0, 1.5, yaw_rad, vx_mps, 0.0]


def outcome(
    found: Sequence[tuple[list[float], float, int]],
    truth: Sequence[tuple[list[float], int]],
    unasked: Sequence[int] = (),
) -> Outcome:
    """Detections as (box, score, label), truths as (box, label), rows that are not asked for."""
    is_asked = np.ones(len(truth), np.bool_)
    is_asked[list(unasked)] = False
    return Outcome(
        boxes=np.array([one[0] for one in found], np.float32).reshape(-1, 9),
        scores=np.array([one[1] for one in found], np.float32),
        labels=np.array([one[2] for one in found], np.int32),
        truth_boxes=np.array([one[0] for one in truth], np.float32).reshape(-1, 9),
        truth_labels=np.array([one[1] for one in truth], np.int64),
        is_asked=is_asked,
    )


def random_outcomes(seed: int, moments: int = 12, labels: int = 3) -> list[Outcome]:
    """Truths in a small place, detections near some of them, doubles and inventions."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(moments):
        truth = [
            (_some_box(rng, rng.uniform(0, 12, 2)), int(rng.integers(labels)))
            for _ in range(int(rng.integers(0, 8)))
        ]
        found = []
        for true, label in truth:
            for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
                place = np.array(true[:2]) + rng.normal(0, 0.8, 2)
                seen_as = label if rng.random() < 0.9 else int(rng.integers(labels))
                found.append((_some_box(rng, place), float(rng.uniform(0.2, 1)), seen_as))
        for _ in range(int(rng.integers(0, 4))):
            place = rng.uniform(0, 12, 2)
            score = float(rng.uniform(0, 0.8))
            found.append((_some_box(rng, place), score, int(rng.integers(labels))))
        made.append(outcome(found, truth))
    return made


def _some_box(rng: np.random.Generator, place: np.ndarray) -> list[float]:
    sizes = rng.uniform(0.5, 5, 3)
    return [*place, 0.5, *sizes, rng.uniform(-3, 3), *rng.normal(0, 3, 2)]
