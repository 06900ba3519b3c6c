"""Reads a signal or a list of events from a table, for time offsets."""

import csv
from pathlib import Path

import numpy as np

from fusion_rt.calibrate.time_offset import Signal, signal_from_events
from fusion_rt.clock import NS_PER_S
from fusion_rt.errors import CalibrationError

MAX_ROWS = 5_000_000


def read_signal(path: Path) -> Signal:
    """From a CSV with the header `stamp_ns,value` or `stamp_s,value`; without `value`: events."""
    rows = _rows(path)
    header = [name.strip() for name in rows[0]]
    if header not in (["stamp_ns", "value"], ["stamp_s", "value"], ["stamp_ns"], ["stamp_s"]):
        problem = f"expected the header stamp_ns,value, got {','.join(header)[:80]}"
        raise CalibrationError(str(path), problem, "stamp_s for seconds, no value for events")
    try:
        stamps = [_stamp_ns(row[0], header[0]) for row in rows[1:]]
        values = [float(row[1]) for row in rows[1:]] if len(header) == 2 else []
    except (ValueError, IndexError) as error:
        raise CalibrationError(str(path), f"expected numbers, got: {error}") from error
    order = np.argsort(np.array(stamps, dtype=np.int64), kind="stable")
    sorted_ns = np.array(stamps, dtype=np.int64)[order]
    if not values:
        if len(stamps) < 3:
            raise CalibrationError(str(path), f"expected 3 events, got {len(stamps)}")
        return signal_from_events(path.stem, sorted_ns)
    return Signal(name=path.stem, stamps_ns=sorted_ns, values=np.array(values)[order])


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(str(path), f"expected a table, got: {error}") from error
    if not 1 < len(rows) <= MAX_ROWS:
        raise CalibrationError(str(path), f"expected 1 to {MAX_ROWS} rows, got {len(rows)}")
    return rows


def _stamp_ns(text: str, unit: str) -> int:
    return int(text) if unit == "stamp_ns" else round(float(text) * NS_PER_S)
