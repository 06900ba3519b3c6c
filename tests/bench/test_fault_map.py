import msgspec
import numpy as np
import pytest

from fusion_rt.bench.fault_map import mean_precision, scorer_of
from fusion_rt.bench.fault_score import AnswerSeen
from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import Detections
from fusion_rt.rig import find_rig, load_rig


def test_the_truth_itself_scores_one_in_every_round_of_the_loop():
    pytest.importorskip("embreex", reason="needs the extra sim")
    from fusion_rt.sim.models import CLASSES
    from fusion_rt.sim.scenario import scenario_named
    from fusion_rt.sim.truth import truth_at
    from fusion_rt.sim.world import World

    world, start_ns = World(scenario_named("urban_day", 1), 1), 5 * NS_PER_S
    answers = []
    for at_s in (0.5, 1.5):
        truth = truth_at(world, round(at_s * NS_PER_S))
        message = Detections(
            stamp_ns=start_ns + round((at_s + 4) * NS_PER_S),
            boxes=truth.boxes,
            scores=np.ones(len(truth.boxes), np.float32),
            class_ids=truth.class_ids,
            classes=CLASSES,
        )
        answers.append(AnswerSeen(0, message))
    score = scorer_of(load_rig(find_rig("sim")), start_ns, loop_s=4.0)
    assert score(answers) == 1
    assert score([]) is None
    displaced = [AnswerSeen(0, _displaced(one.message, 2.5)) for one in answers]
    assert score(displaced) < 0.2


def test_without_answers_there_is_no_score():
    assert mean_precision([]) is None


def _displaced(message, by_m):
    boxes = message.boxes.copy()
    boxes[:, 0] += by_m
    return msgspec.structs.replace(message, boxes=boxes)
