"""`fusion-rt simulate`: a drive through a simulated city, made as fast as the machine can."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from fusion_rt.clock import NS_PER_S
from fusion_rt.rig import Rig, find_rig, load_rig
from fusion_rt.sim.scenario import scenario_named

if TYPE_CHECKING:
    from fusion_rt.sim.dataset import DatasetWriter
    from fusion_rt.sim.log_dataset import LogDatasetWriter

T = TypeVar("T")
_LAST = 0.999
"""Share of the drive at which the preview is taken if nobody says when: its end."""


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate_command)


def simulate_command(
    scenario: Annotated[
        str, typer.Argument(help="A scenario file, or a name: urban_day, night_rain, ..., random.")
    ],
    seconds: Annotated[float, typer.Option(min=0.2, max=3600, help="How long a drive.")] = 10,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same drive.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A new folder, or a new log: drive.mcap."),
    ] = None,
    rig: Annotated[str, typer.Option(help="Rig whose sensors are simulated.")] = "sim",
    preview: Annotated[
        Path | None, typer.Option(help="Also a PNG: camera, LiDAR, sound and track of one moment.")
    ] = None,
    preview_at: Annotated[
        float | None, typer.Option(min=0, help="Second of the preview; default: the end.")
    ] = None,
) -> None:
    """Make a drive with ground truth: all messages of all sensors, and a digest over them.

    Without -o nothing is kept. Needs the extra `sim`.
    """
    loaded = load_rig(find_rig(rig))
    at_s = seconds * _LAST if preview_at is None else preview_at
    digest = _make(loaded, scenario, seed, seconds, output, preview, at_s)
    typer.echo(f"digest: {digest}")


def _make(
    rig: Rig,
    name: str,
    seed: int,
    seconds: float,
    output: Path | None,
    preview: Path | None,
    at_s: float,
) -> str:
    # Imported here: `fusion-rt --help` must work without the extra.
    from fusion_rt.sim.drive import Digest, Drive
    from fusion_rt.sim.preview import PreviewMaker

    scenario = scenario_named(name, seed)
    drive, digest = Drive(rig, scenario, seed), Digest()
    maker = PreviewMaker(drive, rig.calibration, round(at_s * NS_PER_S))
    with ExitStack() as open_files:
        writer = None if output is None else open_files.enter_context(_writer(output, rig))
        for made in _tracked(
            drive.messages(seconds), drive.count(seconds), f"{name}, {seconds:g} s"
        ):
            digest.add(made)
            maker.add(made)
            if writer is not None:
                writer.add(made)
        for truth in drive.truths(seconds):
            digest.add_truth(truth.row())
            if writer is not None:
                writer.add_truth(truth.row())
        if writer is not None:
            writer.finish(name, scenario, seed, seconds, digest.hex())
    if preview is not None:
        maker.write(preview)
    return digest.hex()


def _writer(output: Path, rig: Rig) -> "AbstractContextManager[DatasetWriter | LogDatasetWriter]":
    from fusion_rt.sim.dataset import DatasetWriter
    from fusion_rt.sim.log_dataset import LogDatasetWriter

    if output.suffix == ".mcap":
        return LogDatasetWriter(output, rig)
    return DatasetWriter(output, rig)


def _tracked(made: Iterable[T], total: int, title: str) -> Iterator[T]:
    """The same, with a progress bar on stderr."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        for one in made:
            yield one
            progress.advance(task)
