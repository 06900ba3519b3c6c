"""`fusion-rt export`: what a log holds, for other people's tools."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from fusion_rt.errors import ExportError
from fusion_rt.exports.export_log import export_detections, export_rerun, export_ros2
from fusion_rt.exports.mounts import mounts_of
from fusion_rt.logs.read import LogReader


def register(app: typer.Typer) -> None:
    app.command("export")(export_command)


def export_command(
    log: Annotated[Path, typer.Argument(help="A log, or the folder of its parts.")],
    detections: Annotated[
        Path | None, typer.Option(help="All detections, as .json or .csv.")
    ] = None,
    ros2: Annotated[
        Path | None, typer.Option(help="A ROS 2 bag: a new folder. Needs the extra `import`.")
    ] = None,
    rerun: Annotated[
        Path | None, typer.Option(help="A recording for Rerun (.rrd). Needs the extra `rerun`.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only this one, repeated; of --ros2 and --rerun.")
    ] = None,
) -> None:
    """Export a log as one or more of these."""
    if not any((detections, ros2, rerun)):
        raise ExportError(str(log), "expected --detections, --ros2 or --rerun, got none of them")
    with LogReader(log) as opened:
        if problem := mounts_of(opened).problem:
            typer.echo(f"the log's calibration is not used: {problem}", err=True)
        topics = _known(opened, topic)
        if detections is not None:
            with _progress(opened, None, "detections") as progress:
                count = export_detections(opened, detections, progress)
            typer.echo(f"{detections}: {count} sets of detections")
        for target, export in ((ros2, export_ros2), (rerun, export_rerun)):
            if target is None:
                continue
            with _progress(opened, topics, target.name) as progress:
                counts = export(opened, target, topics, progress)
            typer.echo(f"{target}: {sum(counts.values())} messages on {len(counts)} topics")
        for name, undecodable in opened.undecodable.items():
            typer.echo(f"{name}: {undecodable} messages are not what their schema says", err=True)


def _known(log: LogReader, wanted: Collection[str] | None) -> Collection[str] | None:
    there = log.streams()
    if missing := [topic for topic in wanted or () if topic not in there]:
        known = ", ".join(there) or "nothing"
        raise ExportError(str(log.path), f"expected the topic {missing[0]}, it holds {known}")
    return wanted or None


@contextmanager
def _progress(
    log: LogReader, topics: Collection[str] | None, title: str
) -> Iterator[Callable[[int], None]]:
    ours = {name: stream for name, stream in log.streams().items() if not stream.problem}
    total = sum(one.messages for name, one in ours.items() if topics is None or name in topics)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)
