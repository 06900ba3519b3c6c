"""`fusion-rt recover`: a whole log of what a crash left, and a statement of what was lost."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fusion_rt.logs.recover import Recovered, recover
from fusion_rt.logs.write import OWN

EXIT_LOST = 3
"""Something was lost: the new log holds the rest."""


def register(app: typer.Typer) -> None:
    app.command("recover")(recover_command)


def recover_command(
    log: Annotated[Path, typer.Argument(help="The log that was cut short or damaged.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: LOG.recovered.mcap.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The statement as JSON.")] = False,
) -> None:
    """Copy everything that can be read of a log into a new one; the old one stays as it is.

    Exit code 0: nothing was lost. 3: something was, and is said.
    """
    target = output or log.with_name(f"{log.stem}.recovered.mcap")
    recovered = recover(log, target)
    if json:
        typer.echo(msgspec.json.encode(recovered))
    else:
        typer.echo(f"wrote {target}")
        typer.echo(statement(recovered))
    if not recovered.is_whole:
        raise typer.Exit(EXIT_LOST)


def statement(recovered: Recovered) -> str:
    """For people: what is there, what is not."""
    ours = {topic: n for topic, n in recovered.messages.items() if not topic.startswith(OWN)}
    lines = [f"{sum(ours.values())} messages on {len(ours)} topics"]
    lines += [f"lost: {damage}" for damage in recovered.damages]
    if not recovered.was_finished:
        lines.append("the log was never finished: what its writer still held is lost with it")
        last_ns = max(recovered.ends_ns.values(), default=0)
        for topic, end_ns in sorted(recovered.ends_ns.items()):
            if topic.startswith(OWN):
                continue
            lines.append(f"  {topic} ends {(last_ns - end_ns) / 1e9:.3f} s before the log's end")
    for topic, count in sorted(recovered.missing.items()):
        lines.append(f"{topic}: {count} sequence numbers missing")
    if recovered.is_whole and not recovered.missing:
        lines.append("nothing was lost")
    return "\n".join(lines)
