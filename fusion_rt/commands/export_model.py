"""`fusion-rt export-model`: a training run as a model directory that the runtime opens."""

import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.errors import MissingExtraError

_FIRST_SEED = 400_000
"""Of the worlds to finish on: `eval` has those from 500,000 on, training those from 1,000,000."""


def register(app: typer.Typer) -> None:
    app.command("export-model")(export_model_command)


def export_model_command(
    run: Annotated[Path, typer.Argument(help="Folder that fusion-rt train wrote.")],
    model_dir: Annotated[Path, typer.Argument(help="Folder for model.yaml and the ONNX files.")],
    name: Annotated[str, typer.Option(help="What the model calls itself.")] = "own",
    scenes: Annotated[
        int, typer.Option(min=0, help="Worlds to finish it on; 0: scores and thresholds stay raw.")
    ] = 40,
    data: Annotated[
        Path | None, typer.Option(help="Held-out moments to finish it on instead of worlds.")
    ] = None,
) -> None:
    """Write the averaged weights of a run as ONNX graphs with a model.yaml beside them.

    Then ask the model about worlds that neither `train` nor `eval` takes: scores become shares that
    are right, each mode gets its threshold, and the camera's graph a twin in INT8.
    """
    try:
        from fusion_rt.model.finish import finish_model_dir
        from fusion_rt.model.model_dir import write_model_dir
    except ImportError as error:
        raise MissingExtraError("train", str(error)) from error
    from fusion_rt.evaluation.scenes import ScenePlan, demo_calibration
    from fusion_rt.evaluation.scenes import scenes as held_out

    utc_s = RigClock.starting_now().now_ns() / NS_PER_S
    today = datetime.datetime.fromtimestamp(utc_s, datetime.timezone.utc).date()
    write_model_dir(run, model_dir, name, today)
    plan = ScenePlan(scenes=scenes, seed=_FIRST_SEED, is_varied=True, folder=data)
    if plan.count:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("asking", total=plan.count)
            shown = held_out(plan, demo_calibration())
            finish_model_dir(run, model_dir, shown, lambda: progress.advance(task))
    for path in sorted(model_dir.iterdir()):
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
