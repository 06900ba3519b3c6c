"""`fusion-rt replay`: logs through the fusion's decisions again, to the same end."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fusion_rt.clock import NS_PER_S
from fusion_rt.commands.replay_many import Results, replay_many
from fusion_rt.commands.replay_one import Manner, replay_one
from fusion_rt.faults import load_fault_file
from fusion_rt.fleet.jobs import RECORDED, RIGS_OWN
from fusion_rt.fleet.run import Where, logs_of
from fusion_rt.replay.plan import ReplayOptions

_TABLE = Path("replays.json")
_ONE, _MANY = "One log", "Many logs: any of these, or more than one log or model"
Logs = Annotated[
    list[str],
    typer.Argument(metavar="LOG", help="Logs, folders of a run's parts, or 'logs/*.mcap'."),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        help="Its directory or name, `decisions` or `recorded`; not given: the rig's own."
    ),
]
Rig = Annotated[str | None, typer.Option(help="Another rig than the one inside the log.")]
Fault = Annotated[
    list[str] | None,
    typer.Option(help="A fault on purpose: 'lidar drop 10s..15s'. May be repeated."),
]
FaultFile = Annotated[
    Path | None, typer.Option(help="More of them: a YAML file of seed and faults.")
]
Lockstep = Annotated[
    bool, typer.Option("--lockstep", help="Without waiting, as without any of these.")
]
Asap = Annotated[bool, typer.Option("--asap", help="As fast as the machine can: the same.")]
Paced = Annotated[
    str | None,
    typer.Option(
        metavar="xN", help="At N times the recorded pace: x1, x0.5, x10.", rich_help_panel=_ONE
    ),
]
Step = Annotated[
    bool,
    typer.Option("--step", help="One set at a time, with Enter; q ends.", rich_help_panel=_ONE),
]
From = Annotated[float, typer.Option("--from", min=0, help="Second.", rich_help_panel=_ONE)]
To = Annotated[float | None, typer.Option("--to", min=0, help="Second.", rich_help_panel=_ONE)]
Arrivals = Annotated[
    Path | None,
    typer.Option(
        help="Rows of the recorded run (`run --rows`): receipt as fusion had it.",
        rich_help_panel=_ONE,
    ),
]
Json = Annotated[
    Path | None, typer.Option(help="Write the run here, for `diff`.", rich_help_panel=_ONE)
]
Table = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--table",
        help="A row for each: .json, .csv, .parquet (replays.json).",
        rich_help_panel=_MANY,
    ),
]
Html = Annotated[
    Path | None, typer.Option(help="Two models side by side (.html).", rich_help_panel=_MANY)
]
Jobs = Annotated[
    int | None, typer.Option(min=1, max=1024, help="So many at once.", rich_help_panel=_MANY)
]
Cluster = Annotated[
    str | None,
    typer.Option(help="Ray: its address, ray://HOST:10001, or `local`.", rich_help_panel=_MANY),
]
SliceS = Annotated[
    float | None,
    typer.Option("--slice", min=1, help="Parts of so many seconds.", rich_help_panel=_MANY),
]
Retries = Annotated[
    int, typer.Option(min=0, max=10, help="Of a worker that died.", rich_help_panel=_MANY)
]
LimitS = Annotated[
    float | None,
    typer.Option("--limit", min=1, help="Seconds that one may take.", rich_help_panel=_MANY),
]


def register(app: typer.Typer) -> None:
    app.command("replay")(replay_command)


def replay_command(
    logs: Logs,
    model: Model = None,
    rig: Rig = None,
    fault: Fault = None,
    faults: FaultFile = None,
    lockstep: Lockstep = False,
    asap: Asap = False,
    paced: Paced = None,
    step: Step = False,
    from_s: From = 0,
    to_s: To = None,
    arrivals: Arrivals = None,
    json: Json = None,
    table: Table = None,
    html: Html = None,
    jobs: Jobs = None,
    cluster: Cluster = None,
    slice_s: SliceS = None,
    retries: Retries = 1,
    limit_s: LimitS = None,
) -> None:
    """Replay logs: the same log and the same faults give the same decisions, and one digest.

    One log prints its run, and exits with 0 also where some of it could not be read: that is said.
    Many logs make a table, and exit with 1 where one has no result.
    """
    _check_modes(paced, asap=asap, step=step, lockstep=lockstep)
    found, models = logs_of(logs), model or [RIGS_OWN]
    options = _options(rig, fault or [], faults)
    manner = Manner(
        speed=None if paced is None else _speed(paced),
        is_stepped=step,
        from_s=from_s,
        to_s=to_s,
        arrivals=arrivals,
        json=json,
    )
    is_asked = any(each is not None for each in (table, html, jobs, cluster, slice_s))
    if is_asked or len(found) > 1 or len(models) > 1 or models == [RECORDED]:
        _check_is_for_many(manner)
        where = Where(jobs=jobs, cluster=cluster, retries=retries, limit_ns=_ns(limit_s))
        results = Results(table=table or _TABLE, html=html, slice_ns=_ns(slice_s))
        replay_many(found, options, models, where, results)
    else:
        own = None if models == [RIGS_OWN] else models[0]
        replay_one(found[0], msgspec.structs.replace(options, model=own), manner)


def _check_modes(paced: str | None, *, asap: bool, step: bool, lockstep: bool) -> None:
    modes = {"--paced": paced is not None, "--asap": asap, "--step": step, "--lockstep": lockstep}
    chosen = [name for name, is_on in modes.items() if is_on]
    if len(chosen) > 1:
        raise typer.BadParameter(f"expected one pace, got {' and '.join(chosen)}")


def _check_is_for_many(manner: Manner) -> None:
    if manner != Manner():
        only = "--paced, --step, --from, --to, --arrivals and --json"
        raise typer.BadParameter(f"{only} are for one log with one model; cut with --slice")


def _options(rig: str | None, texts: list[str], path: Path | None) -> ReplayOptions:
    written = load_fault_file(path) if path else None
    each = (*(written.faults if written else ()), *texts)
    return ReplayOptions(rig=rig, faults=each, seed=written.seed if written else 0)


def _speed(text: str) -> float:
    try:
        speed = float(text.removeprefix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1000:
        raise typer.BadParameter(f'expected a pace such as x1, x0.5 or x10, got "{text}"')
    return speed


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * NS_PER_S)
