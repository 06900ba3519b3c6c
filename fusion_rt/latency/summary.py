"""What a run's rows say: percentiles, outcomes and budgets, after a warm-up that is cut off."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import RecordingError
from fusion_rt.latency.critical_path import hops, quantities
from fusion_rt.latency.histogram import Histogram
from fusion_rt.latency.row_file import read_info, read_rows
from fusion_rt.latency.rows import (
    AlarmRow,
    AnswerRow,
    AnyRow,
    FrameRow,
    NoteRow,
    RunInfo,
    TotalsRow,
)

PERCENTS = (50.0, 90.0, 99.0, 99.9)


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of one duration; a percentile that so few values cannot tell is None."""

    n: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of one budget, and whether the run kept it."""

    budget: str
    percent: float
    limit_ms: float
    value_ms: float | None
    """None: too few values to tell."""
    n: int

    @property
    def is_broken(self) -> bool:
        return self.value_ms is not None and self.value_ms > self.limit_ms


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in numbers: what `bench latency --json` keeps and compares."""

    rig: str
    machine: str
    model: str
    seconds: float
    """Measured, after the warm-up."""
    warm_up_s: float
    answers: int
    answers_hz: float
    complete: float
    """Share of the answers without a missing member."""
    whole: dict[str, Percentiles]
    """By quantity: end_to_end, reaction, ..."""
    stages: dict[str, Percentiles]
    """By `STAGE TOPIC`, of new members."""
    frames: dict[str, dict[str, int]]
    """By topic and outcome; of the whole run."""
    verdicts: list[Verdict]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as read from its folder; answers, frames and notes in order of time."""

    info: RunInfo
    answers: list[AnswerRow]
    frames: list[FrameRow]
    alarms: list[AlarmRow]
    notes: list[NoteRow]
    totals: list[TotalsRow]
    warm_up_ns: int = 0

    @property
    def measured(self) -> list[AnswerRow]:
        """The answers after the warm-up."""
        if not self.answers:
            return []
        begin_ns = self.answers[0].published_ns + self.warm_up_ns
        return [answer for answer in self.answers if answer.published_ns >= begin_ns]


def read_run(folder: Path, warm_up_s: float = 0.0) -> Run:
    """All rows of a run; raises RecordingError when there is no answer among them."""
    info = read_info(folder)
    run = run_of(info, read_rows(folder), warm_up_s)
    if not run.measured:
        problem = f"expected answers after the first {warm_up_s:g} s, found none"
        raise RecordingError(str(folder), problem, "let the rig run longer, with its fusion")
    return run


def run_of(info: RunInfo, rows: Iterable[AnyRow], warm_up_s: float = 0.0) -> Run:
    """The rows by type."""
    kept = list(rows)
    return Run(
        info=info,
        answers=[row for row in kept if isinstance(row, AnswerRow)],
        frames=[row for row in kept if isinstance(row, FrameRow)],
        alarms=[row for row in kept if isinstance(row, AlarmRow)],
        notes=[row for row in kept if isinstance(row, NoteRow)],
        totals=[row for row in kept if isinstance(row, TotalsRow)],
        warm_up_ns=round(warm_up_s * NS_PER_S),
    )


def summarise(run: Run) -> Summary:
    """The run in numbers."""
    answers = run.measured
    seconds = (answers[-1].published_ns - answers[0].published_ns) / NS_PER_S
    whole, stages = measure(answers)
    frames: dict[str, Counter[str]] = {topic: Counter() for topic in run.info.topics}
    for row in run.frames:
        frames.setdefault(row.topic, Counter())[row.outcome] += row.count
    return Summary(
        rig=run.info.rig,
        machine=run.info.machine,
        model=run.info.model,
        seconds=round(seconds, 3),
        warm_up_s=run.warm_up_ns / NS_PER_S,
        answers=len(answers),
        answers_hz=round((len(answers) - 1) / seconds, 3) if seconds else 0.0,
        complete=round(sum(not answer.missing for answer in answers) / len(answers), 4),
        whole={name: percentiles(one) for name, one in whole.items()},
        stages={f"{stage} {topic}": percentiles(one) for (stage, topic), one in stages.items()},
        frames={topic: dict(counts) for topic, counts in frames.items()},
        verdicts=list(judge(run.info.budgets, whole, stages)),
    )


def measure(
    answers: Iterable[AnswerRow],
) -> tuple[dict[str, Histogram], dict[tuple[str, str], Histogram]]:
    """Histograms by quantity, and by stage and topic of new members."""
    whole: dict[str, Histogram] = {}
    stages: dict[tuple[str, str], Histogram] = {}
    for answer in answers:
        for name, value_ns in quantities(answer).items():
            whole.setdefault(name, Histogram()).add(value_ns)
        for member in answer.members:
            for hop in hops(member, answer) if member.is_new else ():
                key = hop.stage, member.topic
                stages.setdefault(key, Histogram()).add(hop.took_ns)
    return whole, stages


def percentiles(histogram: Histogram) -> Percentiles:
    """Of one histogram; p99 of fewer than 100 values is their maximum by another name: None."""
    p50, p90, p99, p999 = (_enough_ms(histogram, percent) for percent in PERCENTS)
    return Percentiles(
        n=histogram.count,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=_ms(histogram.max_ns),
    )


def judge(
    budgets: Mapping[str, Mapping[str, float]],
    whole: Mapping[str, Histogram],
    stages: Mapping[tuple[str, str], Histogram],
) -> Iterable[Verdict]:
    """Every limit of every budget against what was measured."""
    for name, limits in budgets.items():
        stage, _, topic = name.partition(" ")
        merged = Histogram()
        for found in _of_budget(name, stage, topic, whole, stages):
            merged.merge(found)
        for percent, limit_ms in limits.items():
            yield Verdict(
                budget=name,
                percent=float(percent),
                limit_ms=limit_ms,
                value_ms=_enough_ms(merged, float(percent)),
                n=merged.count,
            )


def _of_budget(
    name: str,
    stage: str,
    topic: str,
    whole: Mapping[str, Histogram],
    stages: Mapping[tuple[str, str], Histogram],
) -> list[Histogram]:
    if name in whole:
        return [whole[name]]
    return [one for (of, at), one in stages.items() if of == stage and topic in ("", at)]


def _enough_ms(histogram: Histogram, percent: float) -> float | None:
    if histogram.count * (100 - percent) < 100 and percent > 50:
        return None
    value_ns = histogram.percentile_ns(percent)
    return None if value_ns is None else _ms(value_ns)


def _ms(value_ns: int) -> float:
    return round(value_ns / NS_PER_MS, 3)
