import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fusion_rt.errors import FleetError
from fusion_rt.fleet.measures import Agreement
from fusion_rt.fleet.report import write_report
from fusion_rt.fleet.table import check_target, write_table
from fusion_rt.fleet.task import Outcome, Slice, Task, slices_of, tasks_for

PARTS = [Slice(log="b.mcap"), Slice(log="a.mcap", start_ns=0, end_ns=10)]


def outcomes() -> list[Outcome]:
    done = [
        Outcome(
            task=task,
            verdict="done",
            row={"sets": 10 * n, "digest": f"<{n}>", "score": 0.5 if n else None},
            worker="host:1",
        )
        for n, task in enumerate(tasks_for(PARTS, ["one", "other"]))
    ]
    failed = Task(slice=Slice(log="c.mcap"), model="one")
    return [*done, Outcome(task=failed, verdict="failed", reason="it <died>", attempts=2)]


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json":
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return rows
    if path.suffix == ".csv":
        with path.open() as file:
            return list(csv.DictReader(file))
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `cluster`")
    table: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return table


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_every_task_is_a_row_also_those_that_failed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra `cluster`")
    check_target(path)
    write_table(outcomes(), path)
    rows = read(path)
    assert [(row["log"], row["model"], row["verdict"]) for row in rows] == [
        ("a.mcap", "one", "done"),
        ("a.mcap", "other", "done"),
        ("b.mcap", "one", "done"),
        ("b.mcap", "other", "done"),
        ("c.mcap", "one", "failed"),
    ]
    assert int(rows[0]["sets"]) == 10
    assert rows[4]["reason"] == "it <died>"
    assert rows[4]["sets"] in (None, "")
    assert not list(tmp_path.glob("*.new"))


def test_a_table_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"ends in .json, .csv, .parquet"):
        check_target(tmp_path / "a.xls")
    with pytest.raises(FleetError, match=r"expected the folder .*, there is none"):
        check_target(tmp_path / "none" / "a.csv")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(FleetError, match="cannot be written"):
        write_table(outcomes(), tmp_path / "a.csv")
    with pytest.raises(FleetError, match="cannot be written"):
        write_report([], ("one", "other"), {}, tmp_path)


def test_the_page_shows_medians_worst_slices_and_failures(tmp_path: Path) -> None:
    agreed = Agreement(
        sets=9,
        only_a_sets=0,
        only_b_sets=0,
        matched=3,
        only_a=1,
        only_b=2,
        apart_m=0.25,
        worst_ns=77,
    )
    path = tmp_path / "page.html"
    write_report(outcomes(), ("one", "other"), {PARTS[0]: agreed}, path)
    page = path.read_text()
    assert "2 slices done by both, 1 tasks without a result" in page
    assert "<td>sets<td>5<td>25<td>20<td>2<td>0" in page.replace("</td>", "")
    assert "<td>digest" not in page
    rows = page.replace("</td>", "").split("<tr>")
    first = next(row for row in rows if row.startswith("<td>b.mcap"))
    assert "66.7 %" in first
    assert "<td>77" in first
    assert "it &lt;died&gt;" in page
    assert page.count("<svg") == 1  # `score` is not a number everywhere


def test_a_page_with_nothing_to_compare_says_so(tmp_path: Path) -> None:
    write_report(outcomes()[4:], ("one", "other"), {}, tmp_path / "page.html")
    assert "Nothing to compare" in (tmp_path / "page.html").read_text()


def test_logs_are_cut_without_gap_or_overlap() -> None:
    parts = slices_of("a", 5, 30, 10)
    assert [(part.start_ns, part.end_ns) for part in parts] == [(5, 15), (15, 25), (25, 30)]
    assert slices_of("a", 5, 15, 10) == [Slice(log="a")] == slices_of("a", 5, 15, None)
    assert str(parts[0]) == "a [5, 15)"
