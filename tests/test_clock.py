"""Rig time: shared, steady, and settable where tests and replay need it."""

import time

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock, SettableClock


def test_rig_time_starts_as_utc() -> None:
    before_ns = time.time_ns()
    now_ns = RigClock.starting_now().now_ns()
    assert before_ns - NS_PER_S <= now_ns <= time.time_ns() + NS_PER_S


def test_clocks_of_one_offset_agree() -> None:
    offset_ns = RigClock.starting_now().offset_ns
    first, second, third = (RigClock(offset_ns).now_ns() for _ in range(3))
    assert first <= second <= third


def test_a_step_of_utc_moves_no_stamp_but_shows_as_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RigClock.starting_now()
    real, before_ns = time.time_ns, clock.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * NS_PER_S)
    assert clock.now_ns() - before_ns < 60 * NS_PER_S
    assert abs(clock.utc_drift_ns() - 3600 * NS_PER_S) < 60 * NS_PER_S


def test_sleeping_lasts_until_the_time_has_come() -> None:
    clock = RigClock(0)
    due_ns = clock.now_ns() + 5 * NS_PER_MS
    clock.sleep_until_ns(due_ns)
    assert clock.now_ns() >= due_ns
    clock.sleep_until_ns(0)  # has come already


def test_a_settable_clock_moves_only_when_told() -> None:
    clock = SettableClock(5)
    assert clock.now_ns() == clock.now_ns() == 5
    clock.advance_ns(3)
    assert clock.now_ns() == 8
    clock.set_ns(2)
    assert clock.now_ns() == 2


def test_nobody_waits_on_a_settable_clock() -> None:
    clock = SettableClock(10)
    clock.sleep_until_ns(50)
    assert clock.now_ns() == 50
    clock.sleep_until_ns(20)
    assert clock.now_ns() == 50
