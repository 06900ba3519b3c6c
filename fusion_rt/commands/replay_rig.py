"""`fusion-rt replay-rig`: a log in place of the devices of a rig of real processes."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fusion_rt.clock import NS_PER_S, Clock, RigClock
from fusion_rt.commands.beside import attached, end_of, supervised
from fusion_rt.commands.top import health_of, show
from fusion_rt.errors import DemoError
from fusion_rt.health_view import health_table
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Health
from fusion_rt.replay.rig_file import RigReplay, write_replayed_rig

_LEAD_NS = NS_PER_S // 2
"""From everybody's READY to the first message: drivers look for it ten times a second or so."""
_AFTER_NS = NS_PER_S // 2


def register(app: typer.Typer) -> None:
    app.command("replay-rig")(replay_rig_command)


def replay_rig_command(
    log: Annotated[Path, typer.Argument(help="An .mcap file, or the folder of a run's parts.")],
    replace: Annotated[
        list[str] | None,
        typer.Option(metavar="WHO=live", help="A sensor that keeps its device; may be repeated."),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Folder to record the run to.")] = None,
    from_s: Annotated[float, typer.Option("--from", min=0, help="Second of the log.")] = 0,
    model: Annotated[str | None, typer.Option(help="Instead of the rig's own.")] = None,
) -> None:
    """Run the rig of a log with all its processes, as recorded, in real time, and watch it.

    Nothing is sent before every process is ready; then all sensors start at the same instant.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    live = tuple(_live(text) for text in replace or [])
    with tempfile.TemporaryDirectory(prefix="fusion_rt-") as name, LogReader(log) as reader:
        folder = Path(name)
        go = folder / "go"
        replay = RigReplay(live=live, from_s=from_s, record=record, model=model)
        rig = write_replayed_rig(reader, folder, go, replay)
        length_ns = reader.end_ns - reader.start_ns - round(from_s * NS_PER_S)
        last = _watch(rig, folder, go, length_ns)
    Console().print(health_table(last))


def _live(text: str) -> str:
    who, _, what = text.partition("=")
    if what != "live":
        raise typer.BadParameter(f'expected WHO=live, such as camera=live, got "{text}"')
    return who


def _watch(rig: Path, folder: Path, go: Path, length_ns: int) -> Health:
    """Show the rig until the log is over; its last state."""
    run_dir, log = folder / "run", folder / "log"
    seen: list[Health] = []
    with supervised(str(rig), run_dir, log) as supervisor:
        session = attached(run_dir, supervisor, RigClock.starting_now(), log)
        clock = session.clock()
        show(
            _until_over(
                health_of(session, clock, lambda: supervisor.poll() is not None),
                go,
                length_ns,
                clock,
                seen,
            )
        )
        if not go.exists():
            raise DemoError("not every process became ready", end_of(log), "replay-rig")
    return seen[-1]


def _until_over(
    states: Iterator[Health], go: Path, length_ns: int, clock: Clock, seen: list[Health]
) -> Iterator[Health]:
    """Starts the log once everybody is ready: the barrier."""
    end_ns: int | None = None
    for health in states:
        seen[:] = [health]
        yield health
        if end_ns is None and all(process.state == "ready" for process in health.processes):
            start_ns = clock.now_ns() + _LEAD_NS
            _write(go, str(start_ns))
            end_ns = start_ns + length_ns + _AFTER_NS
        if end_ns is not None and clock.now_ns() >= end_ns:
            return


def _write(path: Path, text: str) -> None:
    """At once: whoever reads it reads all of it."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(path)
