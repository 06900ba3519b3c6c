"""`fusion-rt record`: a rig that runs, into log files; or the last seconds of its ring, saved."""

import logging
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fusion_rt.clock import NS_PER_S
from fusion_rt.commands.run import RunDirOption, StopRequest
from fusion_rt.errors import SessionError
from fusion_rt.logs.options import RecordOptions
from fusion_rt.session import Session, attach_session, default_run_dir


def register(app: typer.Typer) -> None:
    app.command("record")(record_command)


def record_command(
    rig: Annotated[str, typer.Argument(help="Name of the running rig.")],
    run_dir: RunDirOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the parts; default: logs.")
    ] = None,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="Only this one; may be repeated.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop by itself after so long.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Have the rig's own recorder save its ring, and return.")
    ] = False,
) -> None:
    """Record a running rig until Ctrl-C, as its section `record` says where it has one.

    A rig with that section records by itself; this is for one that does not.
    """
    session = attach_session(run_dir or default_run_dir(rig))
    if save:
        _ask_to_save(session)
        return
    stop = StopRequest()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    from fusion_rt.logs.recorder import record_session

    options = msgspec.convert(session.record, RecordOptions)
    if output is not None:
        options = msgspec.structs.replace(options, folder=str(output))
    if topics:
        options = msgspec.structs.replace(options, topics=tuple(topics))
    clock = session.clock()
    end_ns = None if seconds is None else clock.now_ns() + round(seconds * NS_PER_S)
    counters: Counter[str] = Counter()

    def is_running() -> bool:
        return stop.count == 0 and (end_ns is None or clock.now_ns() < end_ns)

    last = record_session(session, options, is_running, counters)
    typer.echo(f"recorded {counters['recorded']} messages, the last part is {last}")


def _ask_to_save(session: Session) -> None:
    """Raises SessionError where no recorder would hear it."""
    if session.record.get("mode") != "snapshot":
        way_out = "set record.mode to snapshot in its rig file"
        raise SessionError(session.run_dir, "its rig keeps no ring to save", way_out)
    from fusion_rt.logs.recorder import SAVE_REQUEST

    Path(session.run_dir, SAVE_REQUEST).touch()
