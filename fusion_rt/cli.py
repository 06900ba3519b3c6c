"""fusion-rt, the command line: one file per command in `fusion_rt.commands`, put together here."""

import importlib
import keyword
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fusion_rt import __version__
from fusion_rt.errors import FusionError

COMMANDS = (
    "demo",
    "run",
    "record",
    "replay",
    "replay-rig",
    "info",
    "recover",
    "diff",
    "import",
    "export",
    "foxglove",
    "report",
    "bench",
    "simulate",
    "train",
    "export-model",
    "eval",
    "moments",
    "check",
    "calibrate",
    "devices",
    "top",
    "doctor",
    "build",
    "tune-sync",
    "keys",
)
"""In the order of `--help`; `tune-sync` is the module `fusion_rt.commands.tune_sync`."""
EXIT_REFUSED = 2
"""What was asked for cannot be done as asked: wrong rig, no such run directory, wrong usage."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command asked for, or all of them: a rig that restarts must not wait for imports."""
    app = typer.Typer(
        name="fusion-rt",
        help="Real-time sensor fusion that keeps answering when a sensor drops out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    asked = [name for name in arguments[:1] if name in COMMANDS]
    for name in asked or COMMANDS:
        importlib.import_module(f"fusion_rt.commands.{module_of(name)}").register(app)
    return app


def module_of(command: str) -> str:
    """The module of a command; Python keeps the name `import` to itself."""
    name = command.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"fusion-rt {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[  # acted on by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """What holds for all commands."""


def main() -> None:
    """Run a command; what the user can mend is one line each, without a traceback."""
    try:
        app_for(sys.argv[1:])()
    except FusionError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_REFUSED)
