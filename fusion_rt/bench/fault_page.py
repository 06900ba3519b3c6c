"""The degradation matrix as a page: what each fault did to the output, in pictures and rows."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from fusion_rt.bench.fault_cases import PlacedCase
from fusion_rt.bench.fault_score import AnswerSeen, FaultRow, Seen
from fusion_rt.clock import NS_PER_S
from fusion_rt.latency.pictures import MODE_COLORS, WIDTH
from fusion_rt.report import STYLE, html_table
from fusion_rt.svg import Svg

_LEFT, _ROW = 210, 24
_BEFORE_NS = NS_PER_S
HEAD = (
    "fault", "sensors", "told after ms", "told by", "output %", "longest gap ms", "mode",
    "mAP at 2 m", "back after ms",
)  # fmt: skip


def faults_page(
    rig: str, machine: str, placed: Sequence[PlacedCase], rows: Sequence[FaultRow], seen: Seen
) -> str:
    """The whole page."""
    title = f"{rig} under faults"
    cells = [row_cells(row) for row in rows]
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}"
        f"</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>\n"
        f"<p>{len(rows)} faults in one run, answers at {seen.reference_hz:.2f} Hz before the "
        f"first. {escape(machine)}</p>\n<h2>The output through each fault</h2>\n"
        "<p class='note'>Modes of the answers, a tick for each answer; the fault is framed. "
        "Triangle: told. Ring: every sensor is in an answer again.</p>\n"
        f"{strips(placed, rows, seen)}\n<h2>In numbers</h2>\n{html_table(HEAD, cells)}"
        "</body></html>\n"
    )


def row_cells(row: FaultRow) -> tuple[str, ...]:
    """A row as text, in the order of HEAD."""
    return (
        row.fault,
        ", ".join(row.sensors),
        _number(row.detect_ms, "never"),
        row.told_by,
        f"{100 * row.output_rate:.0f}",
        _number(row.longest_gap_ms, ""),
        row.mode,
        "-" if row.map_2m is None else f"{row.map_2m:.3f}",
        _number(row.recover_ms, "not in its slot"),
    )


def strips(placed: Sequence[PlacedCase], rows: Sequence[FaultRow], seen: Seen) -> str:
    """SVG: one strip of time per case."""
    longest_ns = max(one.until_ns - one.start_ns for one in placed) + _BEFORE_NS
    svg = Svg(WIDTH, 30 + len(placed) * _ROW + 40)
    scale = (WIDTH - _LEFT - 20) / longest_ns
    for number, (one, row) in enumerate(zip(placed, rows, strict=True)):
        y, begin_ns = 16 + number * _ROW, seen.start_ns + one.start_ns - _BEFORE_NS
        svg.text((_LEFT - 8, y + 13), f"{one.case.fault} {', '.join(one.case.sensors)}", 11,
                 anchor="end")  # fmt: skip
        end_ns = seen.start_ns + one.until_ns
        answers = [answer for answer in seen.answers if begin_ns <= answer.sent_ns < end_ns]
        _strip(svg, y, answers, begin_ns, scale)
        _frame(svg, y, one, scale)
        _signs(svg, y, one, row, scale)
    bottom = 30 + len(placed) * _ROW
    for second in range(int(longest_ns / NS_PER_S) + 1):
        x = _LEFT + second * NS_PER_S * scale
        svg.text((x, bottom), f"{second - 1} s", 11, "#666", "middle")
    x = float(_LEFT)
    for mode, color in MODE_COLORS.items():
        svg.box((x, bottom + 12), 12, 12, color)
        svg.text((x + 16, bottom + 22), mode, 11)
        x += 30 + 8 * len(mode)
    return str(svg)


def _strip(svg: Svg, y: float, answers: list[AnswerSeen], begin_ns: int, scale: float) -> None:
    changes = [next(group) for _, group in groupby(answers, key=lambda a: a.message.mode)]
    ends = [one.sent_ns for one in [*changes[1:], *answers[-1:]]]
    for one, end_ns in zip(changes, ends, strict=True):
        left, width = _LEFT + (one.sent_ns - begin_ns) * scale, (end_ns - one.sent_ns) * scale
        svg.box((left, y + 4), max(width, 1), 10, MODE_COLORS[one.message.mode], 0.55)
    for answer in answers:
        x = _LEFT + (answer.sent_ns - begin_ns) * scale
        svg.line((x, y + 4), (x, y + 14), MODE_COLORS[answer.message.mode])


def _frame(svg: Svg, y: float, one: PlacedCase, scale: float) -> None:
    left = _LEFT + _BEFORE_NS * scale
    right = left + (one.end_ns - one.start_ns) * scale
    for x in (left, right):
        svg.line((x, y), (x, y + 18), "#222", 1.5)
    for edge in (y, y + 18):
        svg.line((left, edge), (right, edge), "#222")


def _signs(svg: Svg, y: float, one: PlacedCase, row: FaultRow, scale: float) -> None:
    left = _LEFT + _BEFORE_NS * scale
    if row.detect_ms is not None:
        x = left + row.detect_ms * 1e6 * scale
        svg.path([(x, y + 4), (x - 4, y - 3), (x + 4, y - 3), (x, y + 4)], "#1d3557")
    if row.recover_ms is not None:
        x = left + (one.end_ns - one.start_ns + row.recover_ms * 1e6) * scale
        svg.dot((x, y + 9), "#1d3557", 5, filled=False)


def _number(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.0f}"
