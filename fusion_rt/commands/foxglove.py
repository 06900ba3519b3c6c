"""`fusion-rt foxglove`: a rig that runs, or replays, in the Foxglove app."""

from collections import Counter
from typing import Annotated

import typer

from fusion_rt.commands.run import RunDirOption, StopRequest
from fusion_rt.session import attach_session, default_run_dir


def register(app: typer.Typer) -> None:
    app.command("foxglove")(foxglove_command)


def foxglove_command(
    rig: Annotated[str, typer.Argument(help="Name of the running rig.")],
    run_dir: RunDirOption = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any that is free.")] = 8765,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="Only this one; may be repeated.")
    ] = None,
) -> None:
    """Serve a running rig to the Foxglove app until Ctrl-C. Needs the extra `foxglove`.

    Open it in the app as `Foxglove WebSocket`. Only this host can connect.
    """
    from fusion_rt.logs.foxglove_server import HOST, serve_session
    from fusion_rt.logs.options import FoxgloveOptions

    session = attach_session(run_dir or default_run_dir(rig))
    stop = StopRequest()
    serve_session(
        session,
        FoxgloveOptions(port=port),
        lambda: stop.count == 0,
        Counter(),
        topics or (),
        lambda bound: typer.echo(f"ws://{HOST}:{bound}"),
    )
