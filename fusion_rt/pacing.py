"""Keeping read deadlines, whether a message's turn has yet to come or what came holds none."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
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


def until_replaced(paths: Sequence[str], clock: Clock) -> Iterator[None]:
    """Returns when any of the files is another than it was; raises nothing where they are gone."""
    before = _identities(paths)
    while (now := _identities(paths)) == before or None in now:
        clock.sleep_until_ns(clock.now_ns() + READ_DEADLINE_NS)
        yield None


def _identities(paths: Sequence[str]) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            state = Path(path).stat()
        except OSError:
            found.append(None)
        else:
            found.append((state.st_ino, state.st_size, state.st_mtime_ns))
    return found
