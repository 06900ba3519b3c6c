"""Draws two models over a fleet of logs as one HTML page that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median

import msgspec

from fusion_rt.errors import FleetError
from fusion_rt.fleet.measures import Agreement
from fusion_rt.fleet.task import Outcome, Row, Slice, Value
from fusion_rt.svg import Svg

_A, _B = "#0072b2", "#d55e00"
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid "
    "#ddd;text-align:right}td:first-child,th:first-child{text-align:left}.bad{color:#b00}"
    "svg{margin:.3em}"
)
_SIDE, _EDGE = 230, 40


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two models on one slice."""

    slice: Slice
    a: Row
    b: Row
    agreement: Agreement | None


def pairs_of(
    outcomes: Sequence[Outcome],
    models: tuple[str, str],
    agreements: Mapping[Slice, Agreement],
) -> list[Pair]:
    """The slices that both models have done, those that agree least first."""
    done = {(o.task.slice, o.task.model): o.row for o in outcomes if o.verdict == "done"}
    pairs = [
        Pair(slice=part, a=row, b=done[part, models[1]], agreement=agreements.get(part))
        for (part, model), row in done.items()
        if model == models[0] and (part, models[1]) in done
    ]
    return sorted(pairs, key=lambda pair: pair.agreement.share if pair.agreement else 1.0)


def write_report(
    outcomes: Sequence[Outcome],
    models: tuple[str, str],
    agreements: Mapping[Slice, Agreement],
    path: Path,
) -> None:
    """Replaces what was there."""
    pairs = pairs_of(outcomes, models, agreements)
    body = "\n".join(_sections(outcomes, models, pairs))
    title = f"{models[0]} and {models[1]} over {len({o.task.slice for o in outcomes})} slices"
    page = (
        f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n"
    )
    try:
        path.write_text(page)
    except OSError as error:
        raise FleetError(str(path), f"cannot be written ({error.strerror})") from error


def _sections(
    outcomes: Sequence[Outcome], models: tuple[str, str], pairs: Sequence[Pair]
) -> Iterator[str]:
    failed = [outcome for outcome in outcomes if outcome.verdict != "done"]
    counted = f"{len(pairs)} slices done by both, {len(failed)} tasks without a result."
    yield f"<p>A is <b>{escape(models[0])}</b>, B is <b>{escape(models[1])}</b>. {counted}</p>"
    if not pairs:
        yield "<p class='bad'>Nothing to compare.</p>"
    else:
        names = _numeric(pairs)
        yield _medians(pairs, names)
        yield "".join(_scatter(name, pairs) for name in names)
        yield _slices(pairs)
    if failed:
        yield _table(
            ("without a result", "model", "verdict", "reason"),
            [(str(o.task.slice), o.task.model, o.verdict, o.reason) for o in failed],
        )


def _numeric(pairs: Sequence[Pair]) -> list[str]:
    """Columns with a number everywhere, that is not the same everywhere."""
    names = [
        name
        for name in pairs[0].a
        if all(_is_number(row.get(name)) for pair in pairs for row in (pair.a, pair.b))
    ]
    return [name for name in names if len({row[name] for p in pairs for row in (p.a, p.b)}) > 1]


def _medians(pairs: Sequence[Pair], names: Sequence[str]) -> str:
    rows = []
    for name in names:
        differences = [_number(pair.b[name]) - _number(pair.a[name]) for pair in pairs]
        rows.append(
            (
                name,
                _shown(median(_number(pair.a[name]) for pair in pairs)),
                _shown(median(_number(pair.b[name]) for pair in pairs)),
                _shown(median(differences)),
                str(sum(difference > 0 for difference in differences)),
                str(sum(difference < 0 for difference in differences)),
            )
        )
    head = ("median over slices", "A", "B", "B - A", "slices higher in B", "lower in B")
    return "<h2>In numbers</h2>" + _table(head, rows)


def _slices(pairs: Sequence[Pair]) -> str:
    head = (
        "slice",
        "boxes both found",
        "matched",
        "only A",
        "only B",
        "apart, m",
        "differ most at",
    )
    rows = []
    for pair in pairs:
        one = pair.agreement
        if one is None:
            rows.append((str(pair.slice), *["-"] * 6))
            continue
        apart = "-" if one.apart_m is None else _shown(one.apart_m)
        worst = "-" if one.worst_ns is None else str(one.worst_ns)
        counts = (f"{100 * one.share:.1f} %", str(one.matched), str(one.only_a), str(one.only_b))
        rows.append((str(pair.slice), *counts, apart, worst))
    return "<h2>Slices, those that agree least first</h2>" + _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}" for name in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(value)}" for value in row) + "\n" for row in rows
    )
    return f"<table><tr>{cells}\n{lines}</table>"


def _scatter(name: str, pairs: Sequence[Pair]) -> str:
    """A dot per slice, A to the right and B upwards: off the diagonal they differ."""
    points = [(_number(pair.a[name]), _number(pair.b[name])) for pair in pairs]
    low = min(min(point) for point in points)
    span = max(max(point) for point in points) - low or 1.0
    svg = Svg(_SIDE, _SIDE)
    inner = _SIDE - 2 * _EDGE

    def place(a: float, b: float) -> tuple[float, float]:
        return _EDGE + inner * (a - low) / span, _SIDE - _EDGE - inner * (b - low) / span

    svg.line(place(low, low), place(low + span, low + span), "#bbb", dash="4 3")
    for a, b in points:
        svg.dot(place(a, b), _A if a >= b else _B, 3)
    svg.text((_EDGE, 20), name, size=13)
    svg.text((_EDGE, _SIDE - 18), _shown(low))
    svg.text((_SIDE - _EDGE, _SIDE - 18), f"A {_shown(low + span)}", anchor="end")
    svg.text((6, _EDGE + 4), "B")
    return str(svg)


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Value) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def _shown(value: float) -> str:
    return f"{value:.4g}"
