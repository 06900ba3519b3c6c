from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from fusion_rt.commands.check import register
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.rig_schema import rig_schema_text


def fusion_rt(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `fusion-rt` with these arguments."""
    app = typer.Typer()
    app.callback()(lambda: None)  # with one command alone, Typer would drop its name
    register(app)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    source = tmp_path / "r.yaml"
    source.write_text("rig: test\ncalibration: none.yaml\nsensors:\n  lidar/top: {driver: x}\n")
    return source


def test_a_good_rig_is_shown_with_rates_bandwidth_and_places() -> None:
    code, out, _ = fusion_rt("check", "demo")
    assert code == 0
    (row,) = [line for line in out.splitlines() if "camera/front" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "camera/front",
        "synthetic",
        "30",
        "82.94",
        "camera_front",
        "1.85, 0.00, 1.32",
    ]
    assert "4 sensors here, 97.5 MB/s: this rig can be run" in out


def test_a_good_rig_is_told_to_scripts() -> None:
    code, out, _ = fusion_rt("check", "demo", "--json")
    told = msgspec.json.decode(out)
    assert (code, told["ok"], told["rig"]) == (0, True, "demo")
    assert told["sensors"][1]["base_from_frame"][2] == [0, 0, 1, 1.8]


def test_a_bad_rig_is_told_line_by_line_on_stderr(bad: Path) -> None:
    code, out, err = fusion_rt("check", str(bad))
    assert (code, out) == (1, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [f"{bad}:2", f"{bad}:4"]


def test_a_bad_rig_is_told_to_scripts(bad: Path) -> None:
    code, out, _ = fusion_rt("check", str(bad), "--json")
    told = msgspec.json.decode(out)
    assert (code, told["ok"]) == (1, False)
    assert told["problems"][1]["where"] == 'sensors."lidar/top".driver'
    assert told["problems"][1]["line"] == 4


def test_a_rig_that_is_not_there_is_an_error() -> None:
    code, _, err = fusion_rt("check", "demoo")
    assert code == 1
    assert "rigs that come with the package: demo" in err


def test_check_without_a_rig_is_wrong_usage() -> None:
    code, _, err = fusion_rt("check")
    assert code == 2
    assert "expected a rig file or the name of a rig" in err


def test_the_schema_is_printed_as_committed() -> None:
    assert fusion_rt("check", "--schema") == (0, rig_schema_text(), "")


def test_a_sensor_that_is_late_is_told(tmp_path: Path) -> None:
    demo = load_rig(find_rig("demo"))
    entry = "time_offsets:\n  lidar_top: {against: camera_front, offset_ms: 12.5}\n"
    (tmp_path / demo.calibration.source.name).write_bytes(demo.calibration.raw + entry.encode())
    (tmp_path / "r.yaml").write_bytes(demo.raw)
    code, out, _ = fusion_rt("check", str(tmp_path / "r.yaml"))
    assert code == 0
    assert "lidar/top: stamps are moved by -12.5 ms, as calibrated" in out
    told = msgspec.json.decode(fusion_rt("check", str(tmp_path / "r.yaml"), "--json")[1])
    late_ms = {sensor["topic"]: sensor["late_ms"] for sensor in told["sensors"]}
    assert {topic for topic, late in late_ms.items() if late} == {"lidar/top"}
