"""Faults in a node: real threads, a real clock, a driver that is a list."""

import contextlib
import os
import signal
from functools import partial

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.live_faults import faulty, notes_of
from fusion_rt.messages import GpsFix
from fusion_rt.session import Session

CLOCK = RigClock.starting_now()
GAP_NS = 5 * NS_PER_MS


def port():
    def loan(_shape, _dtype):
        raise AssertionError("a message with faults may outlive its turn in the ring")

    return DriverPort(topic="gps/main", clock=CLOCK, loan=loan, counters={})


def session(*faults):
    return Session(
        run_dir="/nowhere",
        rig="test",
        clock_offset_ns=CLOCK.offset_ns,
        supervisor_pid=1,
        start_ns=CLOCK.now_ns(),
        faults=faults,
    )


@contextlib.contextmanager
def driver(given, count=6, failure=None):
    def fixes():
        for _ in range(count):
            with given.loan((2,), np.uint8):
                now_ns = CLOCK.now_ns()
                yield GpsFix(stamp_ns=now_ns, fix="3d")
            CLOCK.sleep_until_ns(now_ns + GAP_NS)
            yield None
        if failure is not None:
            raise failure

    with contextlib.closing(fixes()) as messages:
        yield messages


def test_messages_pass_in_order_and_the_end_is_the_end():
    with faulty(driver, port(), session("gps delay 1ms")) as messages:
        stamps = [message.stamp_ns for message in messages if message is not None]
    assert len(stamps) == 6
    assert stamps == sorted(stamps)


def test_a_delayed_message_leaves_when_it_is_due_though_nothing_follows():
    with faulty(lambda p: driver(p, count=1), port(), session("gps delay 40ms")) as messages:
        (message,) = (message for message in messages if message is not None)
        late_ns = CLOCK.now_ns() - message.stamp_ns
    assert late_ns >= 40 * NS_PER_MS


def test_what_the_driver_raises_ends_the_node():
    def broken(given):
        return driver(given, failure=OSError("unplugged"))

    with (
        faulty(broken, port(), session("gps delay 1ms")) as messages,
        pytest.raises(OSError, match="unplugged"),
    ):
        list(messages)


def test_leaving_early_stops_the_driver():
    with faulty(lambda p: driver(p, count=10_000), port(), session("gps delay 1ms")) as messages:
        assert next(message for message in messages if message is not None).fix == "3d"


def test_a_kill_is_a_real_one(monkeypatch):
    killed = []
    monkeypatch.setattr("fusion_rt.live_faults.os.kill", lambda *call: killed.append(call))
    with (
        pytest.raises(SystemExit),
        faulty(driver, port(), session("gps kill at 10ms")) as messages,
    ):
        list(messages)
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_driver_whose_messages_are_all_dropped_still_shows_that_it_lives():
    with faulty(partial(driver, count=150), port(), session("gps drop")) as messages:
        yielded = list(messages)
    assert yielded
    assert all(message is None for message in yielded)


def test_faults_are_noted_with_their_times_for_the_report():
    given = session("gps drop 1s..2s; gps freeze 3s..")
    drop, freeze = notes_of(given)
    assert (drop.at_ns - given.start_ns, drop.end_ns - drop.at_ns) == (NS_PER_S, NS_PER_S)
    assert (freeze.subject, freeze.text, freeze.end_ns) == ("gps", "freeze", 0)
