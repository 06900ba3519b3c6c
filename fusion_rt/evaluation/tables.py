"""The figures of an evaluation as tables, for the model card and for the page alike."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from fusion_rt.evaluation.corruptions import CORRUPTIONS
from fusion_rt.evaluation.result import Result
from fusion_rt.evaluation.scores import SubsetScore

BEGIN, END = "<!-- figures: made by fusion-rt eval --card -->", "<!-- end of figures -->"
_ABOUT = {corruption.name: corruption.about for corruption in CORRUPTIONS}
_PUBLISHED = {
    "camera": ("0.935 (63.6 of 68.0)", "0.907 (58.2 of 64.2)"),
    "lidar": ("0.574 (39.0 of 68.0)", "0.545 (35.0 of 64.2)"),
}
"""mAP on nuScenes val, by the sensor missing: MetaBEV (github.com/ChongjianGE/MetaBEV), UniBEV CNW
(github.com/tudelft-iv/UniBEV), from their tables of one checkpoint without retraining."""


class Table(msgspec.Struct, frozen=True):
    """Rows of text under a title."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def tables(result: Result) -> list[Table]:
    """All that there is to show."""
    made = [_subsets(result), _classes(result), _parts(result), _errors(result)]
    optional: list[tuple[object, Callable[[Result], Table]]] = [
        (any(score.siren for score in result.subsets.values()), _sirens),
        (result.retention, _retention),
        (result.corruptions, _corruptions),
        (result.thresholds, _thresholds),
        (result.attribution, _attribution),
    ]
    return made + [make(result) for there, make in optional if there]


def markdown(result: Result) -> str:
    """Tables as text for a page, with what was measured above them."""
    parts = [measured_text(result)]
    for table in tables(result):
        rows = [table.head, ["---"] * len(table.head), *table.rows]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(f"### {table.title}\n\n{lines}" + (f"\n\n{table.note}" if table.note else ""))
    return "\n\n".join(parts) + "\n"


def write_card(result: Result, path: Path) -> None:
    """Into a page, between the marks where it has them; else the page is these figures."""
    figures = f"{BEGIN}\n\n{markdown(result)}\n{END}"
    text = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        before, after = f"{text.rstrip()}\n\n", "\n"
    path.write_text(before + figures + after)


def measured_text(result: Result) -> str:
    measured = result.measured
    return (
        f"Model `{measured.model}` (digest {measured.digest[:12]}), run by {measured.engine}: "
        f"{measured.moments} moments of {measured.scenes} scenes, {measured.data}"
        f"{f', {measured.date}' if measured.date else ''}."
    )


def figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _has_truth(score: SubsetScore) -> bool:
    """Without a sensor that can place something, there is nothing to be asked for."""
    return any(each.truths for each in score.classes.values())


def _subsets(result: Result) -> Table:
    def row(name: str, score: SubsetScore) -> list[str]:
        values = score.map_2m, score.map_2m_of_all, score.map_nuscenes, score.ece
        return [name, *(figure(value) for value in values)]

    return Table(
        "Every set of sensors",
        ("sensors", "mAP 2 m", "mAP 2 m of all", "nuScenes mAP", "ECE"),
        [row(name, score) for name, score in result.subsets.items()],
        "mAP 2 m asks for what the sensors present see, the next column for what camera or LiDAR "
        "would see. nuScenes mAP is the mean over 0.5, 1, 2, 4 m by nuScenes' definition.",
    )


def _classes(result: Result) -> Table:
    first = next(iter(result.subsets.values()))
    head = [f"{name} ({first.classes[name].truths})" for name in result.classes]
    rows = [
        [subset, *(figure(score.classes[name].ap["2"]) for name in result.classes)]
        for subset, score in result.subsets.items()
        if _has_truth(score)
    ]
    return Table("AP at 2 m by class", ("sensors", *head), rows, "In brackets: truths asked for.")


def _parts(result: Result) -> Table:
    first = next(iter(result.subsets.values()))
    head = [f"{name} ({part.truths})" for name, part in first.parts.items()]
    rows = [
        [subset, *(figure(part.map_2m) for part in score.parts.values())]
        for subset, score in result.subsets.items()
        if _has_truth(score)
    ]
    gain, note = result.hard_gain, ""
    if gain is not None:
        note = (
            "On the hard part (night, rain, fog, beyond 30 m, or hidden by half), asked for all "
            f"that camera or LiDAR sees there, all sensors reach {gain.fused:.3f}, the best "
            f"single one ({gain.single}) {gain.best_single:.3f}: {gain.gain:+.1%}."
        )
    return Table("mAP at 2 m by distance and weather", ("sensors", *head), rows, note)


def _errors(result: Result) -> Table:
    rows = []
    for subset, score in result.subsets.items():
        if score.errors is not None:
            values = msgspec.structs.astuple(score.errors)
            rows.append([subset, *(figure(value, 2) for value in values)])
    head = ("sensors", "translation m", "scale (1 - IoU)", "orientation rad", "velocity m/s")
    return Table("Errors of what was found", head, rows, "As nuScenes takes them, at 2 m.")


def _sirens(result: Result) -> Table:
    rows = []
    for subset, score in result.subsets.items():
        if (siren := score.siren) is not None:
            shares = figure(siren.recall), figure(siren.false_alarms)
            angles = figure(siren.bearing_median_deg, 1), figure(siren.bearing_p90_deg, 1)
            rows.append([subset, f"{siren.with_siren} of {siren.moments}", *shares, *angles])
    head = ("sensors", "moments with siren", "recall", "false alarms", "bearing median deg", "p90")
    return Table("Sirens", head, rows)


def _retention(result: Result) -> Table:
    rows = [
        [
            f"without {kind}",
            figure(kept.own),
            figure(kept.of_all),
            *_PUBLISHED.get(kind, ("-", "-")),
        ]
        for kind, kept in result.retention.items()
    ]
    head = ("", "ours", "ours, asked for all", "MetaBEV on nuScenes", "UniBEV on nuScenes")
    note = (
        "What is left of the full score. Theirs is real data of six cameras and a LiDAR, ours "
        "simulated with one camera: not the same task, the same question."
    )
    return Table("Retention", head, rows, note)


def _corruptions(result: Result) -> Table:
    names = list(next(iter(result.corruptions.values())))
    clean = [result.subsets[name].map_2m if name in result.subsets else None for name in names]
    rows = [["nothing", *(figure(value) for value in clean)]]
    for corruption, by_subset in result.corruptions.items():
        cells = []
        for name, full in zip(names, clean, strict=True):
            kept = f" ({by_subset[name] / full:.0%})" if full else ""
            cells.append(f"{by_subset[name]:.3f}{kept}")
        rows.append([_ABOUT.get(corruption, corruption), *cells])
    note = "mAP at 2 m, and what that is of the clean one."
    return Table("What can be wrong", ("", *names), rows, note)


def _thresholds(result: Result) -> Table:
    rows = [[mode, figure(value, 2)] for mode, value in result.thresholds.items()]
    return Table("Where to cut scores", ("mode", "highest F1 at"), rows)


def _attribution(result: Result) -> Table:
    kinds = list(next(iter(result.attribution.values())))
    rows = [
        [name, *(f"{shares[kind]:.0%}" for kind in kinds)]
        for name, shares in result.attribution.items()
    ]
    note = "Shapley shares of the scores of right detections, over all sets of sensors."
    return Table("Which sensor it came from", ("class", *kinds), rows, note)
