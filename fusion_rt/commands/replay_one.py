"""One log, replayed at any pace: progress while it goes, then what came of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.errors import LogError
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Detections
from fusion_rt.replay.open import Networks, opened_replay
from fusion_rt.replay.plan import ReplayOptions
from fusion_rt.replay.run import Replay, RunResult, Slice

Pace = Callable[[int], bool]
"""Of a time in the log: wait for its turn; False: enough."""


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How one log is gone through, and where the result goes."""

    speed: float | None = None
    """Times the recorded pace; None: without waiting."""
    is_stepped: bool = False
    from_s: float = 0
    to_s: float | None = None
    arrivals: Path | None = None
    json: Path | None = None


def replay_one(path: Path, options: ReplayOptions, manner: Manner) -> None:
    with LogReader(path) as log, Networks() as networks:
        part = _slice(log, manner)
        replay = opened_replay(log, options, networks, part, manner.arrivals)
        _go_through(replay, part, manner)
        result = replay.result(options.faults)
        _warn(log)
    if manner.json is not None:
        manner.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    _show(result)


def _go_through(replay: Replay, part: Slice, manner: Manner) -> None:
    pace = _pace(manner, part.start_ns)
    with (
        _progress(part, is_shown=not manner.is_stepped) as show,
        closing(replay.answers()) as answers,
    ):
        for detections in answers:
            show(replay.position_ns)
            if manner.is_stepped:
                typer.echo(_line(detections))
            if not pace(replay.position_ns):
                break


def _slice(log: LogReader, manner: Manner) -> Slice:
    from_s, to_s = manner.from_s, manner.to_s
    start_ns = log.start_ns + round(from_s * NS_PER_S)
    end_ns = log.end_ns + 1 if to_s is None else log.start_ns + round(to_s * NS_PER_S)
    if not log.start_ns <= start_ns < end_ns:
        length_s = (log.end_ns - log.start_ns) / NS_PER_S
        got = f"{from_s:g}..{'' if to_s is None else f'{to_s:g}'} s"
        raise LogError(str(log.path), f"expected a part of its {length_s:.3f} s, got {got}")
    return Slice(start_ns, min(end_ns, log.end_ns + 1))


def _pace(manner: Manner, start_ns: int) -> Pace:
    if manner.is_stepped:
        return _stepped
    if manner.speed is None:
        return lambda _: True
    speed, clock = manner.speed, RigClock.starting_now()
    begun_ns = clock.now_ns()

    def wait(position_ns: int) -> bool:
        # From the start each time: a late answer does not make the next ones late.
        clock.sleep_until_ns(begun_ns + round((position_ns - start_ns) / speed))
        return True

    return wait


def _stepped(_: int) -> bool:
    return sys.stdin.readline().strip() not in ("q", "quit")


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
