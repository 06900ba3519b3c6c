"""Rigs as a person runs them: `fusion-rt` in a process of its own, in a directory of its own."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.errors import SessionError
from fusion_rt.session import attach_session
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.subscriber import Subscriber
from tests.chaos.remains import processes_of

CLOCK = RigClock.starting_now()
PATIENCE_S = 40


def fusion_rt(*words, **options):
    """Run a command to its end."""
    command = [sys.executable, "-m", "fusion_rt", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options
    )


def wait_until(holds, what):
    due_ns = CLOCK.now_ns() + PATIENCE_S * NS_PER_S
    while not (value := holds()):
        assert CLOCK.now_ns() < due_ns, f"waited {PATIENCE_S} s until {what}"
        CLOCK.sleep_until_ns(CLOCK.now_ns() + 20 * NS_PER_MS)
    return value


class RunningRig:
    """A rig that was started, and what it says of itself."""

    def __init__(self, directory, words, environment):
        self.run_dir = directory / "run"
        self.log_path = directory / "log"
        command = [sys.executable, "-m", "fusion_rt", "run", *words, "--run-dir", self.run_dir]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def health_when(self, holds, what):
        """The first Health of which `holds`."""
        session = wait_until(self._session, "the rig has a session")
        with Subscriber([HEALTH_TOPIC], session, session.clock()) as subscriber:

            def wanted():
                received = subscriber.receive(NS_PER_S)
                return received.message if received and holds(received.message) else None

            return wait_until(wanted, what)

    def wait_until_ready(self):
        return self.health_when(lambda health: health.mode == "NORMAL", "all is well")

    def node(self, topic):
        """Pid of a node."""
        health = self.health_when(lambda _: True, "there is Health")
        return next(process.pid for process in health.processes if process.node == topic)

    def stop(self, number=signal.SIGTERM):
        """Ask it to end; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def _session(self):
        with contextlib.suppress(SessionError):
            return attach_session(self.run_dir)


@contextlib.contextmanager
def directory():
    """A short one: a socket's path has little room."""
    with tempfile.TemporaryDirectory(prefix="rig-") as short:
        yield Path(short)


@contextlib.contextmanager
def running(at, *words, environment=None):
    """The demo's rig, or what the words say; killed at the end if it still runs."""
    rig = RunningRig(at, words or ["demo"], environment)
    try:
        yield rig
    finally:
        rig.process.kill()
        rig.process.wait()
        wait_until(lambda: not processes_of(rig.run_dir), "no process is left")


def json_of(ran):
    """What a command has printed, its first line as JSON."""
    return json.loads(ran.stdout.splitlines()[0])


def is_nothing_left(run_dir):
    return not run_dir.exists() and not processes_of(run_dir)
