"""Keeps the outcomes of a fleet as one table: JSON, CSV or Parquet, a row per task."""

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import FleetError
from fusion_rt.fleet.task import Outcome, Row

SUFFIXES = (".json", ".csv", ".parquet")


def check_target(path: Path) -> None:
    """Raise FleetError before hours of work for a table that could not be written."""
    if path.suffix not in SUFFIXES:
        raise FleetError(str(path), f"expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise FleetError(str(path), f"expected the folder {path.parent}, there is none")
    if path.suffix == ".parquet":
        with from_extra("cluster"):
            import pyarrow.parquet  # noqa: F401


def write_table(outcomes: Sequence[Outcome], path: Path) -> None:
    """Replaces what was there; rows sorted by log, slice and model."""
    rows = flat_rows(outcomes)
    beside = path.with_name(path.name + ".new")
    try:
        if path.suffix == ".json":
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
        elif path.suffix == ".csv":
            _write_csv(rows, beside)
        else:
            _write_parquet(rows, beside)
        beside.replace(path)
    except OSError as error:
        raise FleetError(str(path), f"cannot be written ({error.strerror})") from error


def flat_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """One row per task: which, what came of it, and its numbers. All rows have all columns."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.row))
    return [
        {
            "log": outcome.task.slice.log,
            "start_ns": outcome.task.slice.start_ns,
            "end_ns": outcome.task.slice.end_ns,
            "model": outcome.task.model,
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "attempts": outcome.attempts,
            "worker": outcome.worker,
            **{name: outcome.row.get(name) for name in names},
        }
        for outcome in sorted(outcomes, key=_order)
    ]


def _order(outcome: Outcome) -> tuple[str, int, str]:
    part = outcome.task.slice
    return part.log, part.start_ns or 0, outcome.task.model


def _write_csv(rows: list[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0] if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(rows: list[Row], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
