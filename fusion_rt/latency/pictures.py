"""Pictures of a run's latency, as SVG: where time went, how often, and what was lost."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.latency.critical_path import blame, hops, last_ready, quantities
from fusion_rt.latency.histogram import Histogram
from fusion_rt.latency.rows import OUTCOMES, STAGES, AnswerRow, FrameRow, NoteRow
from fusion_rt.svg import Svg

WIDTH = 860
_LEFT, _RIGHT = 130, 40
_ROW = 26
STAGE_COLORS: dict[str, str] = dict(
    zip(
        STAGES,
        ("#b8c4d0", "#8e9aaf", "#e9c46a", "#2a9d8f", "#f4a261", "#d1b3e0", "#e76f51", "#6d597a"),
        strict=True,
    )
)
OUTCOME_COLORS: dict[str, str] = dict(
    zip(
        OUTCOMES,
        ("#2a9d8f", "#b8c4d0", "#f4a261", "#c1121f", "#6a040f", "#8ecae6"),
        strict=True,
    )
)
MODE_COLORS = {"NORMAL": "#2a9d8f", "DEGRADED": "#e9c46a", "MINIMAL": "#f4a261", "BLIND": "#c1121f"}
_CURVE_COLORS = ("#1d3557", "#e76f51", "#2a9d8f", "#8e44ad", "#b8860b")
_GRID, _TEXT = "#e3e6ea", "#333"


def timeline(answer: AnswerRow) -> str:
    """One answer: what each member did from its stamp to the publishing."""
    members = sorted(answer.members, key=lambda member: member.topic)
    start_ns = min((member.stamp_ns for member in members), default=answer.reference_ns)
    svg, x = _chart(len(members), start_ns, answer.published_ns)
    for row, member in enumerate(members):
        y = 40 + row * _ROW
        svg.text((_LEFT - 8, y + 14), member.topic, anchor="end")
        for hop in hops(member, answer):
            _bar(svg, x(hop.start_ns), x(hop.end_ns), y, STAGE_COLORS[hop.stage])
        svg.dot((x(member.stamp_ns), y + 9), "#1d3557", 3)
    bottom = 40 + len(members) * _ROW
    for at_ns, words, color in (
        (answer.reference_ns, "reference", "#555"),
        (answer.closed_ns, "closed", "#e76f51"),
    ):
        svg.line((x(at_ns), 34), (x(at_ns), bottom), color, dash="4 3")
        svg.text((x(at_ns), 30), words, 11, color, "middle")
    _stage_legend(svg, bottom + 40)
    return str(svg)


def waterfall(answers: Sequence[AnswerRow], usual_ns: Mapping[tuple[str, str], int]) -> str:
    """The way of each answer's last member, one below the other, with the blame."""
    longest_ns = max(_critical_ns(answer) for answer in answers)
    height = 60 + len(answers) * 2 * _ROW + 50
    svg = Svg(WIDTH, height)
    x = _axis(svg, 30, height - 60, 0, longest_ns)
    for row, answer in enumerate(answers):
        member, y = last_ready(answer), 36 + row * 2 * _ROW
        svg.text((_LEFT - 8, y + 14), f"answer {answer.number}", anchor="end")
        if member is not None:
            for hop in hops(member, answer):
                begin, end = hop.start_ns - member.stamp_ns, hop.end_ns - member.stamp_ns
                _bar(svg, x(begin), x(end), y, STAGE_COLORS[hop.stage])
        svg.text((_LEFT, y + 34), blame(answer, dict(usual_ns)), 11, "#666")
    _stage_legend(svg, height - 24)
    return str(svg)


def percentile_curves(
    histograms: Mapping[str, Histogram], budgets: Mapping[str, Mapping[str, float]]
) -> str:
    """Duration by percentile, the tail drawn out; budgets as rings."""
    height, top, bottom = 380, 40, 320
    svg = Svg(WIDTH, height)
    limits = [limit for name in histograms for limit in budgets.get(name, {}).values()]
    most_ns = max([one.max_ns for one in histograms.values()] + [round(v * 1e6) for v in limits])
    tail = max(2.0, math.log10(max(one.count for one in histograms.values())))
    right = WIDTH - 190

    def x(percent: float) -> float:
        return _LEFT + (right - _LEFT) * min(-math.log10(max(1 - percent / 100, 1e-9)), tail) / tail

    def y(value_ns: float) -> float:
        return bottom - (bottom - top) * value_ns / max(most_ns, 1)

    for value_ns in _ticks(most_ns):
        svg.line((_LEFT, y(value_ns)), (right, y(value_ns)), _GRID)
        svg.text((_LEFT - 8, y(value_ns) + 4), f"{value_ns / NS_PER_MS:g} ms", anchor="end")
    for percent in (0, 50, 90, 99, 99.9, 99.99, 99.999):
        if percent == 0 or -math.log10(1 - percent / 100) <= tail:
            svg.line((x(percent), top), (x(percent), bottom), _GRID)
            svg.text((x(percent), bottom + 18), f"{percent:g} %", anchor="middle")
    for row, (name, one) in enumerate(histograms.items()):
        color = _CURVE_COLORS[row % len(_CURVE_COLORS)]
        svg.path([(x(p), y(v)) for p, v in _steps(one)], color)
        svg.text((right + 12, top + 14 + 20 * row), name, 12, color)
        for limited, limit_ms in budgets.get(name, {}).items():
            svg.dot((x(float(limited)), y(limit_ms * NS_PER_MS)), color, 5, filled=False)
    svg.text((right + 12, top + 24 + 20 * len(histograms)), "rings: budgets", 11, "#666")
    svg.text(((_LEFT + right) / 2, bottom + 42), "share of the answers within", anchor="middle")
    return str(svg)


def outcomes(frames: Sequence[FrameRow]) -> str:
    """Share of each outcome, a bar per topic."""
    counts: dict[str, Counter[str]] = {}
    for frame in frames:
        counts.setdefault(frame.topic, Counter())[frame.outcome] += frame.count
    height = 40 + len(counts) * _ROW + 30
    svg = Svg(WIDTH, height)
    for row, topic in enumerate(sorted(counts)):
        total, left, y = sum(counts[topic].values()), float(_LEFT), 16 + row * _ROW
        svg.text((_LEFT - 8, y + 14), topic, anchor="end")
        for outcome in OUTCOMES:
            width = (WIDTH - _LEFT - 110) * counts[topic][outcome] / max(total, 1)
            if width:
                svg.box((left, y), width, 18, OUTCOME_COLORS[outcome])
            left += width
        svg.text((WIDTH - 100, y + 14), f"{total} frames", 11, "#666")
    _legend(svg, OUTCOME_COLORS, height - 16)
    return str(svg)


def run_over_time(answers: Sequence[AnswerRow], notes: Sequence[NoteRow]) -> str:
    """Modes, faults and the age of every answer when it was sent, over the run."""
    start_ns, end_ns = answers[0].published_ns, max(answers[-1].published_ns, 1)
    faults = [note for note in notes if note.kind == "fault"]
    top = 40 + _ROW * (1 + len(faults))
    svg = Svg(WIDTH, top + 250)
    x = _axis(svg, 30, top + 190, start_ns, end_ns, unit="s")
    svg.text((_LEFT - 8, 50), "mode", anchor="end")
    for mode, group in groupby(answers, key=lambda answer: answer.mode):
        of_mode = list(group)
        following = of_mode[-1].number - answers[0].number + 1
        until = answers[following] if following < len(answers) else of_mode[-1]
        _bar(svg, x(of_mode[0].published_ns), x(until.published_ns), 36, MODE_COLORS[mode])
    for row, fault in enumerate(faults):
        y = 36 + _ROW * (row + 1)
        begin, end = max(fault.at_ns, start_ns), min(fault.end_ns or end_ns, end_ns)
        svg.text((_LEFT - 8, y + 14), fault.subject, anchor="end")
        _bar(svg, x(begin), x(max(begin, end)), y, "#6a040f")
        svg.text((x(begin) + 4, y + 13), fault.text, 11, "white")
    values = [quantities(answer)["answer_age"] for answer in answers]
    most_ns = max([*values, 1])
    for value_ns in _ticks(most_ns):
        y_at = top + 180 - 160 * value_ns / most_ns
        svg.line((_LEFT, y_at), (WIDTH - _RIGHT, y_at), _GRID)
        svg.text((_LEFT - 8, y_at + 4), f"{value_ns / NS_PER_MS:g} ms", anchor="end")
    for answer, value_ns in _thinned(list(zip(answers, values, strict=True)), 2000):
        at = (x(answer.published_ns), top + 180 - 160 * value_ns / most_ns)
        svg.dot(at, MODE_COLORS[answer.mode], 2)
    _legend(svg, MODE_COLORS, top + 236)
    return str(svg)


def usual_stages(answers: Sequence[AnswerRow]) -> dict[tuple[str, str], int]:
    """Medians by topic and stage, for the blame."""
    found: dict[tuple[str, str], Histogram] = {}
    for answer in answers:
        for member in answer.members:
            for hop in hops(member, answer) if member.is_new else ():
                found.setdefault((member.topic, hop.stage), Histogram()).add(hop.took_ns)
    return {key: one.percentile_ns(50) or 0 for key, one in found.items()}


def _critical_ns(answer: AnswerRow) -> int:
    member = last_ready(answer)
    return 0 if member is None else answer.published_ns - member.stamp_ns


def _chart(rows: int, start_ns: int, end_ns: int) -> tuple[Svg, Callable[[float], float]]:
    height = 40 + rows * _ROW + 60
    svg = Svg(WIDTH, height)
    return svg, _axis(svg, 34, height - 56, start_ns, end_ns)


def _axis(
    svg: Svg, top: float, bottom: float, start_ns: int, end_ns: int, unit: str = "ms"
) -> Callable[[float], float]:
    """Vertical lines at round times; returns how a time becomes a place."""
    span_ns = max(end_ns - start_ns, 1)

    def x(at_ns: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (at_ns - start_ns) / span_ns

    for offset_ns in _ticks(span_ns):
        at = x(start_ns + offset_ns)
        svg.line((at, top), (at, bottom), _GRID)
        shown = offset_ns / (NS_PER_MS if unit == "ms" else NS_PER_S)
        svg.text((at, bottom + 14), f"{shown:g} {unit}", 11, "#666", "middle")
    return x


def _ticks(span_ns: float) -> list[float]:
    """About six round steps from 0 to the span."""
    raw = max(span_ns, 1) / 6
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [step * count for count in range(int(span_ns / step) + 1)]


def _steps(histogram: Histogram) -> Iterator[tuple[float, float]]:
    before = 0
    for value_ns, reached in histogram.curve():
        yield 100 * before / histogram.count, value_ns
        before = reached
    yield 100 * (1 - 0.5 / histogram.count), histogram.max_ns


def _thinned(points: list[tuple[AnswerRow, int]], most: int) -> Iterator[tuple[AnswerRow, int]]:
    """All, or the worst of each bin: outliers must not be thinned away."""
    size = max(1, math.ceil(len(points) / most))
    for begin in range(0, len(points), size):
        yield max(points[begin : begin + size], key=lambda point: point[1])


def _bar(svg: Svg, begin: float, end: float, y: float, color: str) -> None:
    svg.box((begin, y), max(end - begin, 0.5), 18, color)


def _stage_legend(svg: Svg, y: float) -> None:
    _legend(svg, STAGE_COLORS, y)


def _legend(svg: Svg, colors: Mapping[str, str], y: float) -> None:
    x = float(_LEFT)
    for name, color in colors.items():
        svg.box((x, y - 10), 12, 12, color)
        svg.text((x + 16, y), name, 11)
        x += 30 + 6.5 * len(name)
