"""`fusion-rt keys`: this host's CURVE keys, for topics that leave it."""

from pathlib import Path
from socket import gethostname
from typing import Annotated

import typer

from fusion_rt.transport.security import ALLOWED, create_keys


def register(app: typer.Typer) -> None:
    app.command("keys")(keys_command)


def keys_command(
    directory: Annotated[Path, typer.Argument(help="Where the keys shall lie.")],
    host: Annotated[
        str | None, typer.Option(help="Name of this host; default: its hostname.")
    ] = None,
) -> None:
    """Make the keys that topics over tcp need: a secret one, and a public one to hand out."""
    public = create_keys(directory, host or gethostname())
    typer.echo(f"secret key: stays in {directory}")
    typer.echo(f"public key: copy {public} to {ALLOWED}/ in the key directory of each other host,")
    typer.echo(f"            and theirs to {directory / ALLOWED}/")
