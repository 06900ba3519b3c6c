"""`fusion-rt top`: a running rig, live."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.errors import SessionError
from fusion_rt.health_view import health_line, health_table
from fusion_rt.messages import Health
from fusion_rt.session import Session, attach_session, default_run_dir, is_running
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.subscriber import Subscriber

_PATIENCE_NS = 2 * NS_PER_S


def register(app: typer.Typer) -> None:
    app.command("top")(top_command)


def top_command(
    rig: Annotated[str, typer.Argument(help="Name of the rig.")] = "demo",
    run_dir: Annotated[Path | None, typer.Option(help="Its directory, if not the default.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the state and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per state.")] = False,
) -> None:
    """Watch a running rig: rates, ages, hops, drops by cause, states and reasons."""
    directory = run_dir or default_run_dir(rig)
    session = attach_session(directory)
    states = health_of(session, session.clock(), lambda: not is_running(directory))
    if once:
        states = iter([_first(states, directory)])
    if as_json:
        for health in states:
            typer.echo(msgspec.json.encode(health))
    elif once:
        Console().print(health_table(next(states)))
    else:
        show(states)


def health_of(session: Session, clock: Clock, should_stop: Callable[[], bool]) -> Iterator[Health]:
    """The rig's Health as it is published, until `should_stop()` or Ctrl-C."""
    with suppress(KeyboardInterrupt), Subscriber([HEALTH_TOPIC], session, clock) as subscriber:
        while not should_stop():
            received = subscriber.receive(_PATIENCE_NS)
            if received is not None and isinstance(received.message, Health):
                yield received.message


def show(states: Iterator[Health]) -> None:
    """Live on a terminal, one line each where there is none."""
    if not sys.stdout.isatty():
        for health in states:
            typer.echo(health_line(health))
        return
    with Live(auto_refresh=False, console=Console(), transient=True) as live:
        for health in states:
            live.update(health_table(health), refresh=True)


def _first(states: Iterator[Health], directory: Path) -> Health:
    health = next(states, None)
    if health is None:
        raise SessionError(str(directory), "the rig has just ended")
    return health
