from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusion_rt.cli import app_for
from fusion_rt.errors import FusionError
from fusion_rt.logs.entry import entry
from fusion_rt.logs.rig import CALIBRATION_FILE, NO_RIG
from fusion_rt.logs.write import LogWriter
from tests.exports.drive import found, write_drive


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(app_for(["export"]), ["export", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def test_several_exports_at_once(tmp_path: Path) -> None:
    log = str(write_drive(tmp_path / "a.mcap"))
    out, _ = run(log, "--detections", str(tmp_path / "d.csv"), "--ros2", str(tmp_path / "bag"))
    assert f"{tmp_path / 'd.csv'}: 2 sets of detections" in out
    assert f"{tmp_path / 'bag'}: 10 messages on 9 topics" in out


def test_wrong_usage_is_a_sentence(tmp_path: Path) -> None:
    log = str(write_drive(tmp_path / "a.mcap"))
    with pytest.raises(FusionError, match="expected --detections, --ros2 or --rerun, got none"):
        run(log)
    with pytest.raises(FusionError, match="expected the topic camera/up, it holds audio/array, "):
        run(log, "--ros2", str(tmp_path / "bag"), "--topic", "camera/up")
    (tmp_path / "none.mcap").touch()
    with pytest.raises(FusionError, match=r"none.mcap: expected"):
        run(str(tmp_path / "none.mcap"), "--detections", str(tmp_path / "d.csv"))


def test_a_damaged_calibration_is_told_and_costs_only_the_places(tmp_path: Path) -> None:
    rig = type(NO_RIG)(
        name="x", digest="", files={CALIBRATION_FILE: b"7"}, frames={}, base_from={}, cameras={}
    )
    with LogWriter(tmp_path / "a.mcap", rig) as writer:
        writer.write(entry("detections/fused", found(5, 1), seq=0, sent_ns=5, recv_ns=5))
    out, err = run(str(tmp_path / "a.mcap"), "--detections", str(tmp_path / "d.json"))
    assert "1 sets" in out
    assert "the log's calibration is not used: log " in err
    assert "a.mcap: calibration.yaml: expected a mapping" in err
