import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusion_rt.cli import app_for
from fusion_rt.commands.import_ import EXIT_LOSSY
from fusion_rt.errors import FusionError
from tests.imports.recordings import STAMP_NS, Ros, real
from tests.imports.test_ros import PIXELS


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app_for(["import"]), list(arguments))
    return result.exit_code, result.stdout, result.exception


def test_the_account_is_a_table_or_json(tmp_path: Path) -> None:
    source = str(real("bags", "ros1", "embag_test.bag"))
    code, text, _ = run("import", source, "-o", str(tmp_path / "a.mcap"))
    assert code == 0
    assert "lidar/luminar_pointcloud" in text.replace("\n", "")
    code, text, _ = run("import", source, "-o", str(tmp_path / "b.mcap"), "--json")
    report = json.loads(text)
    assert report["topics"][0]["imported"] == 5


def test_a_lossy_import_has_its_own_exit_code(tmp_path: Path) -> None:
    ros = Ros(2)
    images = [ros.image(STAMP_NS, PIXELS, encoding) for encoding in ("bgr8", "16UC3")]
    source = ros.write(tmp_path / "bag", {"/i": [(STAMP_NS, image) for image in images]})
    code, text, _ = run("import", str(source), "-o", str(tmp_path / "a.mcap"))
    assert code == EXIT_LOSSY
    assert '1 x /i: encoding "16UC3"' in text
    assert "1 messages that the recording states are not in the log" in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-o", "a.txt"], "expected an output that ends in .mcap, got a.txt"),
        (["-o", "a.mcap", "--audio", "four"], "expected CHANNELSxHZ such as 4x16000, got four"),
        (["-o", "a.mcap", "--arrivals", "now"], "expected recorded or stamps, got now"),
        (["-o", "a.mcap", "--map", "x"], "expected FOREIGN=OURS"),
        (["-o", "a.mcap"], "expected a ROS 1 bag .*, got an empty file"),
    ],
)
def test_wrong_usage_is_a_sentence(
    tmp_path: Path, arguments: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.bag").touch()
    _, _, error = run("import", "none.bag", *arguments)
    assert isinstance(error, FusionError)
    with pytest.raises(FusionError, match=problem):
        raise error
    assert not (tmp_path / "a.mcap").exists()
