import numpy as np
import pytest

from fusion_rt.bench.fault_map import Moment, average_precision, mean_precision, scorer_of
from fusion_rt.bench.fault_score import AnswerSeen
from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import Detections
from fusion_rt.rig import find_rig, load_rig


def moment(found, there):
    """`found` as (score, x, y), `there` as (x, y)."""
    rows = np.array(found, float).reshape(-1, 3)
    return Moment(rows[:, 0], rows[:, 1:], np.array(there, float).reshape(-1, 2))


def test_all_found_and_nothing_else_is_one():
    assert average_precision([moment([(0.9, 10, 0), (0.8, 20, 5)], [(10, 1), (20, 5)])]) == 1


def test_nothing_found_is_zero_and_nothing_there_is_no_score():
    assert average_precision([moment([], [(10, 1)])]) == 0
    assert average_precision([moment([(0.9, 10, 0)], [])]) is None


def test_two_metres_are_the_limit():
    assert average_precision([moment([(0.9, 10, 0)], [(12, 0)])]) == 1
    assert average_precision([moment([(0.9, 10, 0)], [(12.01, 0)])]) == 0


def test_an_object_is_found_once():
    found = [(0.9, 10, 0), (0.8, 10, 0), (0.7, 20, 0)]
    value = average_precision([moment(found, [(10, 0), (20, 0)])])
    assert value == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_a_false_alarm_before_a_hit_costs_and_one_after_does_not():
    assert average_precision([moment([(0.9, 40, 0), (0.5, 10, 0)], [(10, 0)])]) == 0.5
    assert average_precision([moment([(0.9, 10, 0), (0.5, 40, 0)], [(10, 0)])]) == 1


def test_an_object_of_another_moment_is_not_found():
    assert average_precision([moment([(0.9, 10, 0)], []), moment([], [(10, 0)])]) == 0


def test_the_mean_is_over_classes_that_were_there():
    perfect, none = [moment([(0.9, 1, 0)], [(1, 0)])], [moment([(0.9, 1, 0)], [])]
    missed = [moment([], [(1, 0)])]
    assert mean_precision({"car": perfect, "cyclist": none, "pedestrian": missed}) == 0.5
    assert mean_precision({"car": none}) is None


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
