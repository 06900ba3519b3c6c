"""`fusion-rt export-model`: a training run as a model directory that the runtime opens."""

import datetime
from pathlib import Path
from typing import Annotated

import typer

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.errors import MissingExtraError


def register(app: typer.Typer) -> None:
    app.command("export-model")(export_model_command)


def export_model_command(
    run: Annotated[Path, typer.Argument(help="Folder that fusion-rt train wrote.")],
    model_dir: Annotated[Path, typer.Argument(help="Folder for model.yaml and the ONNX files.")],
    name: Annotated[str, typer.Option(help="What the model calls itself.")] = "own",
) -> None:
    """Write the averaged weights of a run as ONNX graphs with a model.yaml beside them."""
    try:
        from fusion_rt.model.model_dir import write_model_dir
    except ImportError as error:
        raise MissingExtraError("train", str(error)) from error
    utc_s = RigClock.starting_now().now_ns() / NS_PER_S
    today = datetime.datetime.fromtimestamp(utc_s, datetime.timezone.utc).date()
    write_model_dir(run, model_dir, name, today)
    for path in sorted(model_dir.iterdir()):
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
