import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tests.tiny_model as tiny
from fusion_rt.cli import app_for
from fusion_rt.errors import ConfigError

pytest.importorskip("embreex", reason="moments are rendered: needs the extra sim")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app_for(["eval"]), ["eval", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_model_is_measured_from_every_set_of_sensors(tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "tiny")
    figures, page, card = (tmp_path / name for name in ("f.json", "page.html", "card.md"))
    options = ["--model", str(folder), "--scenes", "1", "--seed", "500002"]
    out = run(*options, "--json", str(figures), "--html", str(page))
    assert "camera+lidar+audio+gps" in out
    subsets = json.loads(figures.read_text())["subsets"]
    assert len(subsets) == 15
    assert all(isinstance(score["map_2m"], float | int) for score in subsets.values())
    assert page.read_text().startswith("<!doctype html>")
    run("--from", str(figures), "--card", str(card))
    assert "| camera+lidar+audio+gps |" in card.read_text()


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere: expected a directory with model\.yaml"):
        run("--model", "nowhere")
