import subprocess
import sys
from pathlib import Path

import pytest

from fusion_rt.errors import ExportError, MissingExtraError
from fusion_rt.exports.export_log import export_rerun
from fusion_rt.logs.read import LogReader
from tests.exports.drive import write_drive


def test_without_the_extra_the_way_to_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with (
        LogReader(write_drive(tmp_path / "a.mcap")) as log,
        pytest.raises(MissingExtraError, match=r'pip install "fusion_rt\[rerun\]"'),
    ):
        export_rerun(log, tmp_path / "a.rrd", None, lambda _: None)


def test_a_target_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rrd").touch()
    with LogReader(write_drive(tmp_path / "a.mcap")) as log:
        with pytest.raises(ExportError, match="expected a new file, it is there already"):
            export_rerun(log, tmp_path / "a.rrd", None, lambda _: None)
        with pytest.raises(ExportError, match=r"expected the folder .*, there is none"):
            export_rerun(log, tmp_path / "none" / "a.rrd", None, lambda _: None)


def test_the_viewers_own_tool_finds_every_entity(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs the extra `rerun`")
    path = tmp_path / "a.rrd"
    with LogReader(write_drive(tmp_path / "a.mcap")) as log:
        counts = export_rerun(log, path, None, lambda _: None)
        assert counts == {
            "camera/front": 1,
            "camera/rear": 1,
            "lidar/top": 1,
            "audio/array": 1,
            "gps/main": 1,
            "detections/fused": 2,
        }
    printed = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", "-v", str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout
    for topic in counts:
        assert f"/base/{topic}" in printed
