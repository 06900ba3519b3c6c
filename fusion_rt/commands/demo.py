"""`fusion-rt demo`: the shipped rig, all its processes, and a live view of them."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.commands.beside import attached, end_of, supervised
from fusion_rt.commands.run import RigArgument
from fusion_rt.commands.top import health_of, show
from fusion_rt.errors import DemoError
from fusion_rt.health_view import health_table
from fusion_rt.messages import Health


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
            raise DemoError(f"nothing was heard of {missing}", end_of(log))
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

    with supervised(rig, run_dir, log) as supervisor:
        session = attached(run_dir, supervisor, clock, log)
        end_ns = clock.now_ns() + int(seconds * NS_PER_S)

        def is_over() -> bool:
            return clock.now_ns() >= end_ns or supervisor.poll() is not None

        show(remembered(health_of(session, session.clock(), is_over)))
    return last
