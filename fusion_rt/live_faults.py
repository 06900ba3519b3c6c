"""Faults on purpose, in a running node: between its driver and its publisher.

The driver runs in a thread of its own, so that a delayed message leaves when it is due and not
when the next one comes. Arrays are then not lent by the ring, as a message may outlive its turn:
a node with faults copies once more than one without.
"""

import contextlib
import heapq
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort
from fusion_rt.fault_injector import Injector
from fusion_rt.faults import parse_schedule
from fusion_rt.latency.rows import NoteRow
from fusion_rt.messages import Message
from fusion_rt.session import Session
from fusion_rt.transport.publisher import Publisher

M = TypeVar("M", bound=Message)
_STOP_S = 2 * READ_DEADLINE_NS / NS_PER_S


class UncheckedPublisher(Publisher):
    """Sends what a broken program would: receivers must refuse it, not we."""

    def _check(self, message: Message) -> None:
        pass


@contextlib.contextmanager
def faulty(
    open_driver: Callable[[DriverPort], AbstractContextManager[Iterator[M | None]]],
    port: DriverPort,
    session: Session,
) -> Iterator[Iterator[M | None]]:
    """The driver's messages as the session's faults leave them, each when it is due."""
    schedule = parse_schedule(session.faults, session.fault_seed)
    injector: Injector[M] = Injector(
        schedule, port.topic, session.start_ns, born_ns=port.clock.now_ns()
    )
    own_arrays = msgspec.structs.replace(port, loan=_allocated)
    with open_driver(own_arrays) as messages:
        pump = _Pump(messages, injector, port.clock)
        try:
            yield pump.messages()
        finally:
            pump.stop()


def reaper(session: Session, node: str, born_ns: int) -> Callable[[int], None]:
    """What a program without a driver asks each time its loop comes round: it may be its last."""
    schedule = parse_schedule(session.faults, session.fault_seed)
    injector: Injector[Message] = Injector(schedule, node, session.start_ns, born_ns)

    def reap(now_ns: int) -> None:
        if injector.is_killed(now_ns):
            _die()

    return reap


def notes_of(session: Session) -> Iterator[NoteRow]:
    """The session's faults, for the reader of the report."""
    for fault in parse_schedule(session.faults).faults:
        end_ns = 0 if fault.end_ns is None else session.start_ns + fault.end_ns
        start_ns = session.start_ns + fault.start_ns
        yield NoteRow(
            at_ns=start_ns, end_ns=end_ns, subject=fault.who, kind="fault", text=fault.kind
        )


@contextlib.contextmanager
def _allocated(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    yield np.empty(shape, dtype)


class _Pump(Generic[M]):
    """Draws from the driver in a thread; hands out in the caller's."""

    def __init__(self, messages: Iterator[M | None], injector: Injector[M], clock: Clock) -> None:
        self._source = messages
        self._injector = injector
        self._clock = clock
        self._due: list[tuple[int, int, M]] = []
        self._number = itertools.count()  # of equal times, the first in is the first out
        self._has_ended = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="driver", daemon=True)
        self._thread.start()

    def messages(self) -> Iterator[M | None]:
        """What is due, and None at each read deadline; until the driver ends."""
        yielded_ns = self._clock.now_ns()
        while True:
            now_ns = self._clock.now_ns()
            if self._injector.is_killed(now_ns):
                _die()
            with self._changed:
                if self._due and self._due[0][0] <= now_ns:
                    message: M | None = heapq.heappop(self._due)[2]
                elif self._has_ended and not self._due:
                    break
                else:
                    due_ns = self._due[0][0] if self._due else now_ns + READ_DEADLINE_NS
                    wait_ns = min(due_ns - now_ns, READ_DEADLINE_NS)
                    self._changed.wait(wait_ns / NS_PER_S)
                    message = None
            # Counted from the last one: what is held back wakes us without being yielded.
            if message is not None or self._clock.now_ns() - yielded_ns >= READ_DEADLINE_NS:
                yield message
                yielded_ns = self._clock.now_ns()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _draw(self) -> None:
        try:
            for message in self._source:
                if self._stopping.is_set():
                    return
                if message is not None:
                    self._take(message)
        except Exception as error:  # the node's own thread raises it
            self._failure = error
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify()

    def _take(self, message: M) -> None:
        timed = self._injector.push(message, self._clock.now_ns())
        with self._changed:
            for each in timed:
                heapq.heappush(self._due, (each.due_ns, next(self._number), each.message))
            self._changed.notify()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # not reached: nobody survives that signal
