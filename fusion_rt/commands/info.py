"""`fusion-rt info`: what a log holds, where it comes from, and what is wrong with it."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from fusion_rt.clock import NS_PER_S
from fusion_rt.logs.read import LogReader, Stream
from fusion_rt.logs.write import OWN

EXIT_DAMAGED = 3


class LogInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` says."""

    files: list[str]
    bytes: int
    is_finished: bool
    damages: list[str]
    about: dict[str, str]
    """Who wrote it, from which rig."""
    start_ns: int
    end_ns: int
    streams: dict[str, Stream]

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S


def register(app: typer.Typer) -> None:
    app.command("info")(info_command)


def info_command(
    log: Annotated[Path, typer.Argument(help="An .mcap file, or the folder of a run's parts.")],
    check: Annotated[
        bool, typer.Option("--check", help="Compare every checksum; reads the whole log.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a log holds. Exit code 3 where some of it cannot be read."""
    with LogReader(log, check_crc=check) as reader:
        info = info_of(reader)
    if json:
        typer.echo(msgspec.json.encode(info))
    else:
        _show(info)
    if info.damages:
        raise typer.Exit(EXIT_DAMAGED)


def info_of(reader: LogReader) -> LogInfo:
    return LogInfo(
        files=[str(path) for path in reader.paths],
        bytes=sum(path.stat().st_size for path in reader.paths),
        is_finished=reader.is_finished,
        damages=reader.damages,
        about=dict(reader.about),
        start_ns=reader.start_ns,
        end_ns=reader.end_ns,
        streams=reader.streams(),
    )


def _show(info: LogInfo) -> None:
    console = Console()
    written_by = info.about.get("version", "")
    rig = info.about.get("rig", "")
    console.print(
        f"{len(info.files)} file{'s' if len(info.files) > 1 else ''}, "
        f"{info.bytes / 1e6:.1f} MB, {info.seconds:.3f} s"
        + (f", rig {rig}" if rig else "")
        + (f", fusion_rt {written_by}" if written_by else ", not written by fusion_rt"),
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for name in ("topic", "messages", "Hz", "schema", ""):
        table.add_column(name, justify="right" if name in ("messages", "Hz") else "left")
    for stream in info.streams.values():
        if not stream.topic.startswith(OWN):
            rate = f"{stream.messages / info.seconds:.1f}" if info.seconds else ""
            row = (stream.topic, str(stream.messages), rate, stream.schema, stream.problem)
            table.add_row(*row)
    console.print(table)
    if not info.is_finished:
        console.print("never finished: `fusion-rt recover` makes a whole log of it")
    for damage in info.damages:
        console.print(f"damaged: {damage}", highlight=False)
