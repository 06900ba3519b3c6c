"""How late one sensor's stamps are against another's, from what both have recorded of a motion."""

from pathlib import Path
from typing import Annotated

import typer

from fusion_rt.calibrate.result_file import (
    made_from,
    read_calibration_file,
    with_time_offset,
    write_calibration_file,
)
from fusion_rt.calibrate.signal_file import read_signal
from fusion_rt.calibrate.time_offset import estimate_offset
from fusion_rt.calibration_file import Residuals, TimeOffset
from fusion_rt.clock import NS_PER_MS, RigClock
from fusion_rt.errors import CalibrationError

app = typer.Typer(add_completion=False)


@app.command()
def main(
    reference: Annotated[Path, typer.Argument(help="CSV with stamp_ns,value, or stamp_ns alone.")],
    late: Annotated[Path, typer.Argument(help="The same of the sensor in question.")],
    reference_rate: Annotated[
        bool, typer.Option("--reference-rate", help="Compare its rate of change.")
    ] = False,
    late_rate: Annotated[
        bool, typer.Option("--late-rate", help="Compare its rate of change.")
    ] = False,
    max_ms: Annotated[float, typer.Option(help="Look for offsets up to this.")] = 1000.0,
    limit_ms: Annotated[
        float | None, typer.Option(help="Exit with 1 when the offset is larger.")
    ] = None,
    frame: Annotated[str | None, typer.Option(help="Frame of the sensor in question.")] = None,
    against: Annotated[str | None, typer.Option(help="Frame of the reference.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Calibration file to put the result in.")
    ] = None,
    valid_days: Annotated[int | None, typer.Option(help="When it expires.")] = None,
) -> None:
    """Compare two recordings of one motion, such as turn rates; say offset, drift and certainty.

    Drive some curves first: standing still, or motion that repeats itself, tells nothing. Example:

    fusion-rt calibrate time-offsets imu.csv camera.csv --limit-ms 50
    """
    first, second = read_signal(reference), read_signal(late)
    first = first.rate() if reference_rate else first
    second = second.rate() if late_rate else second
    found = estimate_offset(first, second, round(max_ms * NS_PER_MS))
    offset_ms, sd_ms = found.offset_ns / NS_PER_MS, found.offset_sd_ns / NS_PER_MS
    typer.echo(
        f"{found.late} is stamped {offset_ms:+.1f} ms +- {sd_ms:.1f} against {found.reference}"
    )
    typer.echo(f"drift {found.drift_ppm:.0f} ppm +- {found.drift_sd_ppm:.0f}")
    typer.echo(f"correlation {found.correlation:.2f}, {found.lead:.2f} above the next best offset")
    if output is not None:
        if frame is None or against is None:
            raise CalibrationError("time offset", "expected --frame and --against with --output")
        offset = TimeOffset(
            against=against, offset_ms=round(offset_ms, 3), drift_ppm=round(found.drift_ppm, 2)
        )
        made = made_from(
            f"correlation {found.correlation:.2f}, +- {sd_ms:.1f} ms",
            [reference, late],
            RigClock.starting_now(),
            Residuals(observations=len(second.values)),
            valid_days,
        )
        file = with_time_offset(read_calibration_file(output), frame, offset, made)
        write_calibration_file(file, output)
    if limit_ms is not None and abs(offset_ms) > limit_ms:
        typer.echo(f"that is more than the {limit_ms:g} ms allowed", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
