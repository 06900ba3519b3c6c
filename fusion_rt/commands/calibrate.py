"""`fusion-rt calibrate`: starts the programs in `calibration/`, each loaded only when asked for."""

from importlib import import_module
from importlib.util import find_spec

import typer

from fusion_rt.errors import CalibrationError

_PACKAGE = "fusion_rt.calibration"
_HELP = """Calibrate sensors and check rigs.

In this order, as results build on each other: check-rig, intrinsics, camera-lidar, microphones,
time-offsets, check-rig. All write into the calibration file that the rig names. What cannot give a
result worth having is refused with the reason, exit code 2, and nothing is written.
"""
_PROGRAMS = {
    "intrinsics": "Calibrate a camera from images of a board.",
    "camera-lidar": "Find where a LiDAR sits relative to a camera.",
    "microphones": "Check a microphone array and find how it is turned.",
    "time-offsets": "Find how late one sensor's stamps are against another's.",
    "check-rig": "Say what is wrong or doubtful about a rig's calibration.",
}
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help=_HELP, no_args_is_help=True)
    for name, summary in _PROGRAMS.items():
        group.command(name, help=summary, context_settings=_PASS_ON)(start_program)
    app.add_typer(group, name="calibrate")


def start_program(context: typer.Context) -> None:
    """Hand the command line on to the program of this name."""
    name = context.info_name or ""
    if find_spec("cv2") is None:
        problem = "expected the library cv2, found none"
        raise CalibrationError("calibrate", problem, "pip install 'fusion_rt[calibrate]'")
    program = import_module(f"{_PACKAGE}.{name.replace('-', '_')}")
    code = program.app(context.args, context.command_path, standalone_mode=False)
    if isinstance(code, int) and code:
        raise typer.Exit(code)
