"""`fusion-rt demo`: the shipped rig, all its processes, and a live view of them."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.commands.run import RigArgument
from fusion_rt.commands.top import health_of, show
from fusion_rt.errors import DemoError, SessionError
from fusion_rt.health_view import health_table
from fusion_rt.messages import Health
from fusion_rt.session import Session, attach_session

_START_NS = 30 * NS_PER_S
_LOOK_NS = 20 * NS_PER_MS
_STOP_S = 15.0
_LOG_LINES = 20

Supervisor = subprocess.Popen[bytes]


def register(app: typer.Typer) -> None:
    app.command("demo")(demo_command)


def demo_command(
    rig: RigArgument = "demo",
    seconds: Annotated[float, typer.Option(min=1, help="How long; Ctrl-C ends it sooner.")] = 60,
) -> None:
    """Run a rig with simulated sensors and watch it. Needs no device and leaves nothing behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both leave nothing behind
    with tempfile.TemporaryDirectory(prefix="fusion_rt-") as directory:
        log = Path(directory, "log")
        last = _watch(rig, Path(directory, "run"), log, seconds)
        silent = [stream.topic for stream in last.streams if not stream.received] if last else []
        if last is None or silent:
            missing = ", ".join(silent) or "the rig"
            raise DemoError(f"nothing was heard of {missing}", _end_of(log))
    Console().print(health_table(last))


def _watch(rig: str, run_dir: Path, log: Path, seconds: float) -> Health | None:
    """Show the rig for so long; returns its last state."""
    clock = RigClock.starting_now()
    last: Health | None = None

    def remembered(states: Iterator[Health]) -> Iterator[Health]:
        nonlocal last
        for health in states:
            last = health
            yield health

    with _supervised(rig, run_dir, log) as supervisor:
        session = _attach(run_dir, supervisor, clock, log)
        end_ns = clock.now_ns() + int(seconds * NS_PER_S)

        def is_over() -> bool:
            return clock.now_ns() >= end_ns or supervisor.poll() is not None

        show(remembered(health_of(session, session.clock(), is_over)))
    return last


@contextlib.contextmanager
def _supervised(rig: str, run_dir: Path, log: Path) -> Iterator[Supervisor]:
    """`fusion-rt run` beside us: its log in a file, so that it does not tear the view."""
    arguments = ["run", rig, "--run-dir", str(run_dir), "--parent", str(os.getpid())]
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


def _attach(run_dir: Path, supervisor: Supervisor, clock: RigClock, log: Path) -> Session:
    """The session, as soon as the supervisor has opened it."""
    due_ns = clock.now_ns() + _START_NS
    while clock.now_ns() < due_ns and supervisor.poll() is None:
        with contextlib.suppress(SessionError):
            return attach_session(run_dir)
        clock.sleep_until_ns(clock.now_ns() + _LOOK_NS)
    raise DemoError("the rig did not start", _end_of(log))


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
