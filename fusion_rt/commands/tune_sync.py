"""`fusion-rt tune-sync`: tolerances, wait and offsets of the sync step, tried out on a recording.

A recording is a table of `stream,stamp_ns,arrival_ns`, one row per message. Every setting is run
through the very synchronizer that runs live, so what the table says is what the rig would do.
"""

import csv
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import ConfigError
from fusion_rt.svg import Svg
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import FrameSet, StreamSpec

COLUMNS = ["stream", "stamp_ns", "arrival_ns"]
WAITS_MS = (0, 10, 20, 40, 60, 80, 100, 150, 200, 300)
TOLERANCES = (0.3, 0.4, 0.5, 0.55, 0.65, 0.8, 1.0)
"""Of the stream's period: half is the farthest a nearest message can lie if none is lost."""
OFFSETS = (-0.5, -0.25, 0.0, 0.25, 0.5)
"""Of the stream's period."""
GOOD_ENOUGH = 0.005
"""A setting that gives away no more of the complete sets than this is as good as the best."""
COLORS = ("#c0392b", "#e67e22", "#f1c40f", "#27ae60", "#2980b9", "#8e44ad", "#2c3e50")


class Arrival(msgspec.Struct, frozen=True):
    """One recorded message."""

    stream: str
    stamp_ns: int
    arrival_ns: int


class Trial(msgspec.Struct, frozen=True):
    """One setting and what it would have done."""

    wait_ms: int
    tolerance: float
    """Share of each stream's period."""
    complete: float
    """Share of the sets with every stream in."""
    added_p50_ms: float
    """From the last member's arrival to the set."""
    added_p99_ms: float
    wait_p99_ms: float
    """From the reference's arrival to the set."""
    offset_stream: str = ""
    offset_ns: int = 0


class Tuning(msgspec.Struct, frozen=True):
    """The sweep over one recording and the setting it speaks for."""

    reference: str
    rates_hz: dict[str, float]
    trials: list[Trial]
    """Wait by tolerance."""
    offset_trials: list[Trial]
    """At the chosen wait and tolerance, one stream's stamps moved at a time."""
    chosen: Trial


def read_arrivals(path: Path) -> list[Arrival]:
    """The recording in order of arrival."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if header != COLUMNS:
            raise ConfigError(str(path), "line 1", f"expected {','.join(COLUMNS)}, got {header}")
        arrivals = [_arrival(path, line, row) for line, row in enumerate(rows, start=2) if row]
    if not arrivals:
        raise ConfigError(str(path), "", "no messages in it", "record some, a minute is enough")
    return sorted(arrivals, key=lambda a: a.arrival_ns)


def _arrival(path: Path, line: int, row: list[str]) -> Arrival:
    try:
        stream, stamp_ns, arrival_ns = row
        return Arrival(stream, int(stamp_ns), int(arrival_ns))
    except ValueError:
        raise ConfigError(
            str(path), f"line {line}", f"expected a name and two integers, got {row}"
        ) from None


def rates_of(arrivals: Sequence[Arrival]) -> dict[str, float]:
    """Each stream's rate from the median gap of its stamps; streams with two messages or more."""
    stamps: dict[str, list[int]] = {}
    for arrival in arrivals:
        stamps.setdefault(arrival.stream, []).append(arrival.stamp_ns)
    rates = {}
    for name, values in stamps.items():
        gaps = [b - a for a, b in pairwise(sorted(values)) if b > a]
        if gaps:
            rates[name] = round(NS_PER_S / median(gaps), 2)
    return rates


def tune(
    arrivals: Sequence[Arrival],
    reference: str | None = None,
    progress: Callable[[list[Trial]], Iterable[Trial]] = iter,
) -> Tuning:
    """Sweep wait, tolerance and offset; `progress` may wrap the list of settings to run."""
    rates_hz = rates_of(arrivals)
    reference = reference or min(rates_hz, key=lambda name: rates_hz[name])
    settings = [Trial(w, t, 0, 0, 0, 0) for t in TOLERANCES for w in WAITS_MS]
    trials = [run_trial(arrivals, rates_hz, reference, s) for s in progress(settings)]
    chosen = _choose(trials)
    moved = [
        msgspec.structs.replace(chosen, offset_stream=name, offset_ns=round(o * NS_PER_S / rate))
        for name, rate in rates_hz.items()
        if name != reference
        for o in OFFSETS
    ]
    offset_trials = [run_trial(arrivals, rates_hz, reference, s) for s in progress(moved)]
    return Tuning(reference, rates_hz, trials, offset_trials, chosen)


def run_trial(
    arrivals: Sequence[Arrival], rates_hz: dict[str, float], reference: str, setting: Trial
) -> Trial:
    """Put the recording through the synchronizer with that setting."""
    sync = Synchronizer(
        streams=[
            StreamSpec(
                name,
                rate,
                round(setting.tolerance * NS_PER_S / rate),
                setting.offset_ns if name == setting.offset_stream else 0,
            )
            for name, rate in rates_hz.items()
        ],
        reference=reference,
        max_wait_ns=setting.wait_ms * NS_PER_MS,
    )
    sets = [s for s in _sets(sync, arrivals, rates_hz) if not s.is_tick]
    added = sorted(_added_ms(s) for s in sets)
    waits = sorted((s.closed_ns - s.opened_ns) / NS_PER_MS for s in sets)
    return msgspec.structs.replace(
        setting,
        complete=sum(s.status == "complete" for s in sets) / max(1, len(sets)),
        added_p50_ms=_quantile(added, 0.5),
        added_p99_ms=_quantile(added, 0.99),
        wait_p99_ms=_quantile(waits, 0.99),
    )


def _sets(
    sync: Synchronizer, arrivals: Sequence[Arrival], known: dict[str, float]
) -> Iterator[FrameSet]:
    for arrival in arrivals:
        if arrival.stream in known:
            ns = arrival.arrival_ns
            yield from sync.push(arrival.stream, arrival.stamp_ns, ns, ns)
    yield from sync.advance(arrivals[-1].arrival_ns + sync.max_wait_ns)


def _added_ms(frame_set: FrameSet) -> float:
    last_ns = max(m.payload for m in frame_set.members.values() if not m.is_missing)
    return max(0, frame_set.closed_ns - int(last_ns)) / NS_PER_MS


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _choose(trials: Sequence[Trial]) -> Trial:
    """Of those as complete as the best, the shortest wait, then the tightest tolerance."""
    least = max(trial.complete for trial in trials) - GOOD_ENOUGH
    good = [trial for trial in trials if trial.complete >= least]
    return min(good, key=lambda trial: (trial.wait_ms, trial.tolerance))


def rig_snippet(tuning: Tuning) -> str:
    """The chosen setting as it stands in a rig file."""
    lines = [
        "sync:",
        f"  reference: {tuning.reference}",
        f"  max_wait_ms: {tuning.chosen.wait_ms}",
        "  streams:",
    ]
    for name, rate_hz in tuning.rates_hz.items():
        tolerance_ms = tuning.chosen.tolerance * 1000 / rate_hz
        lines.append(f"    {name}: {{rate_hz: {rate_hz:g}, tolerance_ms: {tolerance_ms:.1f}}}")
    return "\n".join(lines) + "\n"


def draw(tuning: Tuning) -> str:
    """SVG: complete sets against the wait they take, a curve per tolerance, the choice ringed."""
    svg = Svg(640, 400)
    longest_ms = max(10.0, *(trial.wait_p99_ms for trial in tuning.trials))

    def place(trial: Trial) -> tuple[float, float]:
        return 70 + 430 * trial.wait_p99_ms / longest_ms, 340 - 290 * trial.complete

    for share in (0, 0.25, 0.5, 0.75, 1):
        y = 340 - 290 * share
        svg.line((70, y), (500, y), "#ddd")
        svg.text((62, y + 4), f"{100 * share:.0f} %", anchor="end")
        x = 70 + 430 * share
        svg.text((x, 358), f"{share * longest_ms:.0f}", anchor="middle")
    svg.text((285, 382), "wait after the reference's arrival, 99th percentile, ms", anchor="middle")
    svg.text((70, 30), f"complete sets, reference {tuning.reference}", size=14)
    tolerances = sorted({trial.tolerance for trial in tuning.trials})
    for row, tolerance in enumerate(tolerances):
        color = COLORS[row % len(COLORS)]
        points = [place(trial) for trial in tuning.trials if trial.tolerance == tolerance]
        svg.path(points, color)
        for point in points:
            svg.dot(point, color, 3)
        svg.text((515, 60 + 20 * row), f"tolerance {tolerance:g} period", color=color)
    svg.dot(place(tuning.chosen), "black", 8, filled=False)
    return str(svg)


def tune_sync_command(
    log: Annotated[Path, typer.Argument(help="Table of stream,stamp_ns,arrival_ns (CSV).")],
    reference: Annotated[
        str | None, typer.Option(help="Reference stream; default: the slowest.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Use only so much of the recording.")] = 120.0,
    picture: Annotated[Path | None, typer.Option(help="Where to draw it (SVG).")] = None,
) -> None:
    """Try out tolerances, waits and offsets on a recording and propose a setting for the rig."""
    arrivals = read_arrivals(log)
    end_ns = arrivals[0].arrival_ns + round(seconds * NS_PER_S)
    arrivals = arrivals[: bisect_right(arrivals, end_ns, key=lambda a: a.arrival_ns)]
    if reference is not None and reference not in rates_of(arrivals):
        known = ", ".join(rates_of(arrivals))
        raise ConfigError(str(log), "--reference", f"no stream {reference!r}", f"known: {known}")
    console = Console()
    tuning = tune(arrivals, reference, lambda s: track(s, "trying out", console=console))
    console.print(_wait_table(tuning), _offset_table(tuning))
    console.print(rig_snippet(tuning), markup=False)
    if picture is not None:
        picture.write_text(draw(tuning))
        console.print(f"drawn in {picture}")


def _wait_table(tuning: Tuning) -> Table:
    table = Table("wait ms", *(f"{t:g}" for t in TOLERANCES), title="complete %, by tolerance")
    for wait_ms in WAITS_MS:
        row = [trial for trial in tuning.trials if trial.wait_ms == wait_ms]
        table.add_row(str(wait_ms), *(f"{100 * trial.complete:.1f}" for trial in row))
    return table


def _offset_table(tuning: Tuning) -> Table:
    table = Table("stream", "offset ms", "complete %", "added p99 ms", title="offsets")
    for trial in tuning.offset_trials:
        table.add_row(
            trial.offset_stream,
            f"{trial.offset_ns / NS_PER_MS:+.1f}",
            f"{100 * trial.complete:.1f}",
            f"{trial.added_p99_ms:.1f}",
        )
    return table


def register(app: typer.Typer) -> None:
    """Add `tune-sync` to the command line."""
    app.command("tune-sync")(tune_sync_command)
