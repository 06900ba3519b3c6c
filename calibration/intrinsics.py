"""Camera intrinsics: finds a board in images, calibrates the camera, or checks a calibration."""

import math
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fusion_rt.calibrate.boards import Board, BoardView, Charuco, Chessboard, Fault, find_board
from fusion_rt.calibrate.intrinsics import (
    MAX_RMS_PX,
    Intrinsics,
    calibrate_intrinsics,
    intrinsics_problems,
    view_errors,
)
from fusion_rt.calibrate.pictures import reprojection_picture, save_picture
from fusion_rt.calibrate.progress import tracked
from fusion_rt.calibrate.result_file import (
    made_from,
    read_calibration_file,
    with_camera,
    write_calibration_file,
)
from fusion_rt.calibration_file import Made, Residuals
from fusion_rt.clock import RigClock
from fusion_rt.errors import CalibrationError

app = typer.Typer(add_completion=False)
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
_MM_PER_M = 1000


class Model(str, Enum):
    PINHOLE = "pinhole"
    FISHEYE = "fisheye"


@app.command()
def main(
    images: Annotated[list[Path], typer.Argument(help="Images of the board, or their folders.")],
    columns: Annotated[int, typer.Option(help="Inner corners across; ChArUco: squares across.")],
    rows: Annotated[int, typer.Option(help="Inner corners down; ChArUco: squares down.")],
    square_mm: Annotated[float, typer.Option(help="Side of a square.")],
    marker_mm: Annotated[
        float | None, typer.Option(help="Side of a marker: the board is a ChArUco board.")
    ] = None,
    dictionary: Annotated[str, typer.Option(help="Of the markers.")] = "DICT_4X4_250",
    legacy: Annotated[
        bool, typer.Option("--legacy", help="ChArUco pattern of OpenCV before 4.6.")
    ] = False,
    model: Annotated[Model, typer.Option(help="Fisheye for lenses beyond 120 degrees.")] = (
        Model.PINHOLE
    ),
    frame: Annotated[str, typer.Option(help="Frame of the camera.")] = "camera_front",
    output: Annotated[
        Path | None, typer.Option(help="Calibration file to put the result in.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG of the errors.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="Check the camera in this calibration file instead.")
    ] = None,
    valid_days: Annotated[int | None, typer.Option(help="When it expires.")] = None,
) -> None:
    """Calibrate a camera from images of a board, or say why these images do not determine it.

    Take 12 or more that together fill the image, near and far, tilted by 20 to 40 degrees. Example:

    fusion-rt calibrate intrinsics pictures/ --columns 10 --rows 7 --square-mm 60 --marker-mm 45
    --output car.calibration.yaml --picture errors.png
    """
    side_m = square_mm / _MM_PER_M
    board: Board = Chessboard(columns=columns, rows=rows, square_m=side_m)
    if marker_mm is not None:
        board = Charuco(
            columns=columns,
            rows=rows,
            square_m=side_m,
            marker_m=marker_mm / _MM_PER_M,
            dictionary=dictionary,
            is_legacy=legacy,
        )
    files = _image_files(images)
    views, faults, size = _find(files, board)
    for name, fault in faults.items():
        typer.echo(f"left out: {name} {fault.value}")
    if not views:
        problem = f"expected a board, found it in none of {len(files)} images"
        raise CalibrationError("images", problem, "check the board's columns and rows")
    if check is not None:
        _check(check, frame, views)
        return
    found = calibrate_intrinsics(views, size, model.value)
    _report(found)
    if picture is not None:
        save_picture(reprojection_picture(found), picture)
    if output is not None:
        made = _made(found, files, valid_days)
        file = with_camera(read_calibration_file(output), frame, found.camera, made)
        write_calibration_file(file, output)


def _made(found: Intrinsics, files: Sequence[Path], valid_days: int | None) -> Made:
    residuals = Residuals(
        rms_px=round(found.rms_px, 4),
        sd_focal_px=round(found.focal_sd_px, 3),
        observations=sum(len(view.pixels) for view in found.views),
    )
    method = f"{len(found.views)} views of a board"
    return made_from(method, files, RigClock.starting_now(), residuals, valid_days)


def _image_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [file for file in inside if file.suffix.lower() in _SUFFIXES]
    if not files:
        raise CalibrationError("images", f"expected {', '.join(sorted(_SUFFIXES))}, got none")
    return files


def _find(
    files: Sequence[Path], board: Board
) -> tuple[list[BoardView], dict[str, Fault], tuple[int, int]]:
    """Views, images left out, and the size (width, height) of the first image."""
    views: list[BoardView] = []
    faults: dict[str, Fault] = {}
    size: tuple[int, int] | None = None
    for file in tracked("finding the board", files):
        grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            faults[file.name] = Fault.UNREADABLE
            continue
        size = size or (grey.shape[1], grey.shape[0])
        if (grey.shape[1], grey.shape[0]) != size:
            faults[file.name] = Fault.OTHER_SIZE
            continue
        found = find_board(file.name, np.asarray(grey, dtype=np.uint8), board)
        if isinstance(found, Fault):
            faults[file.name] = found
        else:
            views.append(found)
    return views, faults, size or (0, 0)


def _check(path: Path, frame: str, views: Sequence[BoardView]) -> None:
    file = read_calibration_file(path)
    if frame not in file.cameras:
        known = ", ".join(file.cameras) or "none"
        raise CalibrationError(str(path), f"expected cameras.{frame}, got {known}")
    camera = file.cameras[frame].camera()
    errors = np.vstack(view_errors(camera, views))
    rms = float(np.sqrt(np.nanmean((errors**2).sum(axis=1))))
    problems = intrinsics_problems(camera)
    if not rms <= MAX_RMS_PX:
        problems.append(f"expected {MAX_RMS_PX:g} px rms at most on these images, got {rms:.2f}")
    if problems:
        raise CalibrationError(f"cameras.{frame}", "; ".join(problems), "calibrate again")
    typer.echo(f"cameras.{frame} fits {len(views)} views with {rms:.3f} px rms")


def _report(found: Intrinsics) -> None:
    camera = found.camera
    table = Table(title="views used", title_justify="left")
    for heading in ("image", "corners", "rms px", "edge px"):
        table.add_column(heading, justify="left" if heading == "image" else "right")
    for view, errors in zip(found.views, found.errors_px, strict=True):
        rms = math.sqrt(float((errors**2).sum(axis=1).mean()))
        row = (view.name, str(len(view.pixels)), f"{rms:.3f}", f"{view.edge_width_px:.1f}")
        table.add_row(*row)
    Console().print(table)
    for name in found.outliers:
        typer.echo(f"left out: {name} {Fault.OUTLIER.value}")
    typer.echo(
        f"fx {camera.fx_px:.2f} fy {camera.fy_px:.2f} cx {camera.cx_px:.2f} "
        f"cy {camera.cy_px:.2f} px"
    )
    typer.echo(
        f"focal length +- {found.focal_sd_px:.2f} px, rms {found.rms_px:.3f} px",
    )
    typer.echo(f"distortion {', '.join(f'{k:.5f}' for k in camera.distortion)}")
    for advice in found.coverage.advice:
        typer.echo(f"better still: {advice}")


if __name__ == "__main__":
    app()
