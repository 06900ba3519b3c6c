"""Mean average precision of live answers against the simulator's world, at 2 m between centres.

The played drive repeats, so the truth of an answer is that of its reference time within the loop.
Every object in the range of the model counts, seen or not: a figure to be held against the same
figure without faults, not against others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_rt.bench.fault_score import AnswerSeen
from fusion_rt.bench.prerender import SIMULATED
from fusion_rt.clock import NS_PER_S
from fusion_rt.evaluation.average_precision import curve_of, plain_ap
from fusion_rt.evaluation.matching import Outcome, match
from fusion_rt.rig import Rig

LIMIT_M = 2.0
X_M, Y_M = (0.0, 51.2), (-25.6, 25.6)
Score = Callable[[Sequence[AnswerSeen]], float | None]


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
        return mean_precision(
            [_outcome(world, one, (one.message.stamp_ns - start_ns) % loop_ns) for one in answers]
        )

    return score


def mean_precision(outcomes: Sequence[Outcome]) -> float | None:
    """Mean over the classes that were there; None where nothing was."""
    labels = {int(label) for one in outcomes for label in one.truth_labels[one.is_asked]}
    found = [plain_ap(curve_of(match(outcomes, label, LIMIT_M))) for label in sorted(labels)]
    known = [value for value in found if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _outcome(world: Any, answer: AnswerSeen, at_ns: int) -> Outcome:
    from fusion_rt.sim.models import CLASSES
    from fusion_rt.sim.truth import truth_at

    message, truth = answer.message, truth_at(world, at_ns)
    numbers = [CLASSES.index(name) if name in CLASSES else -1 for name in message.classes]
    is_near = _in_range(message.boxes)
    return Outcome(
        boxes=message.boxes[is_near],
        scores=message.scores[is_near],
        labels=np.array([numbers[c] for c in message.class_ids[is_near]], np.int64),
        truth_boxes=truth.boxes,
        truth_labels=truth.class_ids,
        is_asked=_in_range(truth.boxes),
    )


def _in_range(boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    x, y = boxes[:, 0], boxes[:, 1]
    is_in: npt.NDArray[np.bool_] = (x >= X_M[0]) & (x <= X_M[1]) & (y >= Y_M[0]) & (y <= Y_M[1])
    return is_in
