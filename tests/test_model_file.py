import re
from pathlib import Path

import pytest

import tests.tiny_model as tiny
from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.model_file import find_model, load_model

HEAD = """\
name: m
classes: [car]
thresholds: {NORMAL: 0.3, DEGRADED: 0.3, MINIMAL: 0.4, BLIND: 0.5}
fusion: {onnx: fusion.onnx}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


def error_of(folder: Path, yaml: str) -> str:
    (folder / "model.yaml").write_text(yaml)
    with pytest.raises(ConfigErrors) as caught:
        load_model(folder)
    return "\n".join(str(error) for error in caught.value.errors)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("camera", "lidar", "fusion", "camera.int8"):
        (tmp_path / f"{name}.onnx").write_bytes(b"x")
    return tmp_path


def test_a_model_knows_its_streams_thresholds_and_files(folder: Path) -> None:
    model = load_model(folder)
    assert model.file.kinds == ("camera", "lidar", "audio", "gps")
    assert model.file.thresholds.of("MINIMAL") == 0.4
    assert model.path("camera") == folder / "camera.onnx"
    assert model.file.camera is not None
    assert model.file.camera.recipe.out_spec.shape == (1, 256, 448, 3)


def test_a_model_of_one_camera_is_a_model(place: Path) -> None:
    (place / "model.yaml").write_text(HEAD + "camera: {onnx: camera.onnx}\n")
    assert load_model(place).file.kinds == ("camera",)


def test_a_precision_replaces_the_graph_where_it_is_to_be_had(place: Path) -> None:
    camera = "camera: {onnx: camera.onnx, precisions: {int8: camera.int8.onnx}}\n"
    (place / "model.yaml").write_text(HEAD + camera)
    model = load_model(place)
    assert model.path("camera", "int8").name == "camera.int8.onnx"
    assert model.path("fusion", "int8").name == "fusion.onnx"


def test_the_digest_changes_with_the_weights(place: Path) -> None:
    (place / "model.yaml").write_text(HEAD + "camera: {onnx: camera.onnx}\n")
    before = load_model(place).digest
    (place / "camera.onnx").write_bytes(b"y")
    assert load_model(place).digest != before


@pytest.mark.parametrize(
    ("yaml", "match"),
    [
        (HEAD, "expected at least one of camera, lidar, audio, got none of them"),
        (HEAD + "gps: {}\n", "expected at least one of camera, lidar, audio"),
        (HEAD + "camera: {}\n", r"model.yaml:5: camera.onnx: expected text that matches .*nothing"),
        (HEAD + "camera: {onnx: ../x.onnx}\n", r"camera.onnx: expected text .*got \"../x.onnx\""),
        (HEAD + "camera: {onnx: camra.onnx}\n", r"none called camra.onnx; did you mean \"camera"),
        (HEAD + "camera: {onnx: camera.onnx, order: gbr}\n", "expected one of bgr, rgb, got"),
        (HEAD + "lidar: {onnx: lidar.onnx, raster: {cell_m: 0}}\n", "pillar grid: expected cell_m"),
        (HEAD + "audio: {onnx: a.onnx, sound: {fft_size: 500}}\n", "a power of two from 16"),
        (HEAD + "camera: {onnx: camera.onnx, lift: {rows: 0}}\n", "columns and rows from 1"),
        (HEAD + "ears: {}\n", "ears: unknown field; .*known: audio"),
        (HEAD.replace("0.5}", "1.5}"), "thresholds.BLIND: expected a number >= 0 and <= 1"),
        (HEAD.replace("BLIND: 0.5", ""), "thresholds.BLIND: expected a number .*got nothing"),
        (
            HEAD + "camera: {onnx: camera.onnx}\n"
            "box_range: {x_min_m: 1, x_max_m: 0, y_min_m: 0, y_max_m: 1}\n",
            "expected x_min_m < x_max_m and y_min_m < y_max_m, got 1, 0, 0, 1",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(place: Path, yaml: str, match: str) -> None:
    assert re.search(match, error_of(place, yaml)), error_of(place, yaml)


def test_a_model_is_found_by_path_or_by_name(folder: Path) -> None:
    assert find_model(str(folder)) == folder
    assert find_model("tiny", folder.parent) == folder
    with pytest.raises(ConfigError, match=r"nowhere: expected a directory with model\.yaml"):
        find_model("nowhere")
