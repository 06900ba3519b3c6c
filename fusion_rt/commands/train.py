"""`fusion-rt train`: the reference model, or one of your own sizes, from simulated moments."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fusion_rt.clock import RigClock
from fusion_rt.errors import MissingExtraError
from fusion_rt.rig import find_rig, load_rig

if TYPE_CHECKING:
    from fusion_rt.model.train import Report
    from fusion_rt.model.train_config import TrainConfig

_SHOWN = ("heat", "box", "depth", "siren", "heat_camera", "heat_lidar", "heat_both")


def register(app: typer.Typer) -> None:
    app.command("train")(train_command)


def train_command(
    config: Annotated[Path, typer.Argument(help="Training file; configs/ has some.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run; goes on if there is one.")
    ],
    render: Annotated[
        int, typer.Option(min=0, help="First render so many worlds into the file's data folder.")
    ] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
    threads: Annotated[
        int, typer.Option(min=1, max=256, help="Of torch on the CPU; more rarely pay.")
    ] = 1,
) -> None:
    """Train until the file's `samples` or `minutes` are over; Ctrl-C or SIGTERM saves and stops.

    The same command goes on where a run was stopped or killed. Several processes: torchrun
    --nproc-per-node N -m fusion_rt train ... Needs the extras `train` and `sim`.
    """
    torch = _torch()
    from fusion_rt.model.ranks import joined_ranks
    from fusion_rt.model.train import Trainer
    from fusion_rt.model.train_config import load_train_config

    loaded = load_train_config(config)
    torch.set_num_threads(threads)
    with joined_ranks(device) as ranks, _asked_to_stop() as stops:
        console = Console(quiet=not ranks.is_first)
        if render and ranks.is_first:
            _render(loaded, render, console)
        ranks.agreed(0)  # the others wait for the worlds
        trainer = Trainer(loaded, output, RigClock.starting_now(), ranks)
        with _shown(console, trainer.progress) as report:
            trainer.run(report, lambda: bool(stops))
    done = "finished" if trainer.progress >= 1 else "stopped; the same command goes on"
    console.print(f"{done}: {trainer.steps} steps, {trainer.samples} moments, in {output}")


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("train", str(error)) from error
    return torch


def _render(config: "TrainConfig", worlds: int, console: Console) -> None:
    """Worlds that are not there yet, from the file's first seed on."""
    from fusion_rt.model.moments import SUFFIX, write_moments
    from fusion_rt.model.render import rendered_worlds

    folder = Path(config.data)
    folder.mkdir(parents=True, exist_ok=True)
    calibration = load_rig(find_rig(config.rig)).calibration
    missing = (s for s in count(config.first_seed) if not (folder / f"{s}{SUFFIX}").exists())
    with Progress(console=console) as progress:
        task = progress.add_task("rendering worlds", total=worlds)
        for seed, moments in rendered_worlds(calibration, islice(missing, worlds)):
            write_moments(folder, seed, moments)
            progress.advance(task)


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that is no longer empty once somebody asked; the step at hand is finished first."""
    stops: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda number, _: stops.append(number)) for kind in kinds}
    try:
        yield stops
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def _shown(console: Console, begun: float) -> Iterator["Report"]:
    columns = (BarColumn(), TextColumn("{task.percentage:5.1f} %"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=1.0)
        progress.update(task, completed=begun)

        def report(row: dict[str, float]) -> None:
            losses = "  ".join(f"{name} {row[name]:.3f}" for name in _SHOWN if name in row)
            description = f"{row['samples']:.0f} moments  {losses}"
            progress.update(task, completed=min(1.0, row["progress"]), description=description)

        yield report
