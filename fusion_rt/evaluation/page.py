"""The figures of an evaluation as one HTML file with pictures, which needs nothing else."""

import base64
from collections.abc import Sequence
from html import escape

from fusion_rt.evaluation.confidence import BINS
from fusion_rt.evaluation.result import Result
from fusion_rt.evaluation.scores import SubsetScore
from fusion_rt.evaluation.tables import Table, measured_text, tables
from fusion_rt.svg import Svg

_STYLE = """
body { font-family: sans-serif; max-width: 1200px; margin: 2em auto; color: #222 }
table { border-collapse: collapse; margin: .5em 0 } td, th { padding: .2em .7em; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f3f5f8 }
img { max-width: 100%; display: block } figure { margin: 1em 0 } p.note { color: #666 }
"""
_BLUE, _PALE, _RED = "#2a6fb5", "#b9cde3", "#c0392b"


class Shot:
    """A JPEG and what it shows."""

    def __init__(self, jpeg: bytes, caption: str) -> None:
        self.jpeg, self.caption = jpeg, caption


def html_page(result: Result, shots: Sequence[Shot] = ()) -> str:
    """The whole page."""
    title = f"{result.measured.model}: what it finds, and from which sensors"
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(measured_text(result))}</p>",
        str(subset_chart(result)),
        *(_shot(shot) for shot in shots),
        *(_table(table) for table in tables(result)),
        "<h2>What scores are worth</h2>",
        *(str(score_chart(name, result.subsets[name])) for name in _charted(result)),
        "<p class=note>Share that is right by score; on the line scores are honest. "
        "Dots are as large as their tenth is full.</p>",
    ]
    head = f"<meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def subset_chart(result: Result) -> Svg:
    """Bars of mAP at 2 m; paler, asked for what all sensors see."""
    row_px, left_px, width_px = 22, 230, 500
    svg = Svg(left_px + width_px + 90, row_px * len(result.subsets) + 40)
    for row, (name, score) in enumerate(result.subsets.items()):
        y = row * row_px + 10
        svg.text((left_px - 8, y + 13), name, 12, anchor="end")
        svg.box((left_px, y), width_px * score.map_2m, 16, _BLUE)
        svg.box((left_px, y + 11), width_px * score.map_2m_of_all, 5, _PALE)
        svg.text((left_px + width_px * score.map_2m + 6, y + 13), f"{score.map_2m:.3f}")
    bottom = row_px * len(result.subsets) + 10
    for tenth in range(0, 11, 2):
        x = left_px + width_px * tenth / 10
        svg.line((x, 8), (x, bottom), "#ccc", 1, "2 3")
        svg.text((x, bottom + 16), f"{tenth / 10:g}", 11, anchor="middle")
    return svg


def score_chart(name: str, score: SubsetScore) -> Svg:
    """Reliability: how often detections of each tenth of the scores are right."""
    side_px, left_px = 220, 40
    svg = Svg(side_px + 2 * left_px, side_px + 60)
    svg.text((left_px, 16), f"{name}: ECE {score.ece or 0:.3f}", 12)
    low, high = (left_px, 24 + side_px), (left_px + side_px, 24)
    svg.line(low, high, "#999", 1, "3 3")
    svg.line(low, (left_px + side_px, 24 + side_px), "#333")
    svg.line(low, (left_px, 24), "#333")
    most = max((each.count for each in score.bins), default=0)
    for each in score.bins:
        if each.count:
            at = (left_px + side_px * each.mean_score, 24 + side_px * (1 - each.right))
            svg.dot(at, _RED, 2 + 5 * (each.count / most) ** 0.5)
    svg.text(
        (left_px + side_px / 2, 24 + side_px + 28), f"score, in {BINS} bins", 11, "#666", "middle"
    )
    return svg


def _charted(result: Result) -> list[str]:
    """The whole rig, and each sensor alone."""
    names = list(result.subsets)
    return [
        *names[:1],
        *(n for n in names[1:] if "+" not in n and result.subsets[n].ece is not None),
    ]


def _shot(shot: Shot) -> str:
    data = base64.b64encode(shot.jpeg).decode()
    return (
        f'<figure><img alt="{escape(shot.caption)}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{escape(shot.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table>{note}"
