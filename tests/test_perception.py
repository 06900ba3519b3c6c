import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import tests.tiny_model as tiny
from fusion_rt.calibration_file import load_calibration
from fusion_rt.engine.engine import EngineOptions
from fusion_rt.errors import ArrayError, ModelError
from fusion_rt.model.ego import EGO_SIZE
from fusion_rt.perception import Mounts, Perception, open_model
from fusion_rt.rig import shipped_rigs

FRAME = np.full((720, 1280, 3), 51, np.uint8)
POINTS = np.array([[10, 0, 0, 0.5, 0], [12, 1, 0, 0.5, -0.05]], np.float32)
SOUND = np.zeros((8576, 4), np.int16)


def demo_mounts() -> Mounts:
    calibration = load_calibration(shipped_rigs()["sim"].with_name("demo.calibration.yaml"))
    return Mounts(
        pinhole=calibration.cameras["camera_front"],
        base_from_camera=calibration.base_from["camera_front"],
        base_from_lidar=calibration.base_from["lidar_top"],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def perception(folder: Path) -> Iterator[Perception]:
    with open_model(folder, demo_mounts(), "onnxruntime", EngineOptions()) as opened:
        yield opened


def encode(perception: Perception, kind: str) -> dict[str, np.ndarray]:
    if kind == "camera":
        return dict(perception.encode_camera(FRAME, "bgr8", 1280, 720))
    return dict(
        perception.encode_lidar(POINTS) if kind == "lidar" else perception.encode_audio(SOUND)
    )


SUBSETS = [
    tuple(k for n, k in enumerate(("camera", "lidar", "audio", "gps")) if bits >> n & 1)
    for bits in range(16)
]


@pytest.mark.parametrize("kinds", SUBSETS, ids=lambda kinds: "+".join(kinds) or "none")
def test_every_subset_of_streams_has_an_answer(
    perception: Perception, kinds: tuple[str, ...]
) -> None:
    features = {kind: encode(perception, kind) for kind in kinds if kind != "gps"}
    ego = np.zeros((1, EGO_SIZE), np.float32) if "gps" in kinds else None
    answer = perception.fuse(features, ego=ego)
    seen = [kind in kinds for kind in ("camera", "lidar", "audio", "gps")]
    assert (answer.scores > 0.5).tolist() == seen
    assert answer.siren is not None
    assert answer.siren[0] == pytest.approx(0.95 if "audio" in kinds else 0)


def test_features_are_the_callers_own(perception: Perception) -> None:
    first = encode(perception, "camera")["camera_mean"]
    value = first.item()
    perception.encode_camera(np.zeros_like(FRAME), "bgr8", 1280, 720)
    assert first.item() == value == pytest.approx(51, abs=1)


def test_answers_are_the_callers_own(perception: Perception) -> None:
    answer = perception.fuse({"lidar": encode(perception, "lidar")})
    perception.fuse({})
    assert answer.scores[1] == pytest.approx(0.8)


def test_an_ego_vector_and_ages_reach_the_graph(perception: Perception) -> None:
    ego = np.zeros((1, EGO_SIZE), np.float32)
    ego[0, 1] = 3
    answer = perception.fuse({}, ego=ego, ages_s={"gps": 0.25})
    assert answer.boxes[3, 2] == pytest.approx(tiny.BOXES[3, 2] + 3)
    assert answer.contributions is not None
    assert answer.contributions[0, 3] == pytest.approx(0.75)


def test_a_frame_at_another_resolution_fits_if_its_shape_does(perception: Perception) -> None:
    half = np.ascontiguousarray(FRAME[::2, ::2])
    features = perception.encode_camera(half, "bgr8", 640, 360)
    assert features["camera_mean"].item() == pytest.approx(51, abs=1)
    with pytest.raises(ArrayError, match="the sides of the calibrated 1280x720, got 640x480"):
        perception.encode_camera(np.zeros((480, 640, 3), np.uint8), "bgr8", 640, 480)
    assert perception.encode_camera(FRAME, "bgr8", 1280, 720)


def test_streams_that_are_not_mounted_are_not_taken(folder: Path) -> None:
    with open_model(folder, Mounts(), "onnxruntime") as perception:
        assert perception.kinds == ("audio", "gps")
        with pytest.raises(ModelError, match="model tiny: has no camera mounted"):
            encode(perception, "camera")
        with pytest.raises(ModelError, match="model tiny: has no LiDAR mounted"):
            encode(perception, "lidar")


def test_a_model_without_ears_refuses_sound(tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path)
    lines = tiny.YAML.splitlines(keepends=True)
    (folder / "model.yaml").write_text("".join(x for x in lines if not x.startswith("audio")))
    edit(folder, "fusion.onnx", lambda graph: give(graph, "audio_mean"))
    with (
        open_model(folder, Mounts(), "onnxruntime") as perception,
        pytest.raises(ModelError, match="has no ear"),
    ):
        perception.encode_audio(SOUND)


def give(graph: onnx.GraphProto, name: str) -> None:
    """Make an input a constant."""
    (spec,) = [each for each in graph.input if each.name == name]
    graph.input.remove(spec)
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 1), np.float32), name))


def edit(folder: Path, name: str, change: object) -> None:
    model = onnx.load(folder / name)
    assert callable(change)
    change(model.graph)
    onnx.save(model, folder / name)


def renamed_input(graph: onnx.GraphProto) -> None:
    graph.node.insert(0, onnx.helper.make_node("Identity", ["wind"], ["age_s"]))
    graph.input[4].name = "wind"


def resized_input(graph: onnx.GraphProto) -> None:
    graph.input[5].type.tensor_type.shape.dim[1].dim_value = 15


def renamed_output(graph: onnx.GraphProto) -> None:
    graph.node.append(onnx.helper.make_node("Identity", ["boxes"], ["cubes"]))
    graph.output[0].name = "cubes"


def extra_output(graph: onnx.GraphProto) -> None:
    graph.node.append(onnx.helper.make_node("Identity", ["siren"], ["horn"]))
    graph.output.append(onnx.helper.make_tensor_value_info("horn", 1, (1, 3)))


def flat_labels(graph: onnx.GraphProto) -> None:
    graph.node.append(onnx.helper.make_node("Cast", ["kinds"], ["wide"], to=7))
    (labels,) = [node for node in graph.node if node.output[0] == "labels"]
    labels.input[0] = "wide"
    graph.output[2].type.tensor_type.elem_type = 7


def encoder_output(graph: onnx.GraphProto) -> None:
    graph.node[-1].output[0] = graph.output[0].name = "mean_of_all"


def encoder_input(graph: onnx.GraphProto) -> None:
    graph.node[0].input[0] = graph.input[0].name = "picture"


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("fusion.onnx", renamed_input, '"wind" expects an input out of age_s, audio_mean'),
        ("fusion.onnx", resized_input, r'"ego" expects \(1, 16\) float32, got \(1, 15\)'),
        ("fusion.onnx", renamed_output, '"outputs" expects boxes, scores, labels, got cubes'),
        ("fusion.onnx", extra_output, '"horn" expects an output out of boxes'),
        ("fusion.onnx", flat_labels, r'"labels" expects \(1, 4\) int32, got \(1, 4\) int64'),
        ("camera.onnx", encoder_output, '"mean_of_all" expects float32 outputs called camera_'),
        ("camera.onnx", encoder_input, 'tiny: camera: "inputs" expects image, got picture'),
    ],
)
def test_graphs_that_do_not_fit_are_refused_when_opened(
    tmp_path: Path, name: str, change: object, match: str
) -> None:
    edit(tiny.write_model(tmp_path), name, change)
    with pytest.raises(ArrayError) as caught:
        open_model(tmp_path, demo_mounts(), "onnxruntime")
    assert re.search(match, str(caught.value))
