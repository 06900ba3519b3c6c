"""Where a LiDAR sits relative to a camera: from a board both see, or refined on ordinary scenes."""

import csv
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import typer

from fusion_rt.calibrate.alignment import Alignment
from fusion_rt.calibrate.boards import Chessboard, Fault, find_board
from fusion_rt.calibrate.correspondences import fit_points
from fusion_rt.calibrate.hole_board import HoleBoard, find_holes
from fusion_rt.calibrate.hole_pixels import hole_pixels
from fusion_rt.calibrate.pictures import overlay_picture, save_picture
from fusion_rt.calibrate.progress import tracked
from fusion_rt.calibrate.result_file import (
    made_from,
    read_calibration_file,
    with_transform,
    write_calibration_file,
)
from fusion_rt.calibrate.scan_edges import scan_edges
from fusion_rt.calibrate.sweep_file import read_sweep
from fusion_rt.calibrate.targetless import difference, refine_camera_from_lidar
from fusion_rt.calibration_file import Residuals, load_calibration
from fusion_rt.clock import RigClock
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, RigidTransform

app = typer.Typer(add_completion=False, no_args_is_help=True)
_ODD_PIXELS = 0.01

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

CalibrationPath = Annotated[
    Path, typer.Argument(help="Calibration file with the intrinsics, and for `refine` the start.")
]
CameraFrame = Annotated[str, typer.Option(help="Frame of the camera.")]
LidarFrame = Annotated[str, typer.Option(help="Frame of the LiDAR.")]
Output = Annotated[Path | None, typer.Option(help="Calibration file to put the result in.")]
PicturePath = Annotated[Path | None, typer.Option(help="PNG: the last sweep on its image.")]
ValidDays = Annotated[int | None, typer.Option(help="When it expires.")]


class _Result(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    camera_from_lidar: RigidTransform
    residuals: Residuals
    method: str


@app.command()
def refine(
    calibration: CalibrationPath,
    image: Annotated[list[Path], typer.Option(help="An image; repeat for more scenes.")],
    sweep: Annotated[list[Path], typer.Option(help="The sweep of the same moment, per image.")],
    camera: CameraFrame = "camera_front",
    lidar: LidarFrame = "lidar_top",
    start_deg: Annotated[float, typer.Option(help="How far off the start may be.")] = 2.0,
    start_m: Annotated[float, typer.Option(help="How far off the start may be.")] = 0.1,
    output: Output = None,
    picture: PicturePath = None,
    valid_days: ValidDays = None,
) -> None:
    """Refine the pose in a calibration file on ordinary scenes: no board, a standing vehicle.

    Needs good intrinsics, and near and far poles, kerbs and markings; three scenes are better than
    one. Look at the picture: posts must be filled, not flanked. Example:

    fusion-rt calibrate camera-lidar refine car.calibration.yaml --image 1.png --sweep 1.pcd
    --output car.calibration.yaml --picture overlay.png
    """
    if len(image) != len(sweep):
        problem = f"expected a sweep per image, got {len(sweep)} for {len(image)}"
        raise CalibrationError("camera-LiDAR", problem)
    known = load_calibration(calibration)
    model = _camera(known.cameras, camera, calibration)
    if lidar not in known.base_from or camera not in known.base_from:
        problem = f"expected transforms that place {camera} and {lidar}"
        raise CalibrationError(str(calibration), problem, "a tape measure gives the start")
    start = known.transform(camera, lidar)
    greys = [_grey(path) for path in image]
    sweeps = [read_sweep(path) for path in sweep]
    scenes = [
        Alignment(grey, scan_edges(one.points_m, one.intensity, one.ring), model, start)
        for grey, one in zip(greys, sweeps, strict=True)
    ]
    if abs(model.fx_px / model.fy_px - 1) > _ODD_PIXELS:
        typer.echo(
            f"warning: fx {model.fx_px:.0f} and fy {model.fy_px:.0f} px differ by more than 1 %; "
            "half a percent of focal length moves the LiDAR by 10 cm along the optical axis"
        )
    found = refine_camera_from_lidar(
        scenes,
        start,
        model.fx_px,
        start_sd_deg=start_deg,
        start_sd_m=start_m,
        tracked=lambda steps: tracked("searching", steps),
    )
    turned, moved = difference(found.camera_from_lidar, start)
    typer.echo(f"moved by {turned:.2f} degrees and {moved * 100:.1f} cm from the start")
    typer.echo(f"score {found.score_start:.2f} at the start, {found.score:.2f} now")
    _report(found.camera_from_lidar, found.sd_deg, found.sd_m)
    residuals = Residuals(sd_deg=_three(found.sd_deg), sd_m=_three(found.sd_m))
    result = _Result(
        camera_from_lidar=found.camera_from_lidar,
        residuals=residuals,
        method=f"edges and shared information of {len(scenes)} scenes",
    )
    _finish(result, calibration, [*image, *sweep], camera, lidar, output, valid_days)
    if picture is not None:
        overlay = overlay_picture(greys[-1], sweeps[-1].points_m, model, found.camera_from_lidar)
        save_picture(overlay, picture)


@app.command()
def board(
    calibration: CalibrationPath,
    views: Annotated[Path, typer.Argument(help="CSV: image,sweep,x,y,z or image,x1,y1,z1..z4.")],
    columns: Annotated[int, typer.Option(help="Inner corners of the chessboard, across.")],
    rows: Annotated[int, typer.Option(help="Inner corners of the chessboard, down.")],
    square_mm: Annotated[float, typer.Option(help="Side of a square.")],
    holes_mm: Annotated[
        tuple[float, float, float], typer.Option(help="Between centres across, down; radius.")
    ],
    board_mm: Annotated[
        tuple[float, float] | None, typer.Option(help="Board's width and height, for sweeps.")
    ] = None,
    camera: CameraFrame = "camera_front",
    lidar: LidarFrame = "lidar_top",
    output: Output = None,
    valid_days: ValidDays = None,
) -> None:
    """Find the pose from a board: a chessboard for the camera, four holes around it for the LiDAR.

    Each row of VIEWS names an image, and either the sweep with about where the board's middle is
    (metres, LiDAR frame), or the four hole centres found by other means, clockwise from top left.
    """
    model = _camera(
        {name: one.camera() for name, one in read_calibration_file(calibration).cameras.items()},
        camera,
        calibration,
    )
    chessboard = Chessboard(columns=columns, rows=rows, square_m=square_mm / 1000)
    width, height, radius = (size / 1000 for size in holes_mm)
    across, down = board_mm or (holes_mm[0] * 2, holes_mm[1] * 2)
    holes = HoleBoard(
        width_m=width,
        height_m=height,
        radius_m=radius,
        board_width_m=across / 1000,
        board_height_m=down / 1000,
    )
    points, pixels, files = _seen_by_both(views, model, chessboard, holes)
    found = fit_points(points, pixels, model)
    left_out = int((~found.is_used).sum())
    typer.echo(f"{len(points)} holes, {left_out} left out, rms {found.rms_px:.2f} px")
    _report(found.camera_from_lidar, found.sd_deg, found.sd_m)
    result = _Result(
        camera_from_lidar=found.camera_from_lidar,
        residuals=Residuals(
            rms_px=round(found.rms_px, 4),
            sd_deg=_three(found.sd_deg),
            sd_m=_three(found.sd_m),
            observations=len(found.errors_px),
        ),
        method=f"{len(points) // 4} views of a board with holes",
    )
    _finish(result, calibration, [views, *files], camera, lidar, output, valid_days)


def _seen_by_both(
    views: Path, model: CameraModel, chessboard: Chessboard, holes: HoleBoard
) -> tuple[Floats, Floats, list[Path]]:
    """Hole centres (N, 3) in the LiDAR's frame, their pixels (N, 2), and the files read."""
    points, pixels, files = [], [], []
    for row in tracked("finding the board", _rows(views)):
        path = views.parent / row[0]
        view = find_board(path.name, _grey(path), chessboard)
        files.append(path)
        if isinstance(view, Fault):
            typer.echo(f"left out: {path.name} {view.value}")
            continue
        if len(row) == 5:
            files.append(views.parent / row[1])
            sweep = read_sweep(files[-1])
            points.append(find_holes(sweep.points_m, holes, np.array(row[2:], dtype=float)))
        else:
            points.append(np.array(row[1:], dtype=float).reshape(4, 3))
        pixels.append(hole_pixels(model, view, chessboard, holes.holes_m))
    if not points:
        raise CalibrationError(str(views), "expected views of the board, got none")
    return np.vstack(points), np.vstack(pixels), files


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(str(path), f"expected a table of views, got: {error}") from error
    for row in rows:
        if len(row) not in (5, 13):
            expected = "expected image,sweep,x,y,z or image and 12 numbers per row"
            raise CalibrationError(str(path), f"{expected}, got {len(row)} fields")
    return rows


def _camera(cameras: dict[str, CameraModel], frame: str, source: Path) -> CameraModel:
    if frame not in cameras:
        got = ", ".join(cameras) or "none"
        problem = f"expected cameras.{frame}, got {got}"
        raise CalibrationError(str(source), problem, "calibrate its intrinsics first")
    return cameras[frame]


def _grey(path: Path) -> Grey:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise CalibrationError(str(path), "expected an image, got none or a damaged one")
    return np.asarray(grey, dtype=np.uint8)


def _report(pose: RigidTransform, sd_deg: Floats, sd_m: Floats) -> None:
    x, y, z = pose.translation_m
    typer.echo(f"LiDAR at {x:.3f}, {y:.3f}, {z:.3f} m in the camera (x right, y down, z forward)")
    degrees = ", ".join(f"{sd:.2f}" for sd in sd_deg)
    centimetres = ", ".join(f"{100 * sd:.1f}" for sd in sd_m)
    typer.echo(f"uncertainty about and along x, y, z: {degrees} degrees; {centimetres} cm")


def _three(values: Floats) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 5) for value in values)
    return x, y, z


def _finish(
    result: _Result,
    calibration: Path,
    inputs: list[Path],
    camera: str,
    lidar: str,
    output: Path | None,
    valid_days: int | None,
) -> None:
    if output is None:
        return
    made = made_from(result.method, inputs, RigClock.starting_now(), result.residuals, valid_days)
    file = read_calibration_file(output if output.exists() else calibration)
    pose = result.camera_from_lidar.inverse()
    write_calibration_file(with_transform(file, lidar, camera, pose, made), output)


if __name__ == "__main__":
    app()
