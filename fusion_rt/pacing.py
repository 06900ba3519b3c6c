"""Keeping read deadlines, whether a message's turn has yet to come or what came holds none."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeVar

from fusion_rt.clock import Clock
from fusion_rt.drivers.port import READ_DEADLINE_NS

T = TypeVar("T")


def wait_until(due_ns: int, clock: Clock) -> Iterator[None]:
    """Returns at `due_ns`, yielding None at each read deadline before it."""
    while due_ns - clock.now_ns() > READ_DEADLINE_NS:
        clock.sleep_until_ns(clock.now_ns() + READ_DEADLINE_NS)
        yield None
    clock.sleep_until_ns(due_ns)


def at_deadlines(
    values: Generator[T | None, None, None], clock: Clock
) -> Generator[T | None, None, None]:
    """The values, of the Nones among them only one per read deadline."""
    told_ns = clock.now_ns()
    with closing(values):
        for value in values:
            if value is not None or clock.now_ns() - told_ns >= READ_DEADLINE_NS:
                yield value
                told_ns = clock.now_ns()
