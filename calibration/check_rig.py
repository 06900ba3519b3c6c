"""A rig's calibration as a whole: is anything missing, implausible or expired?"""

from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
import typer

from fusion_rt.calibrate.pictures import overlay_picture, rig_picture, save_picture
from fusion_rt.calibrate.result_file import today
from fusion_rt.calibrate.rig_check import Finding, check_calibration
from fusion_rt.calibrate.sweep_file import read_sweep
from fusion_rt.clock import RigClock
from fusion_rt.errors import CalibrationError, ConfigError, ConfigErrors
from fusion_rt.rig import Rig, find_rig, load_rig

app = typer.Typer(add_completion=False)
_FAULTY = 1


@app.command()
def main(
    rig: Annotated[str, typer.Argument(help="Rig file, or the name of one of the package's.")],
    picture: Annotated[
        Path | None, typer.Option(help="PNG: the rig, or with --image and --sweep the overlay.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="An image to draw a sweep on.")] = None,
    sweep: Annotated[Path | None, typer.Option(help="The sweep of that moment.")] = None,
    camera: Annotated[str, typer.Option(help="Frame of the camera.")] = "camera_front",
    lidar: Annotated[str, typer.Option(help="Frame of the LiDAR.")] = "lidar_top",
    as_json: Annotated[bool, typer.Option("--json", help="Print for scripts.")] = False,
) -> None:
    """Say what is wrong or doubtful about a rig's calibration. Exit code 1: not to be used.

    With --image and --sweep of one moment it draws the sweep on the image. Example:

    fusion-rt calibrate check-rig car.yaml --image 1.png --sweep 1.pcd --picture overlay.png
    """
    found, checked = _findings(rig)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    for finding in [] if as_json else found:
        kind = "fault" if finding.is_fault else "warning"
        typer.echo(f"{kind}: {finding.where}: {finding.problem}")
    if checked is not None and picture is not None:
        _draw(checked, picture, image, sweep, camera, lidar)
    if any(finding.is_fault for finding in found):
        raise typer.Exit(_FAULTY)
    if not as_json and checked is not None:
        typer.echo(
            f"{checked.name}: {len(checked.calibration.base_from)} frames, one tree, right-handed"
        )


def _findings(name: str) -> tuple[list[Finding], Rig | None]:
    """What is wrong; no rig where transforms are missing, a chain is open, or one mirrors."""
    try:
        rig = load_rig(find_rig(name))
    except (ConfigError, ConfigErrors) as error:
        errors = error.errors if isinstance(error, ConfigErrors) else (error,)
        return [Finding(is_fault=True, where=one.where, problem=str(one)) for one in errors], None
    return check_calibration(rig, today(RigClock.starting_now())), rig


def _draw(
    rig: Rig, picture: Path, image: Path | None, sweep: Path | None, camera: str, lidar: str
) -> None:
    if image is None or sweep is None:
        save_picture(rig_picture(rig.calibration), picture)
        return
    grey = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise CalibrationError(str(image), "expected an image, got none or a damaged one")
    for frame in (camera, lidar):
        if frame not in rig.calibration.base_from:
            raise CalibrationError(rig.name, f"expected a frame, got {frame}")
    if camera not in rig.calibration.cameras:
        raise CalibrationError(rig.name, f"expected cameras.{camera}, got none")
    overlay = overlay_picture(
        np.asarray(grey, dtype=np.uint8),
        read_sweep(sweep).points_m,
        rig.calibration.cameras[camera],
        rig.calibration.transform(camera, lidar),
    )
    save_picture(overlay, picture)


if __name__ == "__main__":
    app()
