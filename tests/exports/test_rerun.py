import subprocess
import sys
from pathlib import Path

import pytest

from fusion_rt.errors import ExportError
from fusion_rt.exports.export_log import export_rerun
from fusion_rt.logs.read import LogReader
from tests.exports.drive import write_drive

pytest.importorskip("rerun", reason="needs the extra `rerun`")


def test_the_viewers_own_tool_finds_every_entity(tmp_path: Path) -> None:
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
        with pytest.raises(ExportError, match="expected a new file, it is there already"):
            export_rerun(log, path, None, lambda _: None)
        with pytest.raises(ExportError, match=r"expected the folder .*, there is none"):
            export_rerun(log, tmp_path / "none" / "a.rrd", None, lambda _: None)
    printed = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", "-v", str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout
    for topic in counts:
        assert f"/base/{topic}" in printed
