"""`fusion-rt import`: somebody else's recording as a log of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import ForeignLogError
from fusion_rt.imports.import_log import Arrivals, ImportReport, import_log
from fusion_rt.imports.ros_audio import SoundFormat
from fusion_rt.imports.source import ImportOptions, Source
from fusion_rt.imports.topic_map import parsed_map

EXIT_LOSSY = 1
"""There is a log, and less in it than the recording states."""


def register(app: typer.Typer) -> None:
    app.command("import")(import_command)


def import_command(
    source: Annotated[
        Path, typer.Argument(help="A ROS 1 or ROS 2 bag, KITTI, or nuScenes: found out by itself.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The log to write (.mcap).")],
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="FOREIGN=OURS, repeated; then nothing else is imported."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The vehicle's frame in TF; default: base, base_link ...")
    ] = None,
    audio: Annotated[
        str | None, typer.Option(help="CHANNELSxHZ of 16-bit sound nobody describes, as 4x16000.")
    ] = None,
    intensity_max: Annotated[
        float | None, typer.Option(min=0, help="Full scale of the clouds' intensities.")
    ] = None,
    scene: Annotated[str | None, typer.Option(help="Which scene of a nuScenes folder.")] = None,
    arrivals: Annotated[
        str, typer.Option(help="`recorded`, or `stamps`: each arrived when it was measured.")
    ] = "recorded",
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Import a recording, and its calibration where it has one. Needs the extra `import`.

    Exits with 1 when the recording states more messages than could be imported.
    """
    with from_extra("import"):
        from fusion_rt.imports.open import open_source
    options = ImportOptions(
        topics=parsed_map(mapped or ()),
        base_frame=base,
        intensity_max=intensity_max or None,
        sound=None if audio is None else _sound(audio),
        scene=scene,
    )
    when = _arrivals(arrivals)
    if output.suffix != ".mcap":
        raise ForeignLogError(str(source), f"expected an output that ends in .mcap, got {output}")
    with open_source(source, options) as opened, _progress(opened) as progress:
        report = import_log(opened, source, output, arrivals=when, progress=progress)
    if as_json:
        typer.echo(msgspec.json.encode(report))
    else:
        _print(report)
    if report.missing:
        raise typer.Exit(EXIT_LOSSY)


def _sound(text: str) -> SoundFormat:
    channels, _, rate_hz = text.partition("x")
    if not (channels.isdigit() and rate_hz.isdigit() and int(channels) and int(rate_hz)):
        raise ForeignLogError("--audio", f"expected CHANNELSxHZ such as 4x16000, got {text}")
    return SoundFormat(channels=int(channels), rate_hz=int(rate_hz))


def _arrivals(text: str) -> Arrivals:
    for known in get_args(Arrivals):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise ForeignLogError("--arrivals", f"expected recorded or stamps, got {text}")


@contextmanager
def _progress(source: Source) -> Iterator[Callable[[int], None]]:
    total = sum(topic.count for topic in source.topics if topic.ours)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(source.format, total=total)
        yield lambda count: progress.advance(task, count)


def _print(report: ImportReport) -> None:
    console = Console()
    table = Table(title=report.format)
    for name in ("there", "type", "here", "stated", "imported", "why not"):
        table.add_column(name, overflow="fold")
    for topic in report.topics:
        table.add_row(
            topic.name,
            topic.type,
            topic.ours,
            str(topic.stated),
            str(topic.imported) if topic.ours else "",
            topic.reason,
        )
    console.print(table)
    lines = [f"{count} x {cause}" for cause, count in report.bad.items()]
    if report.missing:
        lines.append(f"{report.missing} messages that the recording states are not in the log")
    files = [report.output, *filter(None, [report.calibration])]
    for line in (*lines, *report.notes, f"written: {', '.join(files)}"):
        console.print(line, markup=False, highlight=False)
