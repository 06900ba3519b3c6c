"""Mean average precision of live answers against the simulator's world, at 2 m between centres.

The played drive repeats, so the truth of an answer is that of its reference time within the loop.
Every object in the range of the model counts, seen or not: a figure to be held against the same
figure without faults, not against others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.bench.fault_score import AnswerSeen
from fusion_rt.bench.prerender import SIMULATED
from fusion_rt.clock import NS_PER_S
from fusion_rt.rig import Rig

LIMIT_M = 2.0
X_M, Y_M = (0.0, 51.2), (-25.6, 25.6)
_RECALLS = np.linspace(0, 1, 101)
Score = Callable[[Sequence[AnswerSeen]], float | None]
Places = npt.NDArray[np.floating]


class Moment(msgspec.Struct, frozen=True, eq=False):
    """What was found and what was there of one class, at one time."""

    scores: Places
    """(N,)."""
    found_xy: Places
    """(N, 2), metres in `base`."""
    there_xy: Places
    """(M, 2)."""


def scorer_of(rig: Rig, start_ns: int, loop_s: float) -> Score:
    """Scores answers of a played rig; None for all where nothing of it was simulated."""
    simulated = [s.options for s in rig.sensors.values() if s.options.driver == SIMULATED]
    if not simulated:
        return lambda _answers: None
    options: Any = simulated[0]
    from fusion_rt.sim.scenario import scenario_named
    from fusion_rt.sim.world import World

    world = World(scenario_named(options.scenario, options.seed), options.seed)
    loop_ns = round(loop_s * NS_PER_S)

    def score(answers: Sequence[AnswerSeen]) -> float | None:
        times_ns = [(answer.message.stamp_ns - start_ns) % loop_ns for answer in answers]
        return mean_precision(_moments(world, answers, times_ns))

    return score


def mean_precision(by_class: dict[str, list[Moment]]) -> float | None:
    """Mean over the classes that were there; None where none was."""
    found = [average_precision(moments) for moments in by_class.values()]
    known = [value for value in found if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def average_precision(moments: Sequence[Moment]) -> float | None:
    """Area under the precision envelope at 101 recalls; None where nothing was there."""
    there = sum(len(moment.there_xy) for moment in moments)
    if not there:
        return None
    scores = np.concatenate([moment.scores for moment in moments])
    is_hit = np.concatenate([_hits(moment) for moment in moments])
    is_hit = is_hit[np.argsort(-scores, kind="stable")]
    recall = np.cumsum(is_hit) / there
    precision = np.cumsum(is_hit) / np.arange(1, len(is_hit) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, _RECALLS - 1e-12)].mean())


def _hits(moment: Moment) -> npt.NDArray[np.bool_]:
    """By falling score, each takes the nearest object that is free and near enough."""
    is_hit = np.zeros(len(moment.scores), np.bool_)
    off_m = np.linalg.norm(moment.found_xy[:, None] - moment.there_xy[None], axis=2)
    for row in np.argsort(-moment.scores, kind="stable"):
        nearest = int(np.argmin(off_m[row])) if off_m.shape[1] else -1
        if nearest >= 0 and off_m[row, nearest] <= LIMIT_M:
            is_hit[row] = True
            off_m[:, nearest] = np.inf
    return is_hit


def _moments(
    world: Any, answers: Sequence[AnswerSeen], times_ns: Sequence[int]
) -> dict[str, list[Moment]]:
    from fusion_rt.sim.models import CLASSES
    from fusion_rt.sim.truth import truth_at

    by_class: dict[str, list[Moment]] = {name: [] for name in CLASSES}
    for answer, at_ns in zip(answers, times_ns, strict=True):
        message, truth = answer.message, truth_at(world, at_ns)
        there_xy = truth.boxes[:, :2]
        is_near, is_in = _in_range(message.boxes[:, :2]), _in_range(there_xy)
        for number, name in enumerate(CLASSES):
            is_named = [message.classes[c] == name for c in message.class_ids]
            is_of = is_near & np.array(is_named, np.bool_)
            is_there = is_in & (truth.class_ids == number)
            by_class[name].append(
                Moment(message.scores[is_of], message.boxes[is_of, :2], there_xy[is_there])
            )
    return by_class


def _in_range(xy: Places) -> npt.NDArray[np.bool_]:
    x, y = xy[:, 0], xy[:, 1]
    is_in: npt.NDArray[np.bool_] = (x >= X_M[0]) & (x <= X_M[1]) & (y >= Y_M[0]) & (y <= Y_M[1])
    return is_in
