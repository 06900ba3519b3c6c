"""`fusion-rt devices`: what this machine has that a rig could use."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusion_rt.clock import RigClock
from fusion_rt.discovery.cameras import look_for_cameras
from fusion_rt.discovery.found import Look
from fusion_rt.discovery.lidars import look_for_lidars
from fusion_rt.discovery.microphones import look_for_microphones
from fusion_rt.discovery.receivers import look_for_gpsd, look_for_serial_lines

_MOST_DETAILS = 6


def register(app: typer.Typer) -> None:
    app.command("devices")(devices_command)


def devices_command(
    listen: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds to listen for LiDARs; 0: not at all.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print for scripts.")] = False,
) -> None:
    """List cameras, sound inputs, GPS receivers and LiDARs, each with the line a rig needs."""
    looks = [look_for_cameras(), look_for_microphones(), look_for_serial_lines(), look_for_gpsd()]
    if listen > 0:
        looks.append(look_for_lidars(listen, RigClock.starting_now()))
    if as_json:
        found = [one for look in looks for one in look.found]
        problems = [look.problem for look in looks if look.problem]
        typer.echo(msgspec.json.encode({"devices": found, "problems": problems}).decode())
    else:
        _print(looks)


def _print(looks: list[Look]) -> None:
    console = Console()
    found = [one for look in looks for one in look.found]
    if found:
        table = Table(title_justify="left")
        for heading in ("kind", "where", "what", "details"):
            table.add_column(heading)
        for one in found:
            details = [*one.details[:_MOST_DETAILS]]
            if len(one.details) > _MOST_DETAILS:
                details.append(f"and {len(one.details) - _MOST_DETAILS} more (--json)")
            # As text: what a device calls itself must not be taken for markup.
            table.add_row(
                one.kind, *(Text(cell) for cell in (one.place, one.what)), Text("\n".join(details))
            )
        console.print(table)
        console.print(Text("In a rig file, under sensors:"))
        for one in found:
            console.print(Text(f"  {one.rig}"), soft_wrap=True)
    else:
        console.print("no devices found")
    for look in looks:
        if look.problem:
            console.print(Text(look.problem), soft_wrap=True)
