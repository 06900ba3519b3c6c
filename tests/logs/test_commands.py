"""`fusion-rt info` and `recover`, as a script and as a person see them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fusion_rt.cli import app_for
from fusion_rt.errors import LogError
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.rig import find_rig, load_rig
from tests.logs.messages import fix


def run(*arguments: str | Path) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app_for(words), words, catch_exceptions=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with LogWriter(tmp_path / "a.mcap", logged_rig(load_rig(find_rig("demo")))) as log:
        for number in range(11):
            log.write(fix(number))
            log.flush()
    return tmp_path / "a.mcap"


@pytest.fixture
def cut(log: Path) -> Path:
    log.with_name("cut.mcap").write_bytes(log.read_bytes()[:-4000])
    return log.with_name("cut.mcap")


def test_info_says_what_is_there(log: Path) -> None:
    result = run("info", log)
    assert result.exit_code == 0
    assert "1.000 s, rig demo, fusion_rt" in result.stdout
    assert result.stdout.splitlines()[2].split()[:3] == ["gps/main", "11", "11.0"]


def test_info_for_scripts_says_the_same(log: Path) -> None:
    info = json.loads(run("info", log, "--json", "--check").stdout)
    assert info["streams"]["gps/main"]["messages"] == 11
    assert info["about"]["rig"] == "demo"
    assert info["is_finished"]


def test_info_of_an_unfinished_log_names_the_way_out(cut: Path) -> None:
    result = run("info", cut)
    assert result.exit_code == 3
    assert "never finished: `fusion-rt recover`" in result.stdout
    assert "ends inside the record" in result.stdout


def test_recover_states_what_was_lost(cut: Path) -> None:
    result = run("recover", cut)
    assert result.exit_code == 3
    assert "the log was never finished" in result.stdout
    assert "gps/main ends 0.000 s before" in result.stdout
    again = run("recover", cut.with_name("cut.recovered.mcap"), "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["was_finished"]


def test_recover_overwrites_nothing(log: Path) -> None:
    result = run("recover", log, "-o", log)
    assert isinstance(result.exception, LogError)
    assert "it is there already" in str(result.exception)
