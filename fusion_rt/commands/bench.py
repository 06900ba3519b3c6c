"""`fusion-rt bench`: how fast a rig answers, and what it does when its sensors fail."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from fusion_rt.bench.compare import Change, compare, read_gate, read_summary
from fusion_rt.bench.fault_cases import FULL_SLOT, HEALTHY, QUICK_SLOT, cases_of, place
from fusion_rt.bench.fault_map import scorer_of
from fusion_rt.bench.fault_page import HEAD, faults_page, row_cells
from fusion_rt.bench.fault_run import watch_faults
from fusion_rt.bench.fault_score import FaultRow, rows_of
from fusion_rt.bench.latency_run import Bench
from fusion_rt.bench.sustained import Trial, best_of
from fusion_rt.commands.run import RigArgument
from fusion_rt.errors import BenchError
from fusion_rt.latency.summary import Percentiles, Run, Summary, judge, measure, summarise
from fusion_rt.machine import machine_text
from fusion_rt.report import report_page
from fusion_rt.rig import Rig, find_rig, load_rig

FIRST_FAULT_S = 15.0
"""After the start of the run: until then processes start, and the healthy rig is measured."""
_PLAIN_WIDTH = 180  # where there is no terminal to fit
EXIT_WORSE = 1
"""A budget was broken, or the run is worse than the one it was compared with."""


class LatencyResult(Summary, frozen=True, kw_only=True):
    """What `--json` keeps: the fixed-rate run, and the trials of other rates where asked for."""

    trials: tuple[Trial, ...] = ()
    sustained: Trial | None = None


def register(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure a rig: latency, sustained rate, behaviour under faults.")
    bench.command("latency")(latency_command)
    bench.command("faults")(faults_command)
    app.add_typer(bench, name="bench")


def latency_command(
    rig: RigArgument,
    seconds: Annotated[float, typer.Option(min=1, help="Measured, after the warm-up.")] = 30.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds cut off at the start.")] = 5.0,
    sustained: Annotated[
        bool, typer.Option("--sustained", help="Also find the highest rate that is kept up.")
    ] = False,
    drop_limit: Annotated[
        float, typer.Option(min=0, max=1, help="Share of answers that may be missing then.")
    ] = 0.05,
    baseline: Annotated[
        Path | None, typer.Option(help="A run kept with --json: exit 1 when this one is worse.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Worse than the baseline by more than this share.")
    ] = 0.1,
    gate: Annotated[
        Path | None, typer.Option(help="A YAML file of budgets: exit 1 when one is broken.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Keep the numbers here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Keep the page with pictures here.")] = None,
) -> None:
    """Run a rig at its own rates and tell its latency by percentile, with n.

    Simulated sensors are rendered first and then played from memory at real pace.
    """
    loaded = load_rig(find_rig(rig))
    gates = read_gate(gate, tuple(loaded.sensors)) if gate else {}
    before = read_summary(baseline) if baseline else None
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="fusion_rt-") as folder:
        bench = Bench(loaded, Path(folder), warm_up, console.log)
        run = bench.measure(seconds)
        trials = bench.sustained(_reference_hz(loaded, run), drop_limit) if sustained else []
    result = _result(run, gates, trials)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    if report is not None:
        report.write_text(report_page(run))
    _show(result)
    changes = compare(before, result, tolerance) if before else []
    if changes:
        Console().print(_change_table(changes))
    broken = [
        verdict for verdict in result.verdicts if verdict.value_ms is None or verdict.is_broken
    ]
    if broken or any(change.is_worse for change in changes):
        sys.exit(EXIT_WORSE)


class FaultsResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench faults --json` keeps."""

    rig: str
    machine: str
    reference_hz: float
    rows: list[FaultRow]
    """The first one, `none`, is the rig without a fault."""


def faults_command(
    rig: RigArgument = "sim",
    quick: Annotated[
        bool, typer.Option("--quick", help="The eight usual faults and pairs: under 10 minutes.")
    ] = False,
    sensor: Annotated[
        list[str] | None, typer.Option(help="Only faults of this topic; repeatable.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Only this fault, e.g. 'silent'; repeatable.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Keep the rows here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Keep the page with pictures here.")] = None,
) -> None:
    """Let every sensor fail in every way and tell how soon it is noticed and what comes out."""
    loaded = load_rig(find_rig(rig))
    chosen = [topic for topic in loaded.sensors if not sensor or topic in sensor]
    cases = [
        case
        for case in cases_of(chosen, quick)
        if case is HEALTHY
        or ((not fault or case.fault in fault) and (not sensor or {*case.sensors} <= {*sensor}))
    ]
    if len(cases) < 2:
        raise BenchError(f"no such fault of {', '.join(loaded.sensors)}")
    slot = QUICK_SLOT if quick else FULL_SLOT
    placed = place(cases, slot, first_s=FIRST_FAULT_S)
    console = Console(stderr=True)
    console.log(f"{len(cases)} faults in {placed[-1].until_ns / 60e9:.1f} minutes")
    with tempfile.TemporaryDirectory(prefix="fusion_rt-") as folder:
        where = Path(folder)
        seen = watch_faults(loaded, placed, where, slot.loop_s, console.log)
    rows = rows_of(placed, seen, scorer_of(loaded, seen.start_ns, slot.loop_s))
    result = FaultsResult(
        rig=loaded.name,
        machine=machine_text(),
        reference_hz=round(seen.reference_hz, 3),
        rows=rows,
    )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    if report is not None:
        report.write_text(faults_page(loaded.name, result.machine, placed, rows, seen))
    table = Table(*HEAD)
    for row in rows:
        table.add_row(*row_cells(row))
    Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH).print(table)


def _reference_hz(rig: Rig, run: Run) -> float:
    """Answers due per second at the rig's own rates: the rate of whatever the answers follow."""
    found = summarise(run).answers_hz
    rates = {sensor.rate_hz for sensor in rig.sensors.values()}
    nearest = min(rates, key=lambda rate_hz: abs(rate_hz - found))
    if abs(nearest - found) > 0.1 * nearest:
        raise BenchError(f"expected answers at a sensor's rate, got {found:g} Hz")
    return nearest


def _result(run: Run, gates: dict[str, dict[str, float]], trials: list[Trial]) -> LatencyResult:
    summary = summarise(run)
    whole, stages = measure(run.measured)
    fields: dict[str, Any] = {
        name: getattr(summary, name) for name in Summary.__struct_fields__ if name != "verdicts"
    }
    verdicts = [*summary.verdicts, *judge(gates, whole, stages)]
    return LatencyResult(
        **fields, verdicts=verdicts, trials=tuple(trials), sustained=best_of(trials)
    )


def _show(result: LatencyResult) -> None:
    console = Console()
    console.print(
        f"{result.rig}: {result.answers} answers in {result.seconds:.1f} s after a warm-up of "
        f"{result.warm_up_s:g} s, {100 * result.complete:.1f} % complete; {result.machine}"
    )
    console.print(_percentile_table("answers", result.whole))
    console.print(_percentile_table("stages of members", result.stages))
    for verdict in result.verdicts:
        value = "too few values" if verdict.value_ms is None else f"{verdict.value_ms:.2f} ms"
        word = "broken" if verdict.is_broken or verdict.value_ms is None else "kept"
        console.print(
            f"budget {verdict.budget} p{verdict.percent:g} {verdict.limit_ms:g} ms: "
            f"{word}, {value} (n = {verdict.n})"
        )
    if result.trials:
        console.print(_trial_table(result.trials))
    if result.sustained is not None:
        one = result.sustained
        console.print(f"sustained: x{one.speed:g}, {one.answers_hz:.1f} answers/s")


def _percentile_table(title: str, rows: dict[str, Percentiles]) -> Table:
    table = Table("", "n", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", title=title)
    for name, one in rows.items():
        values = (one.p50_ms, one.p90_ms, one.p99_ms, one.p999_ms, one.max_ms)
        table.add_row(name, str(one.n), *("-" if v is None else f"{v:.2f}" for v in values))
    return table


def _change_table(changes: list[Change]) -> Table:
    table = Table("", "", "before ms", "now ms", "ratio", "", title="against the baseline")
    for one in changes:
        numbers = (f"{one.before_ms:.2f}", f"{one.now_ms:.2f}", f"{one.ratio:.2f}")
        table.add_row(one.name, one.percentile, *numbers, "worse" if one.is_worse else "")
    return table


def _trial_table(trials: tuple[Trial, ...]) -> Table:
    table = Table("speed", "answers/s", "missing %", "reaction p99 ms", "", title="rates")
    for one in trials:
        p99 = "-" if one.p99_ms is None else f"{one.p99_ms:.1f}"
        kept = "sustained" if one.is_sustained else "too fast"
        table.add_row(
            f"x{one.speed:g}", f"{one.answers_hz:.1f}", f"{100 * one.missing:.1f}", p99, kept
        )
    return table
