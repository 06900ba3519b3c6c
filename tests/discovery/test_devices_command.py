import json

import pytest
from typer.testing import CliRunner

from fusion_rt.cli import app_for
from fusion_rt.commands import devices
from fusion_rt.discovery.found import Found, Look

CAMERA = Found(
    kind="camera",
    place="/dev/video0",
    what="Cam [bold]",
    details=tuple(f"mjpeg mode {n}" for n in range(9)),
    rig="camera/video0: {driver: v4l2, device: /dev/video0}",
)


@pytest.fixture
def _one_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "look_for_cameras", lambda: Look((CAMERA,)))
    monkeypatch.setattr(devices, "look_for_microphones", lambda: Look(problem="no PortAudio"))
    for name in ("look_for_serial_lines", "look_for_gpsd"):
        monkeypatch.setattr(devices, name, lambda: Look())


def run(*arguments: str) -> str:
    words = ["devices", *arguments]
    result = CliRunner().invoke(app_for(words), words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("_one_camera")
def test_the_table_shows_devices_their_rig_lines_and_what_was_not_looked_for() -> None:
    output = run("--listen", "0")
    assert "/dev/video0" in output
    assert "[bold]" in output
    assert "and 3 more (--json)" in output
    assert "  camera/video0: {driver: v4l2, device: /dev/video0}\n" in output
    assert "no PortAudio" in output


@pytest.mark.usefixtures("_one_camera")
def test_json_holds_everything() -> None:
    told = json.loads(run("--listen", "0", "--json"))
    assert told["problems"] == ["no PortAudio"]
    (found,) = told["devices"]
    assert found["rig"] == CAMERA.rig
    assert len(found["details"]) == 9


def test_this_very_machine_can_be_looked_at() -> None:
    assert set(json.loads(run("--listen", "0.05", "--json"))) == {"devices", "problems"}
