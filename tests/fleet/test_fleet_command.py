import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fusion_rt.cli import app_for
from fusion_rt.commands.replay_many import EXIT_PARTIAL
from fusion_rt.errors import ConfigError, FleetError
from tests.exports.drive import write_drive


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app_for(["replay"]), ["replay", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    first = write_drive(folder / "a.mcap")
    shutil.copy(first, folder / "b.mcap")
    return folder


@pytest.mark.process
def test_a_fleet_of_logs_is_one_table_and_a_bad_one_is_named(logs: Path) -> None:
    (logs / "c.mcap").write_bytes(b"no log")
    table = logs / "table.json"
    model = ["--model", "recorded"]
    result = run(f"{logs}/*.mcap", "--table", str(table), "--jobs", "2", *model)
    assert result.exit_code == EXIT_PARTIAL
    assert "2 of 3 replays done" in result.stdout
    assert "refused: " in result.stderr
    rows = {Path(row["log"]).stem: row for row in json.loads(table.read_text())}
    assert [rows[name]["sets"] for name in "ab"] == [2, 2]
    assert rows["a"]["detections"] == 2
    assert rows["c"]["verdict"] == "refused"


def test_wrong_usage_is_a_sentence(logs: Path) -> None:
    table = str(logs / "table.json")
    with pytest.raises(FleetError, match=r"none/\*: expected logs, no file fits"):
        run(f"{logs}/none/*", "--table", table)
    with pytest.raises(FleetError, match="expected --model twice to compare, got 1"):
        run(f"{logs}/*.mcap", "--table", table, "--html", str(logs / "page.html"))
    with pytest.raises(ConfigError, match="the name of a model, found neither"):
        run(f"{logs}/*.mcap", "--table", table, "--model", "nowhere")


@pytest.mark.parametrize("option", [["--step"], ["--from", "1"], ["--json", "a.json"]])
def test_what_is_for_one_log_is_refused_for_many(logs: Path, option: list[str]) -> None:
    result = run(f"{logs}/*.mcap", *option)
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "--json are for one log with one model; cut with --slice" in said
