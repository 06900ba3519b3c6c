"""Finds the highest rate that a rig sustains, as ros2_benchmark does: by trying rates out. Pure.

A rate is sustained when no more than a given share of the answers that were due is missing or
incomplete. Rates are multiples of the rig's own. First doubled (or halved) until one holds and one
does not, then the gap between the two is halved until it is small.
"""

from collections.abc import Callable, Iterator

import msgspec

FIRST, SLOWEST, FASTEST = 1.0, 1 / 8, 16.0
PRECISION = 0.1
"""Of the speed: a finer answer would be about this machine at this moment."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One speed and what came of it."""

    speed: float
    answers_hz: float
    missing: float
    """Share of the answers due that did not come, or came incomplete."""
    p99_ms: float | None
    """Of the reaction time."""
    is_sustained: bool


def find_sustained(trial: Callable[[float], Trial]) -> list[Trial]:
    """Every trial in order; the last that is sustained and fastest is the answer."""
    trials = list(_trials(trial))
    return sorted(trials, key=lambda one: one.speed)


def best_of(trials: list[Trial]) -> Trial | None:
    """The fastest sustained speed; None when even the slowest was too much."""
    return max((one for one in trials if one.is_sustained), key=lambda one: one.speed, default=None)


def _trials(trial: Callable[[float], Trial]) -> Iterator[Trial]:
    speed, holds, fails = FIRST, 0.0, float("inf")
    while SLOWEST <= speed <= FASTEST:
        one = trial(speed)
        yield one
        if one.is_sustained:
            holds = speed
        else:
            fails = speed
        if holds and fails < float("inf"):
            break
        speed = speed * 2 if one.is_sustained else speed / 2
    while holds and fails < float("inf") and fails - holds > PRECISION * holds:
        one = trial((holds + fails) / 2)
        yield one
        if one.is_sustained:
            holds = one.speed
        else:
            fails = one.speed
