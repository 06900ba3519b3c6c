"""Pairs detections with the truth by centre distance, as nuScenes does: the ground of all scores.

Per class, detections of all moments go by falling score; each takes the nearest truth of its own
moment that is still free and nearer than the limit.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

NOBODY = -1
EXCUSED = -2
"""The detection lies on a truth that was not asked for: neither right nor wrong."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What was detected in one moment, and what was there."""

    boxes: npt.NDArray[np.floating]
    """(N, 9): messages.BOX_COLUMNS."""
    scores: npt.NDArray[np.floating]
    labels: npt.NDArray[np.integer]
    truth_boxes: npt.NDArray[np.floating]
    """(M, 9)."""
    truth_labels: npt.NDArray[np.integer]
    is_asked: Bools
    """(M,): whether a miss counts. The others excuse one detection each."""


class Matches(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One class at one limit: detections of all moments by falling score."""

    scores: Floats
    truth: Ints
    """Per detection: row among all truths of the class, NOBODY or EXCUSED."""
    moments: Ints
    """Per detection."""
    boxes: Floats
    """(N, 9)."""
    truth_boxes: Floats
    """(M, 9), of all moments one after the other."""
    truth_moments: Ints
    truth_rows: Ints
    """Of each truth in its moment's lists."""
    is_asked: Bools


def match(outcomes: Sequence[Outcome], label: int, limit_m: float) -> Matches:
    """Pair the detections of one class. Equal scores keep the order of moments and rows."""
    found = [outcome.labels == label for outcome in outcomes]
    there = [outcome.truth_labels == label for outcome in outcomes]
    boxes = _stacked([o.boxes[rows] for o, rows in zip(outcomes, found, strict=True)])
    truth_boxes = _stacked([o.truth_boxes[rows] for o, rows in zip(outcomes, there, strict=True)])
    scores = np.concatenate(
        [np.zeros(0), *(o.scores[rows] for o, rows in zip(outcomes, found, strict=True))]
    )
    asked = [o.is_asked[rows] for o, rows in zip(outcomes, there, strict=True)]
    is_asked = np.concatenate([np.zeros(0, np.bool_), *asked])
    moments, truth_moments = _moments(found), _moments(there)
    order = np.argsort(-scores, kind="stable")
    truth = _paired(boxes[order], moments[order], truth_boxes, truth_moments, is_asked, limit_m)
    return Matches(
        scores=scores[order],
        truth=truth,
        moments=moments[order],
        boxes=boxes[order],
        truth_boxes=truth_boxes,
        truth_moments=truth_moments,
        truth_rows=np.concatenate([np.zeros(0, np.int64), *(np.flatnonzero(r) for r in there)]),
        is_asked=is_asked,
    )


def _paired(
    boxes: Floats,
    moments: Ints,
    truth_boxes: Floats,
    truth_moments: Ints,
    is_asked: Bools,
    limit_m: float,
) -> Ints:
    """Truth per detection. What was asked for is taken first, so an excuse never costs a hit."""
    starts = np.searchsorted(truth_moments, np.arange(moments.max(initial=-1) + 2))
    is_free = np.ones(len(truth_boxes), np.bool_)
    truth = np.full(len(boxes), NOBODY, np.int64)
    for row, moment in enumerate(moments.tolist()):
        first, last = int(starts[moment]), int(starts[moment + 1])
        apart = truth_boxes[first:last, :2] - boxes[row, :2]
        apart_m = np.where(is_free[first:last], np.hypot(apart[:, 0], apart[:, 1]), np.inf)
        asked = is_asked[first:last]
        for candidates, is_excuse in ((asked, False), (~asked, True)):
            reach_m = np.where(candidates, apart_m, np.inf)
            if not reach_m.size or reach_m.min() >= limit_m:
                continue
            nearest = int(reach_m.argmin())
            is_free[first + nearest] = False
            truth[row] = EXCUSED if is_excuse else first + nearest
            break
    return truth


def _moments(rows: Sequence[Bools]) -> Ints:
    return np.repeat(np.arange(len(rows)), [int(np.count_nonzero(each)) for each in rows])


def _stacked(boxes: Sequence[npt.NDArray[np.floating]]) -> Floats:
    return np.concatenate([np.zeros((0, 9)), *boxes]).astype(np.float64)
