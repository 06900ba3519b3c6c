"""A rig that runs beside a command, in processes of its own, its log in a file."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.errors import DemoError, SessionError
from fusion_rt.session import Session, attach_session

_START_NS = 30 * NS_PER_S
_LOOK_NS = 20 * NS_PER_MS
_STOP_S = 15.0
_LOG_LINES = 20

Supervisor = subprocess.Popen[bytes]


@contextlib.contextmanager
def supervised(
    rig: str, run_dir: Path, log: Path, options: Sequence[str] = ()
) -> Iterator[Supervisor]:
    """`fusion-rt run` beside us: its log in a file, so that it does not tear the view."""
    arguments = ["run", rig, "--run-dir", str(run_dir), "--parent", str(os.getpid()), *options]
    with log.open("wb") as log_file:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "fusion_rt", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        yield supervisor
    finally:
        supervisor.send_signal(signal.SIGINT)
        try:
            supervisor.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()


def attached(run_dir: Path, supervisor: Supervisor, clock: RigClock, log: Path) -> Session:
    """The session, as soon as the supervisor has opened it."""
    due_ns = clock.now_ns() + _START_NS
    while clock.now_ns() < due_ns and supervisor.poll() is None:
        with contextlib.suppress(SessionError):
            return attach_session(run_dir)
        clock.sleep_until_ns(clock.now_ns() + _LOOK_NS)
    raise DemoError("the rig did not start", end_of(log))


def end_of(log: Path) -> str:
    """Its last lines, to show why."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
