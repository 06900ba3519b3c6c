"""A subscriber of the chaos rig: checks all it is handed, and reports as JSON lines on stdout."""

import argparse
import json
import sys
from pathlib import Path

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.node import die_with
from fusion_rt.session import attach_session
from fusion_rt.transport.subscriber import Subscriber
from tests.chaos.frames import TOPIC, Judge, is_torn

HOWS = ("every", "hold", "headers")
_HOLD_NS = 25 * NS_PER_MS
_WAIT_NS = 200 * NS_PER_MS
_AWAY_NS = NS_PER_S  # a round this long means that we were stopped
_REPORT_NS = 250 * NS_PER_MS


def arrivals(subscriber, how):
    """Each message as its reader wants it: (header, image or None), or None after a wait."""
    while True:
        if how == "headers":
            arrival = subscriber.receive_header(_WAIT_NS)
            yield arrival and (arrival.header, None)
        else:
            received = subscriber.receive(_WAIT_NS)
            yield received and (received.header, received.message.image)
            received = None  # the view lives no longer than its reader needs it


def read(session, how):
    clock, judge = session.clock(), Judge()
    report_ns = idle_ns = clock.now_ns()
    with Subscriber([TOPIC], session, clock) as subscriber:
        for arrived in arrivals(subscriber, how):
            now_ns = clock.now_ns()
            away_ns = now_ns - idle_ns if now_ns - idle_ns > _AWAY_NS else 0
            idle_ns = now_ns
            if arrived is not None and judge.judge(arrived[0], now_ns, away_ns):
                say(first=now_ns, incarnation=arrived[0].incarnation)
            if arrived is not None and arrived[1] is not None:
                check(arrived, judge, clock, _HOLD_NS if how == "hold" else 0)
            if now_ns >= report_ns or judge.faults:
                report_ns = now_ns + _REPORT_NS
                say(**judge.account())


def check(arrived, judge, clock, hold_ns):
    """The payload, now and once more after it was held."""
    header, image = arrived
    if is_torn(header, image):
        judge.torn()
    if hold_ns:
        clock.sleep_until_ns(clock.now_ns() + hold_ns)
        if is_torn(header, image):
            judge.torn()


def say(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("how", choices=HOWS)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    read(attach_session(arguments.run_dir), arguments.how)


if __name__ == "__main__":
    main()
