import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.bench.latency_run import trial_of
from fusion_rt.bench.sustained import FASTEST, PRECISION, SLOWEST, Trial, best_of, find_sustained
from fusion_rt.latency.summary import summarise
from tests.latency.runs import make_run


def machine_with(capacity, tried):
    """A rig that keeps up to `capacity` and not beyond."""

    def trial(speed):
        tried.append(speed)
        return Trial(
            speed=speed, answers_hz=10 * speed, missing=0, p99_ms=9, is_sustained=speed <= capacity
        )

    return trial


@given(st.floats(SLOWEST, FASTEST * 0.99))
def test_the_highest_speed_is_found_to_a_tenth_in_few_trials(capacity):
    tried = []
    best = best_of(find_sustained(machine_with(capacity, tried)))
    assert best.speed <= capacity <= best.speed * (1 + PRECISION) * 1.0001
    assert len(tried) <= 9
    assert len(set(tried)) == len(tried)


def test_a_rig_that_never_keeps_up_has_no_best():
    assert best_of(find_sustained(machine_with(0.01, []))) is None


def test_a_rig_that_always_keeps_up_is_not_tried_for_ever():
    tried = []
    assert best_of(find_sustained(machine_with(1e9, tried))).speed == FASTEST
    assert len(tried) == 5


def test_trials_come_back_in_order_of_speed():
    speeds = [one.speed for one in find_sustained(machine_with(2.7, []))]
    assert speeds == sorted(speeds)


def test_incomplete_answers_count_as_missing():
    summary = summarise(make_run())  # a sixth of it without its LiDAR
    trial = trial_of(summary, 1.0, reference_hz=10, drop_limit=0.05)
    assert trial.missing == pytest.approx(1 / 6, abs=0.01)
    assert not trial.is_sustained
    assert trial_of(summary, 1.0, reference_hz=10, drop_limit=0.2).is_sustained


def test_answers_that_did_not_come_count_as_missing():
    summary = summarise(make_run(seconds=9))
    assert trial_of(summary, 2.0, 10, 0.05).missing == pytest.approx(0.5, abs=0.02)
