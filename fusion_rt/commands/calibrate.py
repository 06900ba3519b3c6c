"""`fusion-rt calibrate`: starts the programs in `calibration/`, each loaded only when asked for."""

from importlib import import_module

import typer

_PACKAGE = "fusion_rt.calibration"
_PROGRAMS = {
    "intrinsics": "Calibrate a camera from images of a board.",
    "camera-lidar": "Find where a LiDAR sits relative to a camera.",
    "microphones": "Check a microphone array and find how it is turned.",
    "time-offsets": "Find how late one sensor's stamps are against another's.",
    "check-rig": "Say what is wrong or doubtful about a rig's calibration.",
}
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Calibrate sensors and check rigs.", no_args_is_help=True)
    for name, summary in _PROGRAMS.items():
        group.command(name, help=summary, context_settings=_PASS_ON)(start_program)
    app.add_typer(group, name="calibrate")


def start_program(context: typer.Context) -> None:
    """Hand the command line on to the program of this name."""
    name = context.info_name or ""
    program = import_module(f"{_PACKAGE}.{name.replace('-', '_')}")
    code = program.app(context.args, context.command_path, standalone_mode=False)
    if isinstance(code, int) and code:
        raise typer.Exit(code)
