import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sim.scenario import Fault, FaultKind, Scenario, Timing
from fusion_rt.sim.schedule import Schedule, Shot

PERIOD_NS = 100 * NS_PER_MS


def schedule(timing: Timing | None = None, *faults: Fault, seed: int = 1) -> Schedule:
    scenario = Scenario(about="a test", timing={"lidar": timing or Timing()}, faults=faults)
    return Schedule(scenario, seed, "lidar/top", PERIOD_NS)


def fault(kind: FaultKind, **options: float) -> Fault:
    return Fault(sensor="lidar", kind=kind, from_s=2, to_s=3, **options)


def shots(schedule: Schedule, start_s: float = 0, end_s: float = 5) -> list[Shot]:
    return list(schedule.between(round(start_s * NS_PER_S), round(end_s * NS_PER_S)))


def test_shots_come_at_their_rate_from_their_phase() -> None:
    made = shots(schedule(Timing(phase_ms=30, jitter_ms=0)))
    assert [shot.true_ns for shot in made[:2]] == [130 * NS_PER_MS, 230 * NS_PER_MS]
    assert len(made) == 49
    assert [shot.number for shot in made] == list(range(49))


def test_jitter_and_latency_are_what_the_scenario_says() -> None:
    made = shots(schedule(Timing(jitter_ms=2, latency_ms=10, latency_jitter_ms=5)), end_s=200)
    off_ms = np.array([s.true_ns - (s.number + 1) * PERIOD_NS for s in made]) / NS_PER_MS
    late_ms = np.array([s.sent_ns - s.true_ns for s in made]) / NS_PER_MS
    assert off_ms.std() == pytest.approx(2, rel=0.1)
    assert late_ms.min() >= 10
    assert late_ms.mean() == pytest.approx(15, rel=0.05)


def test_a_clock_that_is_wrong_moves_stamps_only() -> None:
    timing = Timing(jitter_ms=0, clock_offset_ms=-3, clock_drift_ppm=100)
    right, wrong = shots(schedule(Timing(jitter_ms=0)))[9], shots(schedule(timing))[9]
    assert wrong.true_ns == right.true_ns == NS_PER_S
    assert right.stamp_ns == NS_PER_S
    assert wrong.stamp_ns == NS_PER_S - 3 * NS_PER_MS + 100_000


def test_any_part_of_a_drive_is_the_same_as_in_the_whole() -> None:
    part = shots(schedule(), 2.05, 4.05)
    assert part == [shot for shot in shots(schedule()) if shot in part]
    assert len(part) == 20


def test_seeds_differ() -> None:
    assert shots(schedule(seed=1)) != shots(schedule(seed=2))


def test_a_silent_sensor_says_nothing_for_a_while() -> None:
    times = [shot.true_ns for shot in shots(schedule(Timing(jitter_ms=0), fault("silent")))]
    assert [t for t in times if 2 * NS_PER_S <= t < 3 * NS_PER_S] == []
    assert len(times) == 49 - 10


def test_a_frozen_sensor_repeats_its_last_content_with_fresh_stamps() -> None:
    made = shots(schedule(Timing(jitter_ms=0), fault("frozen")))
    frozen = [shot for shot in made if shot.content != shot.number]
    assert len(frozen) == 10
    assert {shot.content for shot in frozen} == {18}  # the one at 1.9 s
    assert len({shot.stamp_ns for shot in made}) == len(made)


def test_a_late_sensor_is_late_by_so_much() -> None:
    made = shots(schedule(Timing(latency_ms=1, latency_jitter_ms=0), fault("late", late_ms=250)))
    late = [shot for shot in made if shot.sent_ns - shot.true_ns > 200 * NS_PER_MS]
    assert len(late) == 10


def test_a_dark_sensor_is_marked() -> None:
    assert sum(shot.is_dark for shot in shots(schedule(None, fault("dark")))) == 10


def test_other_sensors_keep_on() -> None:
    other = Fault(sensor="camera", kind="silent", from_s=0, to_s=5)
    assert len(shots(schedule(None, other))) == len(shots(schedule()))
