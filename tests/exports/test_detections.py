import csv
import json
from pathlib import Path

import pytest

from fusion_rt.errors import ExportError
from fusion_rt.exports.detections import CSV_COLUMNS, write_detections
from fusion_rt.exports.export_log import export_detections
from fusion_rt.logs.read import LogReader
from tests.exports.drive import START_NS, write_drive


def exported(folder: Path, name: str) -> Path:
    told: list[int] = []
    with LogReader(write_drive(folder / "a.mcap")) as log:
        assert export_detections(log, folder / name, told.append) == 2
    assert told == [1, 1]
    return folder / name


def test_json_has_every_set_also_the_empty_ones(tmp_path: Path) -> None:
    one, other = json.loads(exported(tmp_path, "out.json").read_text())
    assert (one["topic"], one["stamp_ns"], one["mode"]) == (
        "detections/fused",
        START_NS,
        "DEGRADED",
    )
    assert one["mode_reasons"] == ["camera/front: silent"]
    assert one["boxes"][1] == {
        "class": "pedestrian",
        "score": 0.5,
        "x_m": 11,
        "y_m": -2,
        "z_m": 0.5,
        "length_m": 4.5,
        "width_m": 2,
        "height_m": 1.5,
        "yaw_rad": 0.5,
        "vx_mps": 3,
        "vy_mps": 0,
    }
    assert other["boxes"] == []


def test_csv_has_a_row_per_box(tmp_path: Path) -> None:
    with exported(tmp_path, "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert [(row["class"], row["score"], row["x_m"]) for row in rows] == [
        ("car", "0.9", "10.0"),
        ("pedestrian", "0.5", "11.0"),
    ]


def test_no_detections_are_an_empty_list(tmp_path: Path) -> None:
    assert write_detections([], tmp_path / "a.json") == 0
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"expected a name that ends in .json or .csv"):
        write_detections([], tmp_path / "b.txt")
    with pytest.raises(ExportError, match="cannot be written"):
        write_detections([], tmp_path / "none" / "b.csv")
