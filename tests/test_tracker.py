from itertools import permutations

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.fusion.assignment import assign
from fusion_rt.fusion.options import TrackerOptions
from fusion_rt.fusion.tracker import Tracked, Tracker
from fusion_rt.geometry import RigidTransform

STILL = RigidTransform.identity()
STEP_NS = NS_PER_S // 10


def box(x_m: float, y_m: float = 0.0, vx_mps: float = 0.0, yaw_rad: float = 0.0) -> np.ndarray:
    return np.array([x_m, y_m, 0.8, 4.5, 1.9, 1.6, yaw_rad, vx_mps, 0], np.float32)


def update(
    tracker: Tracker, step: int, *boxes: np.ndarray, moved: RigidTransform = STILL, kind: int = 0
) -> Tracked:
    return tracker.update(
        np.array(boxes, np.float32).reshape(-1, 9),
        np.full(len(boxes), 0.8, np.float32),
        np.full(len(boxes), kind, np.uint8),
        step * STEP_NS,
        moved,
    )


@pytest.mark.parametrize("seed", range(20))
def test_assignments_cost_as_little_as_can_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 6, 2)
    costs = rng.choice([rng.random(), 1.0, 1e6], (rows, columns)) + rng.random((rows, columns))
    pairs = assign(costs)
    assert len(pairs) == min(rows, columns)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    wide = costs if rows <= columns else costs.T
    least = min(
        sum(wide[n, column] for n, column in enumerate(order))
        for order in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(costs[pair] for pair in pairs) == pytest.approx(least)


def test_two_things_that_pass_each_other_keep_their_numbers() -> None:
    tracker = Tracker(TrackerOptions())
    for step in range(30):
        there, back = box(5 + step, 1.5, 10), box(34 - step, -1.5, -10)
        tracked = update(tracker, step, there, back)
    assert tracked.track_ids.tolist() == [1, 2]


def test_velocities_are_learned_from_places() -> None:
    tracker = Tracker(TrackerOptions())
    for step in range(30):
        tracked = update(tracker, step, box(5 + 0.5 * step, vx_mps=3))
    assert tracked.boxes[0, 7] == pytest.approx(5, abs=0.7)


def test_a_thing_that_is_not_seen_is_predicted_then_forgotten() -> None:
    tracker = Tracker(TrackerOptions(coast_s=0.5))
    for step in range(10):
        update(tracker, step, box(5 + step, vx_mps=10))
    tracked = update(tracker, 11)
    assert tracked.is_predicted.tolist() == [1]
    assert tracked.boxes[0, 0] == pytest.approx(16, abs=0.5)
    assert tracked.scores[0] < 0.8
    assert len(update(tracker, 20).boxes) == 0


def test_a_flicker_is_not_predicted() -> None:
    tracker = Tracker(TrackerOptions())
    update(tracker, 0, box(5))
    assert len(update(tracker, 1).boxes) == 0


def test_what_stands_still_stays_while_we_drive() -> None:
    tracker = Tracker(TrackerOptions())
    moved = RigidTransform.from_yaw(-0.02, (-1, 0, 0))  # forward, turning left
    place = np.array([30.0, 2.0, 0.0])
    for step in range(10):
        tracked = update(tracker, step, box(place[0], place[1], 0.0), moved=moved)
        place = moved.apply(place)
    unseen = update(tracker, 10, moved=moved)
    assert unseen.track_ids.tolist() == tracked.track_ids.tolist() == [1]
    assert unseen.boxes[0, :2] == pytest.approx(place[:2], abs=0.2)


def test_a_direction_near_half_a_turn_is_not_averaged_to_nothing() -> None:
    tracker = Tracker(TrackerOptions())
    for step in range(10):
        tracked = update(tracker, step, box(5, yaw_rad=np.pi - 0.02 if step % 2 else 0.02 - np.pi))
    assert abs(tracked.boxes[0, 6]) > 3.0


def test_a_clock_that_steps_begins_anew() -> None:
    tracker = Tracker(TrackerOptions())
    for step in range(5):
        update(tracker, step, box(5))
    assert update(tracker, 1000, box(5)).track_ids.tolist() == [2]
    assert update(tracker, 10, box(5)).track_ids.tolist() == [3]
