"""`fusion-rt replay`: a log through the fusion's decisions again, at any pace, to the same end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.commands.fleet import fleet_command
from fusion_rt.errors import FaultError, LogError
from fusion_rt.faults import FaultSchedule, load_fault_file, parse_schedule
from fusion_rt.fleet.jobs import DECISIONS
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Detections
from fusion_rt.replay.open import opened_fusion
from fusion_rt.replay.plan import plan_of, rig_of
from fusion_rt.replay.run import Replay, RunResult, Slice
from fusion_rt.rig import Rig, find_rig, load_rig

Paced = Callable[[int], bool]
"""Of a time in the log: wait for its turn; False: enough."""


def register(app: typer.Typer) -> None:
    app.command("replay")(replay_command)


def replay_command(
    log: Annotated[Path, typer.Argument(help="An .mcap file, or the folder of a run's parts.")],
    paced: Annotated[
        str | None, typer.Option(metavar="xN", help="At N times the recorded pace: x1, x0.5, x10.")
    ] = None,
    asap: Annotated[
        bool, typer.Option("--asap", help="As fast as the machine can (as --lockstep).")
    ] = False,
    step: Annotated[
        bool, typer.Option("--step", help="One set at a time, with Enter; q ends it.")
    ] = False,
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="Without waiting; print the result [default].")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the run here, for `diff`.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault on purpose: 'lidar drop 10s..15s'. May be repeated."),
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(help="More of them: a YAML file of seed and faults.")
    ] = None,
    rig: Annotated[
        str | None, typer.Option(help="Another rig than the one inside the log.")
    ] = None,
    arrivals: Annotated[
        Path | None,
        typer.Option(help="Rows of the recorded run (`run --rows`): receipt as fusion had it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Another model than the rig's: a directory or a name.")
    ] = None,
    decisions_only: Annotated[
        bool, typer.Option("--decisions-only", help="Run no network: sets and modes, no boxes.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Many logs, so many at once; see `fleet` for more.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Many logs on Ray: its address, or `local`.")
    ] = None,
    table: Annotated[Path, typer.Option(help="Where the results of many logs go.")] = Path(
        "replays.json"
    ),
    from_s: Annotated[float, typer.Option("--from", min=0, help="Second of the log.")] = 0,
    to_s: Annotated[float | None, typer.Option("--to", min=0, help="Second of the log.")] = None,
) -> None:
    """Replay a log. The same log and the same faults give the same decisions, and one digest.

    Exit code 0, also where some of the log could not be read: that is said.
    """
    _check_modes(paced, asap=asap, step=step, lockstep=lockstep)
    if jobs is not None or cluster is not None:
        fleet_command([str(log)], table, [DECISIONS], jobs=jobs or 1, cluster=cluster)
        return
    schedule, texts = _schedule(fault or [], faults)
    with LogReader(log) as reader:
        recorded_on = load_rig(find_rig(rig)) if rig else rig_of(reader, model)
        part = _slice(reader, from_s, to_s)
        _check_faults(schedule, recorded_on)
        plan = plan_of(recorded_on, reader)
        if decisions_only:
            plan = msgspec.structs.replace(plan, model="")
        calibration = recorded_on.calibration
        with (
            opened_fusion(plan, calibration, part.start_ns) as fusion,
            _progress(part, is_shown=not step) as show,
        ):
            replay = Replay(reader, plan, fusion, part, schedule, arrivals)
            pace = _stepped if step else _paced(paced, part.start_ns) if paced else _at_once
            for detections in replay.answers():
                show(replay.position_ns)
                if step:
                    typer.echo(_line(detections))
                if not pace(replay.position_ns):
                    break
        result = replay.result(texts, plan.model)
        _warn(reader)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    _show(result)


def _check_modes(paced: str | None, *, asap: bool, step: bool, lockstep: bool) -> None:
    chosen = [
        name
        for name, is_on in (
            ("--paced", paced is not None),
            ("--asap", asap),
            ("--step", step),
            ("--lockstep", lockstep),
        )
        if is_on
    ]
    if len(chosen) > 1:
        raise typer.BadParameter(f"expected one pace, got {' and '.join(chosen)}")


def _schedule(texts: list[str], path: Path | None) -> tuple[FaultSchedule, tuple[str, ...]]:
    written = load_fault_file(path) if path else None
    each = (*(written.faults if written else ()), *texts)
    return parse_schedule(each, written.seed if written else 0), each


def _check_faults(schedule: FaultSchedule, rig: Rig) -> None:
    """A fault that would befall nobody is a mistake."""
    for one in schedule.faults:
        if not any(one.concerns(topic) for topic in rig.sensors):
            known = ", ".join(rig.sensors)
            raise FaultError(one.who, f"expected a sensor of the rig {rig.name}", f"known: {known}")


def _slice(log: LogReader, from_s: float, to_s: float | None) -> Slice:
    start_ns = log.start_ns + round(from_s * NS_PER_S)
    end_ns = log.end_ns + 1 if to_s is None else log.start_ns + round(to_s * NS_PER_S)
    if not log.start_ns <= start_ns < end_ns:
        length_s = (log.end_ns - log.start_ns) / NS_PER_S
        got = f"{from_s:g}..{'' if to_s is None else f'{to_s:g}'} s"
        raise LogError(str(log.path), f"expected a part of its {length_s:.3f} s, got {got}")
    return Slice(start_ns, min(end_ns, log.end_ns + 1))


def _paced(text: str, start_ns: int) -> Paced:
    try:
        speed = float(text.removeprefix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1000:
        raise typer.BadParameter(f'expected a pace such as x1, x0.5 or x10, got "{text}"')
    clock = RigClock.starting_now()
    begun_ns = clock.now_ns()

    def wait(position_ns: int) -> bool:
        # From the start each time: a late answer does not make the next ones late.
        clock.sleep_until_ns(begun_ns + round((position_ns - start_ns) / speed))
        return True

    return wait


def _stepped(_: int) -> bool:
    return sys.stdin.readline().strip() not in ("q", "quit")


def _at_once(_: int) -> bool:
    return True


@contextmanager
def _progress(part: Slice, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Where in the log we are, and how long it will take; on stderr."""
    length_s = (part.end_ns - part.start_ns) / NS_PER_S
    columns = (
        TextColumn("{task.completed:.1f} of {task.total:.1f} s"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not is_shown) as progress:
        task = progress.add_task("", total=length_s)
        yield lambda at_ns: progress.update(task, completed=(at_ns - part.start_ns) / NS_PER_S)
        progress.update(task, completed=length_s)


def _warn(log: LogReader) -> None:
    lost = [f"{count} messages of {topic} are damaged" for topic, count in log.undecodable.items()]
    for sentence in (*log.damages, *log.unreadable, *lost):
        typer.echo(f"left out: {sentence}", err=True)


def _line(detections: Detections) -> str:
    members = ", ".join(
        f"{member.topic} {member.reason or member.quality}" for member in detections.members
    )
    count = len(detections.boxes)
    return f"{detections.stamp_ns} {detections.mode}: {count} detections from {members}"


def _show(result: RunResult) -> None:
    for change in result.modes:
        typer.echo(f"{change.stamp_ns} {change.mode} {'; '.join(change.reasons)}")
    if wait := result.wait_ms:
        typer.echo(f"a set waited {wait['p50']:.1f} ms (p50), {wait['p99']:.1f} ms (p99)")
    typer.echo(f"{len(result.sets)} sets in {result.seconds:.1f} s of log, x{result.speed:g}")
    typer.echo(f"model: {result.model}" if result.model else "decisions only, no model was run")
    typer.echo(f"digest: {result.digest}")
