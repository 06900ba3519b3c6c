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
from fusion_rt.calibrate.time_offset import OffsetEstimate, estimate_offset
from fusion_rt.calibration_file import Residuals
from fusion_rt.clock import NS_PER_MS, RigClock
from fusion_rt.errors import CalibrationError
from fusion_rt.time_offsets import TimeOffset, lateness_ns

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
    corrected: Annotated[
        bool,
        typer.Option("--corrected", help="Recorded with the output's offsets in use: add to them."),
    ] = False,
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
    _tell(found)
    if output is not None:
        if frame is None or against is None:
            raise CalibrationError("time offset", "expected --frame and --against with --output")
        made = made_from(
            f"correlation {found.correlation:.2f}, +- {found.offset_sd_ns / NS_PER_MS:.1f} ms",
            [reference, late],
            RigClock.starting_now(),
            Residuals(observations=len(second.values)),
            valid_days,
        )
        file = read_calibration_file(output)
        offset = _offset(found, against, frame, file.time_offsets if corrected else {})
        write_calibration_file(with_time_offset(file, frame, offset, made), output)
    if limit_ms is not None and abs(found.offset_ns) > limit_ms * NS_PER_MS:
        typer.echo(f"that is more than the {limit_ms:g} ms allowed", err=True)
        raise typer.Exit(1)


def _tell(found: OffsetEstimate) -> None:
    offset_ms, sd_ms = found.offset_ns / NS_PER_MS, found.offset_sd_ns / NS_PER_MS
    typer.echo(
        f"{found.late} is stamped {offset_ms:+.1f} ms +- {sd_ms:.1f} against {found.reference}"
    )
    typer.echo(f"drift {found.drift_ppm:.0f} ppm +- {found.drift_sd_ppm:.0f}")
    typer.echo(f"correlation {found.correlation:.2f}, {found.lead:.2f} above the next best offset")


def _offset(
    found: OffsetEstimate, against: str, frame: str, in_use: dict[str, TimeOffset]
) -> TimeOffset:
    """Between the sensors' own stamps, from recordings in which these offsets were taken out."""
    own_ns = found.offset_ns + lateness_ns(in_use, frame) - lateness_ns(in_use, against)
    return TimeOffset(
        against=against,
        offset_ms=round(own_ns / NS_PER_MS, 3),
        drift_ppm=round(found.drift_ppm, 2),
    )


if __name__ == "__main__":
    app()
