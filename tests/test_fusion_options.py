import re
from pathlib import Path

import pytest

import tests.fusion_world as world
import tests.tiny_model as tiny
from fusion_rt.errors import ConfigErrors
from fusion_rt.rig import load_rig

TWO_CAMERAS = world.SYNTHETIC + "  camera/rear: {driver: synthetic, frame: camera_front}\n"


def written(folder: Path, fusion: str, sensors: str = "") -> Path:
    path = world.write_rig(folder, sensors)
    path.write_text(re.sub(r"fusion: .*", f"fusion: {fusion}", path.read_text()))
    return path


def test_a_rig_s_fusion_is_planned_from_model_and_sensors(tmp_path: Path) -> None:
    plan = load_rig(written(tmp_path, "{model: tiny, tolerance_ms: {camera: 20}}")).fusion
    assert plan is not None
    assert plan.reference == "lidar/top"
    assert Path(plan.model) == tmp_path / "tiny"
    assert [(s.topic, s.match, s.tolerance_ns // 10**6) for s in plan.streams] == [
        ("camera/front", "nearest", 20),
        ("lidar/top", "nearest", 60),
        ("audio/array", "at_hand", 300),
        ("gps/main", "at_hand", 1000),
    ]


def test_a_rig_without_a_lidar_answers_its_camera(tmp_path: Path) -> None:
    lines = world.SYNTHETIC.splitlines(keepends=True)
    plan = load_rig(written(tmp_path, "{model: tiny}", "".join(lines[:1]))).fusion
    assert plan is not None
    assert plan.reference == "camera/front"


def test_one_of_two_cameras_is_chosen(tmp_path: Path) -> None:
    fusion = "{model: tiny, streams: {camera: camera/rear}, reference: tick}"
    plan = load_rig(written(tmp_path, fusion, TWO_CAMERAS)).fusion
    assert plan is not None
    assert plan.topic_of("camera") == "camera/rear"
    assert plan.reference is None


@pytest.mark.parametrize(
    ("fusion", "sensors", "match"),
    [
        ("{model: nowhere}", "", r"fusion\.model: expected a directory with model\.yaml or"),
        ("{model: tiny, precision: int4}", "", 'expected a precision of tiny, got "int4"'),
        ("{model: tiny, precision: bf16}", "", 'expected backend "openvino" with precision "bf16"'),
        ("{model: tiny}", TWO_CAMERAS, "expected one camera for the model, the rig has camera/fr"),
        ("{model: tiny, streams: {camera: camera/x}}", "", "expected a camera topic of this rig"),
        ("{model: tiny, reference: camera/x}", "", "expected a fused topic or tick, got camera/x"),
        ("{model: tiny}", "  gps/main: {driver: synthetic}\n", "expected a sensor that the model"),
        ("{model: tiny, max_wait_ms: 0}", "", "expected a whole number >= 1 and <= 10000 ms"),
    ],
)
def test_what_cannot_be_fused_is_said(
    tmp_path: Path, fusion: str, sensors: str, match: str
) -> None:
    with pytest.raises(ConfigErrors, match=match):
        load_rig(written(tmp_path, fusion, sensors))


def test_a_damaged_model_is_told_with_its_own_file_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, "{model: tiny}")
    (tmp_path / "tiny" / "model.yaml").write_text(tiny.YAML.replace("lidar.onnx", "gone.onnx"))
    with pytest.raises(ConfigErrors, match=r"fusion\.model: .*model\.yaml:6: lidar\.onnx: expec"):
        load_rig(path)
