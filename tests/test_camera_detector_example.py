import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fusion_rt.engine.onnx_lint import lint
from fusion_rt.perception import Answer, Mounts, Perception, open_model
from fusion_rt.rig import find_rig, load_rig

EXAMPLE = Path(__file__).parents[1] / "examples" / "camera_detector.py"
PAGE = Path(__file__).parents[1] / "docs" / "bring_your_model.md"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("camera_detector", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mounts() -> Mounts:
    calibration = load_rig(find_rig("sim")).calibration
    return Mounts(
        pinhole=calibration.cameras["camera_front"],
        base_from_camera=calibration.base_from["camera_front"],
    )


def picture(places_m: list[tuple[float, float]]) -> np.ndarray:
    """A grey street with something red whose lower edge is seen at each place."""
    rig = mounts()
    assert rig.pinhole is not None
    assert rig.base_from_camera is not None
    image = np.full((rig.pinhole.height, rig.pinhole.width, 3), 110, np.uint8)
    for x, y in places_m:
        there = rig.base_from_camera.inverse().apply(np.array([[x, y, 0.0]]))
        u, v = rig.pinhole.project(there)[0].round().astype(int).tolist()
        cv2.rectangle(image, (u - 34, v - 45), (u + 34, v), (0, 0, 255), -1)
    return image


def answer(perception: Perception, image: np.ndarray) -> Answer:
    height, width = image.shape[:2]
    return perception.fuse({"camera": perception.encode_camera(image, "bgr8", width, height)})


def test_the_command_makes_a_model_that_opens(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    subprocess.run([sys.executable, str(EXAMPLE), str(folder)], check=True, capture_output=True)
    with open_model(folder, mounts()) as perception:
        assert perception.kinds == ("camera",)


def test_the_page_shows_the_model_file_that_the_example_writes(tmp_path: Path) -> None:
    module = example()
    module.write_model(tmp_path, module.coloured_things(), ["car"])
    shown = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    lines = [line.partition("#")[0].rstrip() for line in shown.splitlines()]
    assert lines == (tmp_path / "model.yaml").read_text().splitlines()


def test_what_the_detector_sees_stands_on_the_ground_where_it_is(tmp_path: Path) -> None:
    module = example()
    module.write_model(tmp_path, module.coloured_things(), ["car"])
    places = [(14.0, 3.0), (20.0, -5.0)]
    with open_model(tmp_path, mounts()) as perception:
        found = answer(perception, picture(places))
        sure = found.boxes[found.scores > 0.4]
        assert len(sure) >= len(places)
        for place in places:
            apart_m = np.linalg.norm(sure[:, :2] - place, axis=1)
            assert apart_m.min() < 0.15 * place[0]  # a pixel is that much there
        assert sure[0, 2:7] == pytest.approx([0.8, 4.5, 1.9, 1.6, 0])
        assert answer(perception, picture([])).scores.max() < 0.4


def test_what_stands_on_no_ground_is_not_believed(tmp_path: Path) -> None:
    module = example()
    module.write_model(tmp_path, module.coloured_things(), ["car"])
    sky = picture([])
    cv2.rectangle(sky, (600, 40), (680, 110), (0, 0, 255), -1)
    with open_model(tmp_path, mounts()) as perception:
        assert answer(perception, sky).scores.max() < 0.4


def test_without_a_picture_nothing_is_found_whatever_its_buffers_hold(tmp_path: Path) -> None:
    module = example()
    module.write_model(tmp_path, module.coloured_things(), ["car"])
    with open_model(tmp_path, mounts()) as perception:
        engine = perception.engines["fusion"]
        empty = {n: np.zeros(spec.shape, spec.dtype) for n, spec in engine.inputs.items()}
        poison = {n: np.full(spec.shape, np.nan, spec.dtype) for n, spec in engine.inputs.items()}
        poison |= {name: empty[name] for name in ("present", "grid", "valid")}
        expected = {name: array.copy() for name, array in engine.run(empty).items()}
        got = engine.run(poison)
        assert not got["scores"].any()
        assert all(np.array_equal(got[name], expected[name]) for name in expected)


def fixed_detector() -> onnx.ModelProto:
    """One of another make: float32 planar in, int64 labels out, always the same two boxes."""
    boxes = np.array([[[60, 50, 100, 75], [10, 50, 30, 75]]], np.float32)
    tensors = [
        numpy_helper.from_array(boxes, "fixed_boxes"),
        numpy_helper.from_array(np.array([[0.9, 0.8]], np.float32), "fixed_scores"),
        numpy_helper.from_array(np.array([[1, 0]], np.int64), "labels_0"),
        numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["fixed_boxes", "nothing"], ["boxes"]),
        helper.make_node("Add", ["fixed_scores", "nothing"], ["scores"]),
        helper.make_node("Identity", ["labels_0"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 90, 160))],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (1, 2, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 2)),
            helper.make_tensor_value_info("labels", TensorProto.INT64, (1, 2)),
        ],
        tensors,
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def test_a_detector_of_another_make_fits_too(tmp_path: Path) -> None:
    onnx.save(fixed_detector(), tmp_path / "mine.onnx")
    folder = tmp_path / "model"
    options = ["--detector", str(tmp_path / "mine.onnx"), "--classes", "car,pedestrian"]
    arguments = [sys.executable, str(EXAMPLE), str(folder), *options]
    subprocess.run(arguments, check=True, capture_output=True)
    with open_model(folder, mounts()) as perception:
        found = answer(perception, picture([]))
        assert found.labels.tolist() == [1, 0]
        assert found.scores == pytest.approx([0.9, 0.8])
        assert found.boxes[0, 3:6] == pytest.approx([0.6, 0.6, 1.7])
        assert found.boxes[0, 1] == pytest.approx(0, abs=0.3)  # the middle of the picture
        assert found.boxes[1, 1] > 1  # left of it


def test_tensorrt_takes_the_graphs(tmp_path: Path) -> None:
    module = example()
    module.write_model(tmp_path, module.coloured_things(), ["car"])
    for path in sorted(tmp_path.glob("*.onnx")):
        assert not [one for one in lint(onnx.load(path)) if one.is_fatal], path.name
