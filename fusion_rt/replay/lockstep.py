"""Lock step: a log through the fusion's own decisions, one message after another, on a told clock.

No process, thread or waiting: what is decided depends on the log alone. Each message is taken when
it was received; before it, every deadline that lay between, at its own time.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from fusion_rt.clock import SettableClock
from fusion_rt.messages import Detections, GpsFix
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.wire import Header

S = TypeVar("S")


class Decider(Protocol[S]):
    """What lock step needs of `fusion_rt.fusion.core.FusionCore`."""

    def next_deadline_ns(self) -> int | None: ...
    def advance(self, now_ns: int) -> list[S]: ...
    def is_wanted(self, header: Header, topic: str) -> bool: ...
    def arrived(
        self, header: Header, topic: str, recv_ns: int, token: Received, *, is_member: bool = True
    ) -> list[S]: ...
    def fix(self, fix: GpsFix) -> None: ...
    def invalid(self, topic: str, recv_ns: int, reason: str) -> None: ...


def lockstep(
    messages: Iterable[Received],
    core: Decider[S],
    answer: Callable[[S], Detections],
    clock: SettableClock,
    end_ns: int,
) -> Iterator[Detections]:
    """The answers, in order, up to `end_ns`; a set that is open then stays without one, as nobody
    knows what would have come. The clock stands at the moment of each decision.
    """
    for received in messages:
        for fusion_set in _due(core, clock, received.recv_ns):
            yield answer(fusion_set)
        clock.set_ns(received.recv_ns)
        for fusion_set in _taken(core, received):
            yield answer(fusion_set)
    for fusion_set in _due(core, clock, end_ns):
        yield answer(fusion_set)


def _due(core: Decider[S], clock: SettableClock, until_ns: int) -> Iterator[S]:
    """What falls due up to then, deadline by deadline."""
    tried = 0
    while (due_ns := core.next_deadline_ns()) is not None and due_ns <= until_ns and tried < 2:
        clock.set_ns(max(due_ns, clock.now_ns()) + tried)
        yield from core.advance(clock.now_ns())
        # What is over only after its deadline is served a nanosecond later.
        tried = tried + 1 if core.next_deadline_ns() == due_ns else 0


def _taken(core: Decider[S], received: Received) -> list[S]:
    header, recv_ns, message = received.header, received.recv_ns, received.message
    topic = header.topic
    problem = message.problem()
    is_member = problem is None and core.is_wanted(header, topic)
    sets = core.arrived(header, topic, recv_ns, received, is_member=is_member)
    if problem is not None:
        core.invalid(topic, recv_ns, problem)
    elif isinstance(message, GpsFix):
        core.fix(message)
    return sets
