"""Processes that are killed or stopped: the others go on, and nothing torn or stale comes out."""

import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.session import Session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import CAMERA, camera_frame, is_whole
from tests.transport.waiting import is_alone, join, receive, until, waiting

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
PAUSE_NS = 5 * NS_PER_S
SLOTS = 8

# Each program ends when its pipes do, so that none outlives the tests.
_PUBLISHER = """
import sys, threading
from pathlib import Path
from fusion_rt.session import attach_session
from fusion_rt.transport.publisher import Publisher
from tests.transport.samples import CAMERA, camera_frame
session = attach_session(Path(sys.argv[1]))
ending = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ending.set())).start()
with Publisher(CAMERA, session, session.clock()) as publisher:
    number = 1
    while not ending.wait(0.0005):
        number += 1
        publisher.publish(camera_frame(number))
"""
# Holds the newest two frames and says which it received; a torn or stale one ends it.
_SUBSCRIBER = """
import sys
from pathlib import Path
from fusion_rt.session import attach_session
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import CAMERA, is_whole
session = attach_session(Path(sys.argv[1]))
held, newest = [], 0
with Subscriber([CAMERA], session, session.clock()) as subscriber:
    while True:
        received = subscriber.receive(1_000_000_000)
        if received is None:
            continue
        held = [*held[-1:], received.message]
        stamp = received.header.stamp_ns
        assert all(map(is_whole, held)), "torn"
        assert stamp > newest, "stale"
        newest = stamp
        sys.stdout.write(f"{stamp}\\n")
        sys.stdout.flush()
"""


class Program:
    """A program of the rig in its own process."""

    def __init__(self, text: str, session: Session) -> None:
        command = [sys.executable, "-c", text, session.run_dir]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)
        self.stamps: list[int] = []
        """Of the frames it says it has received."""
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listening.join()
        self.process.stdin.close()
        self.process.stdout.close()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.stamps.append(int(line))


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()


def test_a_publisher_killed_at_any_moment_leaves_no_torn_frame_and_its_successor_is_heard(
    session: Session, clock: RigClock, programs: list[Program]
) -> None:
    with Subscriber([CAMERA], session, clock) as subscriber:
        held = []
        for life in range(5):
            programs.append(Program(_PUBLISHER, session))
            for _ in range(20 + 7 * life):
                held = [*held[-1:], receive(subscriber).message]
                assert all(is_whole(frame) for frame in held)
            programs[-1].kill()
            for last in waiting(subscriber):
                assert is_whole(last.message)
            assert all(is_whole(frame) for frame in held)
        assert subscriber.inboxes[CAMERA].restarts == 4
        assert not subscriber.strays


def test_a_killed_reader_gives_back_what_it_held(
    session: Session, clock: RigClock, programs: list[Program]
) -> None:
    with Publisher(CAMERA, session, clock) as publisher:
        for _ in range(4):
            reader = Program(_SUBSCRIBER, session)
            programs.append(reader)
            publish_until(publisher, 0, lambda heard=reader.stamps: len(heard) > 3)
            reader.kill()
            until(lambda: is_alone(publisher), "the lane to end")
        full = publisher.counters["ring_full"]
        with Subscriber([CAMERA], session, clock) as subscriber:
            join(publisher, subscriber, camera_frame(1))
            for number in range(2, 30):
                publisher.publish(camera_frame(number))
                assert is_whole(receive(subscriber).message)
        assert publisher.counters["ring_full"] == full == 0


def test_a_stopped_reader_holds_up_nobody_and_goes_on_with_what_is_new(
    session: Session, clock: RigClock, programs: list[Program]
) -> None:
    with (
        Publisher(CAMERA, session, clock) as publisher,
        Subscriber([CAMERA], session, clock) as other,
    ):
        reader = Program(_SUBSCRIBER, session)
        programs.append(reader)
        stopped_at = publish_until(publisher, 0, lambda: len(reader.stamps) > 10)
        join(publisher, other, camera_frame(stopped_at + 1))
        reader.process.send_signal(signal.SIGSTOP)
        resumed_at, slowest_ns = publish_for_the_pause(publisher, other, clock, stopped_at + 1)
        assert slowest_ns < NS_PER_S, "the writer must not wait for the stopped reader"
        assert publisher.counters["ring_full"] == 0
        assert publisher.counters["reader_behind"] > 0
        reader.process.send_signal(signal.SIGCONT)
        publish_until(publisher, resumed_at, lambda: reader.stamps[-1] > resumed_at + 10)
        # What was sent meanwhile has been overwritten; the last few slots may still hold theirs.
        meanwhile = range(stopped_at + SLOTS, resumed_at - SLOTS)
        assert not set(reader.stamps) & set(meanwhile), "stale frames were presented as fresh"
        assert reader.process.poll() is None, "it checks each frame, also those it held meanwhile"


def publish_until(publisher: Publisher, number: int, has_come: Callable[[], bool]) -> int:
    """Publish frames after `number` until then; the number of the last one."""
    numbers = itertools.count(number + 1)

    def published() -> bool:
        nonlocal number
        number = next(numbers)
        publisher.publish(camera_frame(number))
        return has_come()

    until(published, "the reader")
    return number


def publish_for_the_pause(
    publisher: Publisher, other: Subscriber, clock: RigClock, number: int
) -> tuple[int, int]:
    """Publish to `other` all the while; the last frame's number and the longest publish."""
    slowest_ns = 0
    ends_ns = clock.now_ns() + PAUSE_NS
    while (before_ns := clock.now_ns()) < ends_ns:
        number += 1
        publisher.publish(camera_frame(number))
        slowest_ns = max(slowest_ns, clock.now_ns() - before_ns)
        assert receive(other).header.stamp_ns == number
    return number, slowest_ns
