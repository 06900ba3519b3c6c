"""A model as small as can be: every stream sees one box of its own, so that answers tell who spoke.

Box n belongs to the n-th of camera, lidar, audio, gps and has a score only if that one is present.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

YAML = """\
name: tiny
classes: [car, pedestrian, cyclist, siren_car]
thresholds: {NORMAL: 0.3, DEGRADED: 0.3, MINIMAL: 0.4, BLIND: 0.99}
box_range: {x_min_m: 0, y_min_m: -25.6, x_max_m: 51.2, y_max_m: 25.6}
camera: {onnx: camera.onnx, width: 448, height: 256, lift: {columns: 4, rows: 4, heights_m: [1]}}
lidar: {onnx: lidar.onnx}
audio: {onnx: audio.onnx}
gps: {}
fusion: {onnx: fusion.onnx}
provenance: {note: made by the tests}
"""
_ENCODERS = {
    "camera": {"image": (TensorProto.UINT8, (1, 256, 448, 3))},
    "lidar": {"raster": (TensorProto.FLOAT, (1, 16, 128, 128))},
    "audio": {
        "mel": (TensorProto.FLOAT, (1, 4, 64, 64)),
        "gcc": (TensorProto.FLOAT, (1, 6, 64, 64)),
    },
}
BOXES = np.array(
    [[8.0 * n + 8, n - 1.5, 0.8, 4.5, 1.9, 1.6, 0.1, 2.0, 0.5] for n in range(4)], np.float32
)


def write_model(folder: Path, yaml: str = YAML) -> Path:
    """The model's directory, made below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml)
    for kind, inputs in _ENCODERS.items():
        _save(folder / f"{kind}.onnx", _encoder(kind, inputs))
    _save(folder / "fusion.onnx", _fusion())
    return folder


def never_return_without_lidar(folder: Path) -> None:
    """With all streams but LiDAR, the fusion graph of the model there goes on for ever."""
    model = onnx.load(folder / "fusion.onnx")
    for node in model.graph.node:
        if node.output[0] == "scores":
            node.output[0] = "scores_at_last"
    again = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Neg", ["v"], ["w"])],
        "again",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, (1, 4)),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, (1, 4)),
        ],
    )
    model.graph.node.extend(
        [
            helper.make_node("Equal", ["present", "no_lidar"], ["alike"]),
            helper.make_node("Cast", ["alike"], ["alike_f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMin", ["alike_f"], ["is_so"], keepdims=0),
            helper.make_node("Mul", ["is_so", "very_often"], ["often"]),
            helper.make_node("Cast", ["often"], ["turns"], to=TensorProto.INT64),
            helper.make_node("Loop", ["turns", "", "scores_at_last"], ["scores"], body=again),
        ]
    )
    model.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(np.array([[1, 0, 1, 1]], np.float32), "no_lidar"),
            onnx.numpy_helper.from_array(np.array(1e18, np.float32), "very_often"),
        ]
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "fusion.onnx")


def _encoder(kind: str, inputs: dict[str, tuple[int, Sequence[int]]]) -> onnx.GraphProto:
    """Feature 0 is the mean of the first input, as float."""
    first = next(iter(inputs))
    nodes = [
        helper.make_node("Cast", [first], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], [f"{kind}_mean"]),
    ]
    given = [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()]
    given_out = [helper.make_tensor_value_info(f"{kind}_mean", TensorProto.FLOAT, (1, 1))]
    one = helper.make_tensor("one", TensorProto.INT64, [2], [1, 1])
    return helper.make_graph(nodes, kind, given, given_out, [one])


def _fusion() -> onnx.GraphProto:
    shapes = {
        "camera_mean": (1, 1),
        "lidar_mean": (1, 1),
        "audio_mean": (1, 1),
        "present": (1, 4),
        "age_s": (1, 4),
        "ego": (1, 16),
        "grid": (1, 16, 3),
        "valid": (1, 16),
    }
    nodes = [
        helper.make_node("Greater", ["present", "half"], ["here"]),
        # What each stream says, replaced by nothing where it is absent: its box is moved along z.
        helper.make_node("ReduceMean", ["valid"], ["seen_raw"], keepdims=0),
        helper.make_node("Reshape", ["seen_raw", "square"], ["seen"]),
        helper.make_node("Slice", ["ego", "at_1", "at_2", "axis_1"], ["speed"]),
        helper.make_node("Mul", ["camera_mean", "seen"], ["camera_seen"]),
        helper.make_node(
            "Concat", ["camera_seen", "lidar_mean", "audio_mean", "speed"], ["said"], axis=1
        ),
        helper.make_node("Where", ["here", "said", "nothing"], ["heard"]),
        helper.make_node("Reshape", ["heard", "column"], ["heights"]),
        helper.make_node("Mul", ["heights", "along_z"], ["lifted"]),
        helper.make_node("Add", ["base_boxes", "lifted"], ["boxes"]),
        helper.make_node("Where", ["here", "likely", "nothing"], ["scores"]),
        helper.make_node("Identity", ["kinds"], ["labels"]),
        helper.make_node("Sub", ["present", "age_s"], ["fresh"]),
        helper.make_node("Where", ["here", "fresh", "nothing"], ["weights"]),
        helper.make_node("Reshape", ["weights", "row"], ["row_weights"]),
        helper.make_node("Expand", ["row_weights", "square_4"], ["contributions"]),
        helper.make_node("Slice", ["here", "at_2", "at_3", "axis_1"], ["hears"]),
        helper.make_node("Where", ["hears", "siren_on", "siren_off"], ["siren"]),
    ]
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (1, 4, 9)),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 4)),
        helper.make_tensor_value_info("labels", TensorProto.INT32, (1, 4)),
        helper.make_tensor_value_info("contributions", TensorProto.FLOAT, (1, 4, 4)),
        helper.make_tensor_value_info("siren", TensorProto.FLOAT, (1, 3)),
    ]
    return helper.make_graph(nodes, "fusion", given, outputs, _constants())


def _constants() -> list[onnx.TensorProto]:
    floats = {
        "half": np.full((1, 1), 0.5),
        "nothing": np.zeros((1, 4)),
        "likely": np.array([[0.9, 0.8, 0.7, 0.6]]),
        "base_boxes": BOXES[None],
        "along_z": np.eye(9)[2].reshape(1, 1, 9),
        "siren_on": np.array([[0.95, 0.0, 1.0]]),
        "siren_off": np.zeros((1, 3)),
    }
    integers = {
        "at_1": [1],
        "at_2": [2],
        "at_3": [3],
        "axis_1": [1],
        "square": [1, 1],
        "column": [1, 4, 1],
        "row": [1, 1, 4],
        "square_4": [1, 4, 4],
    }
    tensors = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in floats.items()]
    tensors += [onnx.numpy_helper.from_array(np.array(a), n) for n, a in integers.items()]
    kinds = np.arange(4, dtype=np.int32)[None]
    return [*tensors, onnx.numpy_helper.from_array(kinds, "kinds")]


def _save(path: Path, graph: onnx.GraphProto) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
