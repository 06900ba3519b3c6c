"""The offline tuner on recordings with a known answer."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.sync_scenarios import Scenario, make
from fusion_rt.commands.tune_sync import (
    Arrival,
    draw,
    rates_of,
    read_arrivals,
    register,
    rig_snippet,
    tune,
)
from fusion_rt.errors import ConfigError

MS = 1_000_000


def recorded(scenario: Scenario, seconds: float = 6) -> list[Arrival]:
    events = scenario.arrivals()
    end_ns = events[0].arrival_ns + round(seconds * 1e9)
    return [Arrival(e.stream, e.stamp_ns, e.arrival_ns) for e in events if e.arrival_ns < end_ns]


def write(path: Path, arrivals: list[Arrival]) -> Path:
    rows = [f"{a.stream},{a.stamp_ns},{a.arrival_ns}" for a in arrivals]
    path.write_text("\n".join(["stream,stamp_ns,arrival_ns", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def tuning():
    return tune(recorded(make("clean", 1)), "lidar")


def test_rates_are_found_from_the_stamps():
    rates = rates_of(recorded(make("drops", 1)))
    declared = {"camera": 30, "lidar": 10, "audio": 50, "gps": 10}
    assert rates == pytest.approx(declared, rel=0.02)


def test_a_longer_wait_never_makes_fewer_sets_complete(tuning):
    for tolerance in {trial.tolerance for trial in tuning.trials}:
        row = [trial.complete for trial in tuning.trials if trial.tolerance == tolerance]
        assert row == sorted(row)


def test_the_choice_is_complete_and_waits_no_longer_than_needed(tuning):
    assert tuning.chosen.complete >= 0.98
    assert tuning.chosen.tolerance >= 0.5  # less than half a period cannot always be met
    shorter = [t for t in tuning.trials if t.wait_ms < tuning.chosen.wait_ms]
    assert all(trial.complete < tuning.chosen.complete for trial in shorter)


def test_the_rig_snippet_states_the_choice(tuning):
    snippet = rig_snippet(tuning)
    assert f"max_wait_ms: {tuning.chosen.wait_ms}" in snippet
    assert "reference: lidar" in snippet
    assert snippet.count("rate_hz") == 4


def test_the_picture_shows_every_trial(tuning):
    picture = draw(tuning)
    assert picture.startswith("<svg")
    assert picture.count("<circle") == len(tuning.trials) + 1


def test_the_command_prints_tables_and_draws(tmp_path):
    app = typer.Typer()
    app.command("other")(lambda: None)
    register(app)
    log = write(tmp_path / "drive.csv", recorded(make("clean", 1), 2))
    picture = tmp_path / "sync.svg"
    result = CliRunner().invoke(app, ["tune-sync", str(log), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    assert "max_wait_ms:" in result.output
    assert picture.read_text().endswith("</svg>\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", r"line 1: expected stream,stamp_ns,arrival_ns, got \['a', 'b'\]"),
        ("stream,stamp_ns,arrival_ns\n", "no messages in it; record some"),
        ("stream,stamp_ns,arrival_ns\ngps,1\n", "line 2: expected a name and two integers"),
        ("stream,stamp_ns,arrival_ns\ngps,1,x\n", r"got \['gps', '1', 'x'\]"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_arrivals(path)


def test_an_unknown_reference_is_refused(tmp_path):
    app = typer.Typer()
    register(app)
    log = write(tmp_path / "drive.csv", recorded(make("clean", 1), 1))
    result = CliRunner().invoke(app, [str(log), "--reference", "radar"])
    assert isinstance(result.exception, ConfigError)
    assert "no stream 'radar'; known: " in str(result.exception)
