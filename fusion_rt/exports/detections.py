"""Writes the detections of a log as JSON or CSV, set by set, however long the log is."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from fusion_rt.errors import ExportError
from fusion_rt.messages import BOX_COLUMNS, Detections
from fusion_rt.transport.inbox import Received

CSV_COLUMNS = ("topic", "stamp_ns", "mode", "class", "score", *BOX_COLUMNS)
_DIGITS = 6
"""Of metres and radians: what a float32 tells apart a hundred metres off."""


def write_detections(messages: Iterable[Received], path: Path) -> int:
    """`.json`: every set, also the empty ones. `.csv`: a row per box. Returns the sets written."""
    writers = {".json": _write_json, ".csv": _write_csv}
    if path.suffix not in writers:
        raise ExportError(str(path), "expected a name that ends in .json or .csv")
    sets = (
        (received.header.topic, received.message)
        for received in messages
        if isinstance(received.message, Detections)
    )
    try:
        return writers[path.suffix](sets, path)
    except OSError as error:
        raise ExportError(str(path), f"cannot be written ({error.strerror})") from error


def boxes_of(detections: Detections) -> Iterator[dict[str, Any]]:
    """Each box as a flat row: class, score and the columns of BOX_COLUMNS."""
    for number, box in enumerate(detections.boxes.tolist()):
        label = int(detections.class_ids[number])
        yield {
            "class": detections.classes[label] if label < len(detections.classes) else str(label),
            "score": round(float(detections.scores[number]), _DIGITS),
            **{name: round(v, _DIGITS) for name, v in zip(BOX_COLUMNS, box, strict=True)},
        }


def _write_json(sets: Iterable[tuple[str, Detections]], path: Path) -> int:
    """A list, one set a line."""
    count = 0
    with path.open("wb") as file:
        for topic, detections in sets:
            row = {
                "topic": topic,
                "stamp_ns": detections.stamp_ns,
                "mode": detections.mode,
                "mode_reasons": detections.mode_reasons,
                "members": detections.members,
                "boxes": list(boxes_of(detections)),
            }
            file.write((b",\n" if count else b"[\n") + msgspec.json.encode(row))
            count += 1
        file.write(b"\n]\n" if count else b"[]\n")
    return count


def _write_csv(sets: Iterable[tuple[str, Detections]], path: Path) -> int:
    count = 0
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, CSV_COLUMNS)
        rows.writeheader()
        for topic, detections in sets:
            head = {"topic": topic, "stamp_ns": detections.stamp_ns, "mode": detections.mode}
            rows.writerows({**head, **box} for box in boxes_of(detections))
            count += 1
    return count
