"""A microphone array: does its drawing agree with what it hears, and how is it turned?"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fusion_rt.calibrate.array_bearing import array_problems, bearing_offset, heard_from
from fusion_rt.calibrate.result_file import (
    made_from,
    read_calibration_file,
    with_transform,
    write_calibration_file,
)
from fusion_rt.calibrate.sound_file import read_sound
from fusion_rt.calibration_file import BASE, Residuals, load_calibration
from fusion_rt.clock import RigClock
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import RigidTransform

app = typer.Typer(add_completion=False)


@app.command()
def main(
    calibration: Annotated[Path, typer.Argument(help="Calibration file with the microphones.")],
    sounds: Annotated[list[Path], typer.Argument(help="WAV files, each of one sound.")],
    frame: Annotated[str, typer.Option(help="Frame of the array.")] = "audio_array",
    mono: Annotated[
        bool, typer.Option("--mono", help="The files are the channels of one sound.")
    ] = False,
    bearing: Annotated[
        list[float] | None,
        typer.Option(help="True bearing of each sound from base, degrees from x towards y."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Calibration file to put the array's yaw in.")
    ] = None,
    valid_days: Annotated[int | None, typer.Option(help="When it expires.")] = None,
) -> None:
    """Check an array by sounds from one place each; with their bearings, find how it is turned.

    Clap or sound a horn from 5 m away or more. Example:

    fusion-rt calibrate microphones car.calibration.yaml front.wav left.wav --bearing 0 --bearing 90
    """
    known = load_calibration(calibration)
    if frame not in known.microphones_m:
        got = ", ".join(known.microphones_m) or "none"
        raise CalibrationError(str(calibration), f"expected microphones.{frame}, got {got}")
    places_m = known.microphones_m[frame]
    heard = []
    for group in [sounds] if mono else [[path] for path in sounds]:
        samples, rate_hz = read_sound(group)
        if problems := array_problems(samples, rate_hz, places_m):
            raise CalibrationError(group[0].name, "; ".join(problems), "check cables and drawing")
        one = heard_from(samples, rate_hz, places_m)
        heard.append(one.azimuth_deg)
        typer.echo(
            f"{group[0].name}: {one.azimuth_deg:.1f} degrees in {frame}, microphones agree on "
            f"{one.score:.2f} of the sound"
        )
    if bearing is None:
        return
    turned = bearing_offset(heard, bearing)
    typer.echo(f"yaw of {frame} in base: {turned.yaw_deg:.1f} degrees +- {turned.sd_deg:.1f}")
    if output is not None:
        place = known.base_from[frame].translation_m
        pose = RigidTransform.from_yaw(float(np.radians(turned.yaw_deg)), place)
        residuals = Residuals(sd_deg=(0.0, 0.0, round(turned.sd_deg, 3)), observations=len(heard))
        clock = RigClock.starting_now()
        made = made_from("sounds at known bearings", sounds, clock, residuals, valid_days)
        file = read_calibration_file(output if output.exists() else calibration)
        write_calibration_file(with_transform(file, BASE, frame, pose, made), output)


if __name__ == "__main__":
    app()
