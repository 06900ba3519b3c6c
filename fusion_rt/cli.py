"""fusion-rt, the command line: one file per command in `fusion_rt.commands`, put together here."""

import sys
from typing import Annotated

import typer

from fusion_rt import __version__
from fusion_rt.commands import check, demo, doctor, keys, run, top, tune_sync
from fusion_rt.errors import FusionError

EXIT_REFUSED = 2
"""What was asked for cannot be done as asked: wrong rig, no such run directory, wrong usage."""

app = typer.Typer(
    name="fusion-rt",
    help="Real-time sensor fusion that keeps answering when a sensor drops out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, run, check, top, doctor, tune_sync, keys):
    command.register(app)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"fusion-rt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # acted on by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """What holds for all commands."""


def main() -> None:
    """Run a command; what the user can mend is one line each, without a traceback."""
    try:
        app()
    except FusionError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_REFUSED)
