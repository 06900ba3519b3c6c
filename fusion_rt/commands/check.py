"""`fusion-rt check RIG`: says whether a rig file can be run, and what it would run."""

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from fusion_rt.clock import NS_PER_MS
from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.rig import Rig, find_rig, load_rig
from fusion_rt.rig_schema import rig_schema_text

_CANNOT_RUN = 1
_MEGA = 1e6


def register(app: typer.Typer) -> None:
    app.command("check")(check_command)


def check_command(
    rig: Annotated[
        str | None, typer.Argument(help="Rig file, or the name of one that comes with the package.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for scripts.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of rig files, for editors.")
    ] = False,
) -> None:
    """Say whether a rig file can be run, and what it would run. Exit code 1: it cannot."""
    if schema:
        typer.echo(rig_schema_text(), nl=False)
        return
    if rig is None:
        raise typer.BadParameter("expected a rig file or the name of a rig", param_hint="RIG")
    try:
        checked = load_rig(find_rig(rig))
    except (ConfigError, ConfigErrors) as error:
        _report(error, as_json)
        raise typer.Exit(_CANNOT_RUN) from error
    if as_json:
        typer.echo(msgspec.json.encode(_summary(checked)).decode())
    else:
        _print(checked)


def _report(error: ConfigError | ConfigErrors, as_json: bool) -> None:
    errors = error.errors if isinstance(error, ConfigErrors) else (error,)
    if not as_json:
        typer.echo(str(error), err=True)
        return
    fields = ("file", "line", "where", "problem", "way_out")
    problems = [{field: getattr(one, field) for field in fields} for one in errors]
    typer.echo(msgspec.json.encode({"ok": False, "problems": problems}).decode())


def _summary(rig: Rig) -> dict[str, Any]:
    return {
        "ok": True,
        "rig": rig.name,
        "file": str(rig.source),
        "calibration": str(rig.calibration.source),
        "digest": rig.digest,
        "sensors": [
            {
                "topic": sensor.topic,
                "driver": sensor.options.driver,
                "rate_hz": sensor.rate_hz,
                "bytes_per_s": sensor.bytes_per_s,
                "frame": sensor.frame,
                "late_ms": rig.late_ns.get(sensor.topic, 0) / NS_PER_MS,
                "base_from_frame": rig.calibration.base_from[sensor.frame].matrix.tolist(),
            }
            for sensor in rig.sensors.values()
        ],
        "remote": {topic: source.address for topic, source in rig.remote_topics.items()},
    }


def _print(rig: Rig) -> None:
    table = Table(title=f"{rig.name}: {rig.source}", title_justify="left")
    for heading in ("topic", "driver", "Hz", "MB/s", "frame", "x, y, z in base (m)"):
        table.add_column(heading, justify="right" if heading in ("Hz", "MB/s") else "left")
    for sensor in rig.sensors.values():
        rate = "?" if sensor.bytes_per_s is None else f"{sensor.bytes_per_s / _MEGA:.2f}"
        place_m = rig.calibration.base_from[sensor.frame].translation_m
        place = ", ".join(f"{metres:.2f}" for metres in place_m)
        driver = sensor.options.driver
        table.add_row(sensor.topic, driver, f"{sensor.rate_hz:g}", rate, sensor.frame, place)
    for topic, source in rig.remote_topics.items():
        table.add_row(topic, source.address)
    console = Console()
    console.print(table)
    for topic, late_ns in rig.late_ns.items():
        console.print(f"{topic}: stamps are moved by {-late_ns / NS_PER_MS:+g} ms, as calibrated")
    total = sum(sensor.bytes_per_s or 0 for sensor in rig.sensors.values()) / _MEGA
    console.print(f"{len(rig.sensors)} sensors here, {total:.1f} MB/s: this rig can be run")
