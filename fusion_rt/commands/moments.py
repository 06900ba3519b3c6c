"""`fusion-rt moments`: frames of KITTI or nuScenes as moments, to train and measure models with."""

from pathlib import Path
from typing import Annotated

import typer

from fusion_rt.errors import DatasetError

PER_FILE = 50


def register(app: typer.Typer) -> None:
    app.command("moments")(moments_command)


def moments_command(
    source: Annotated[
        Path, typer.Argument(help="KITTI's `training`, nuScenes' folder, or MMDetection3D's list.")
    ],
    output: Annotated[Path, typer.Argument(help="Folder of the moments: new, or empty.")],
    preview: Annotated[
        Path | None, typer.Option(help="JPEG of the first: do the boxes sit on the objects?")
    ] = None,
) -> None:
    """Make moments of an annotated data set: for `train` as `data`, for `eval` as --data.

    Your copy of a data set stays under its licence, and so do moments made of it.
    """
    from fusion_rt.datasets.moments import annotated_frames, moment_from_frame
    from fusion_rt.evaluation.picture import jpeg_of, truth_picture
    from fusion_rt.model.moments import Moment, write_moments

    if output.exists() and any(output.iterdir()):
        problem = "expected a new or empty folder, found something there"
        raise DatasetError(str(output), problem, "name another, or remove it")
    output.mkdir(parents=True, exist_ok=True)
    made: list[Moment] = []
    count = 0
    for count, frame in enumerate(annotated_frames(source), start=1):
        made.append(moment_from_frame(frame, count))
        if preview is not None and count == 1:
            preview.write_bytes(jpeg_of(truth_picture(made[0])))
        if len(made) == PER_FILE:
            write_moments(output, count // PER_FILE, made)
            made = []
    if made:
        write_moments(output, count // PER_FILE + 1, made)
    typer.echo(f"{count} moments in {output}")
