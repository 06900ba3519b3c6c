"""What every sensor node shares: its start, its signs of life, its orderly end.

A node is a loop over its driver's messages. It learns what to do from the running session, ends on
SIGTERM as on Ctrl-C, and is ended by the kernel when its supervisor dies, however that happens.
"""

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from fusion_rt.clock import NS_PER_MS, Clock
from fusion_rt.drivers.port import DriverPort, SensorOptions
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import MessageError
from fusion_rt.messages import Heartbeat, Message, NodeState
from fusion_rt.session import Session, attach_session
from fusion_rt.time_offsets import in_time
from fusion_rt.topics import heartbeat_topic, topic_kind
from fusion_rt.transport.publisher import Publisher, TcpOffer
from fusion_rt.transport.subscriber import Subscriber

_HEARTBEAT_S = 0.2
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)
Opened = AbstractContextManager[Iterator[M | None]]


class Program:
    """A supervised program that publishes no sensor: its name, its session, its signs of life."""

    def __init__(self, name: str, session: Session, clock: Clock) -> None:
        self.name = name
        self.session = session
        self.clock = clock
        self.counters: Counter[str] = Counter()
        self.state: NodeState = "starting"
        self._progress_ns = clock.now_ns()
        self._is_asked_to_stop = False
        self._reap: Callable[[int], None] | None = None
        if session.faults:
            from fusion_rt.live_faults import reaper  # only who asks for faults pays for them

            self._reap = reaper(session, name, self._progress_ns)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def is_running(self) -> bool:
        """Asked each time its loop comes round; False once it should come to its end."""
        self._progress_ns = self.clock.now_ns()
        self.state = "ready"
        if self._reap is not None:
            self._reap(self._progress_ns)
        return not self._is_asked_to_stop

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            stamp_ns=self._progress_ns,
            node=self.name,
            pid=os.getpid(),
            state=self.state,
            counters=dict(self.counters),
        )

    def _stop(self, *_: object) -> None:
        self._is_asked_to_stop = True


class Node:
    """A node at work."""

    def __init__(self, topic: str, session: Session, clock: Clock, publisher: Publisher) -> None:
        self.publisher = publisher
        self.counters: Counter[str] = Counter()
        self.state: NodeState = "starting"
        self.progress_ns = clock.now_ns()
        """When the loop last came round."""
        self._topic = topic
        self.session = session
        self.clock = clock

    def open_driver(self, message: type[M]) -> "Opened[M]":
        """The messages of the device that the rig names for this topic, which carries `message`."""
        carried = topic_kind(self._topic).message
        if message is not carried:
            problem = f"carries {carried.__name__}, got the program for {message.__name__}"
            raise MessageError(self._topic, "", problem)
        entry = self.session.sensors[self._topic]
        driver = find_driver(entry["driver"], self._topic.partition("/")[0])
        options: SensorOptions = msgspec.convert(entry, driver.options)
        calibration = self.session.calibration
        port = DriverPort(
            topic=self._topic,
            clock=self.clock,
            loan=self.publisher.loan,
            counters=self.counters,
            session_start_ns=self.session.start_ns,
            calibration=Path(calibration) if calibration else None,
        )
        # The table of topics says what a driver of this kind yields; publish checks each of them.
        opened = cast("Callable[[DriverPort], Opened[M]]", partial(driver.open, options))
        if late_ns := self.session.late_ns.get(self._topic, 0):
            log.info("stamps are moved by %+.3f ms, as calibrated", -late_ns / NS_PER_MS)
            opened = in_time(opened, late_ns, self.counters)
        if not self.session.faults:
            return opened(port)
        from fusion_rt.live_faults import faulty  # only who asks for faults pays for them

        return faulty(opened, port, self.session)

    def subscribe(self, topics: Iterable[str]) -> Subscriber:
        """What other nodes of this rig publish; close it, or use it in a `with`."""
        return Subscriber(topics, self.session, self.clock)

    def until_stopped(self, messages: Iterable[M | None]) -> Iterator[M]:
        """What the driver yields, without its read deadlines; ready with the first of either."""
        for message in messages:
            self.progress_ns = self.clock.now_ns()
            self.state = "ready"
            if message is not None:
                yield message

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            stamp_ns=self.progress_ns,
            node=self._topic,
            pid=os.getpid(),
            state=self.state,
            counters={**self.counters, **self.publisher.counters},
        )


@contextlib.contextmanager
def start_node() -> Iterator[Node]:
    """The node that the command line names; SIGTERM and Ctrl-C end the `with` quietly."""
    arguments = _parse_arguments()
    die_with(arguments.parent)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {arguments.topic}: %(message)s")
    session = attach_session(arguments.run_dir)
    clock, topic = session.clock(), arguments.topic
    with (
        contextlib.suppress(KeyboardInterrupt),
        _publisher_of(session)(topic, session, clock, topic, _offer(session, topic)) as publisher,
    ):
        node = Node(topic, session, clock, publisher)
        with _signs_of_life(topic, node.heartbeat, session, clock):
            yield node


@contextlib.contextmanager
def start_program() -> Iterator[Program]:
    """The program that the command line names; SIGTERM and Ctrl-C end its loop, not its work."""
    arguments = _parse_arguments()
    die_with(arguments.parent)
    name = arguments.topic
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {name}: %(message)s")
    session = attach_session(arguments.run_dir)
    program = Program(name, session, session.clock())
    with _signs_of_life(name, program.heartbeat, session, program.clock):
        yield program


@contextlib.contextmanager
def _signs_of_life(
    name: str, heartbeat: Callable[[], Heartbeat], session: Session, clock: Clock
) -> Iterator[None]:
    """Heartbeats from a thread of their own: a loop that hangs is told by its old progress."""
    stop = threading.Event()

    def beat() -> None:
        with Publisher(heartbeat_topic(name), session, clock, name) as publisher:
            while not stop.wait(_HEARTBEAT_S):
                publisher.publish(heartbeat())

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A sensor node; `fusion-rt run` starts it.")
    parser.add_argument("--run-dir", type=Path, required=True, help="of the running rig")
    names = "what it publishes, KIND/NAME, or the name of a program"
    parser.add_argument("--topic", required=True, help=names)
    parser.add_argument("--parent", type=int, help="pid of the supervisor, to end with it")
    return parser.parse_args()


def die_with(parent: int | None) -> None:
    """Have the kernel kill us when the supervisor dies, however it dies."""
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        raise SystemExit(f"supervisor {parent} is gone")


def _publisher_of(session: Session) -> type[Publisher]:
    if not session.faults:
        return Publisher
    from fusion_rt.live_faults import UncheckedPublisher

    return UncheckedPublisher


def _offer(session: Session, topic: str) -> TcpOffer | None:
    address = session.listen.get(topic)
    if address is None or session.keys is None:
        return None
    return TcpOffer(address, Path(session.keys))
