"""Your own 2D detector as a model of the rig: one camera, boxes on the ground, no training.

    python examples/camera_detector.py MODEL_DIR              # with a detector of coloured things
    python examples/camera_detector.py MODEL_DIR --detector mine.onnx --classes car,pedestrian
    fusion-rt eval --model MODEL_DIR --scenes 5

A detector is an ONNX with one input, `image`: uint8 (1, H, W, 3) RGB, or float32 (1, 3, H, W) that
wants `--mean` and `--std`; and the outputs `boxes` (1, N, 4) as left, top, right, bottom in its own
pixels, `scores` (1, N) and `labels` (1, N), all of fixed shape. What it finds stands where the
bottom of its box meets the ground, which the calibration tells: the runtime hands the graph a grid
of places and where the camera sees each.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES_M = {
    "car": (4.5, 1.9, 1.6),
    "truck": (8.0, 2.5, 3.2),
    "pedestrian": (0.6, 0.6, 1.7),
    "cyclist": (1.8, 0.6, 1.7),
    "emergency": (6.0, 2.2, 2.8),
}
"""Length, width, height: all that a 2D box does not say."""
LIFT = {"x_min_m": 0.0, "y_min_m": -25.6, "cell_m": 0.4, "columns": 128, "rows": 128}
OPSET = helper.make_opsetid("", 20)
FAR = 1e4  # of a place that the camera does not see
REACH = 0.1  # of the picture: a box whose bottom is farther from every place stands on no ground


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", type=Path)
    parser.add_argument(
        "--classes", default="car", help="of its labels, in order, joined by commas"
    )
    parser.add_argument("--mean", default="0,0,0", help="of 0..255 values; float32 inputs only")
    parser.add_argument("--std", default="255,255,255")
    args = parser.parse_args()
    detector = onnx.load(args.detector) if args.detector else coloured_things()
    write_model(args.folder, detector, args.classes.split(","), args.mean, args.std)
    print(f"{args.folder}: try fusion-rt eval --model {args.folder} --scenes 5")


def write_model(
    folder: Path,
    detector: onnx.ModelProto,
    classes: list[str],
    mean: str = "0,0,0",
    std: str = "255,255,255",
) -> None:
    """model.yaml, the detector as the camera's encoder, and the graph that puts boxes down."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = detector.graph.input[0].type.tensor_type
    is_float = spec.elem_type == TensorProto.FLOAT
    shape = [dim.dim_value for dim in spec.shape.dim]
    height, width = shape[2:4] if is_float else shape[1:3]
    boxes = next(out for out in detector.graph.output if out.name == "boxes")
    count = boxes.type.tensor_type.shape.dim[1].dim_value
    onnx.save(renamed(detector, count), folder / "camera.onnx")
    onnx.save(on_the_ground(count, width, height, classes), folder / "fusion.onnx")
    values = f", planar: true, mean: [{mean}], std: [{std}]" if is_float else ""
    lift = ", ".join(f"{name}: {value}" for name, value in LIFT.items())
    (folder / "model.yaml").write_text(
        "name: camera_detector\n"
        f"classes: [{', '.join(classes)}]\n"
        "thresholds: {NORMAL: 0.4, DEGRADED: 0.4, MINIMAL: 0.4, BLIND: 0.9}\n"
        "box_range: {x_min_m: 0, y_min_m: -25.6, x_max_m: 51.2, y_max_m: 25.6}\n"
        f"camera: {{onnx: camera.onnx, width: {width}, height: {height}{values},\n"
        f"  lift: {{{lift}, heights_m: [0.0]}}}}\n"
        "fusion: {onnx: fusion.onnx}\n"
    )


def renamed(detector: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """The detector with outputs as the door wants them: float32, names starting `camera_`."""
    model = onnx.ModelProto()
    model.CopyFrom(detector)
    shapes = {"boxes": (1, count, 4), "scores": (1, count), "labels": (1, count)}
    del model.graph.output[:]
    for name, shape in shapes.items():
        node = helper.make_node("Cast", [name], [f"camera_{name}"], to=TensorProto.FLOAT)
        model.graph.node.append(node)
        model.graph.output.append(floats(f"camera_{name}", *shape))
    onnx.checker.check_model(model)
    return model


def on_the_ground(count: int, width: int, height: int, classes: list[str]) -> onnx.ModelProto:
    """2D boxes -> boxes in `base`: each stands at the place that the camera sees nearest to the
    middle of its bottom."""
    places = ground_places()
    sizes = np.array([SIZES_M[name] for name in classes])
    constants = {
        "half": 0.5,
        "none": 0.0,
        "far": FAR,
        "reach": REACH**2,
        "to_grid": np.array([2 / width, 2 / height]),
        "edge": 1 - np.array([1 / width, 1 / height]),
        "places": places,
        "sizes": sizes,
        "middles": sizes[:, 2:] / 2,
        "still": np.zeros((1, count, 3)),
    }
    integers = {"n0": [0], "n1": [1], "n2": [2], "n3": [3], "n4": [4]}
    nodes = [
        helper.make_node("Slice", ["present", "n0", "n1", "n1"], ["camera"]),
        helper.make_node("Greater", ["camera", "half"], ["is_there"]),
        helper.make_node("Unsqueeze", ["is_there", "n1"], ["is_there_3"]),
        # What an absent camera left in its buffers must not count, whatever it is.
        helper.make_node("Where", ["is_there_3", "camera_boxes", "none"], ["found"]),
        helper.make_node("Where", ["is_there", "camera_scores", "none"], ["sure"]),
        helper.make_node("Where", ["is_there", "camera_labels", "none"], ["kinds"]),
        # Middle of the bottom, -1..1 over the picture as GridSample counts.
        helper.make_node("Slice", ["found", "n0", "n3", "n2", "n2"], ["sides"]),
        helper.make_node("ReduceMean", ["sides", "n2"], ["middle_u"], keepdims=1),
        helper.make_node("Slice", ["found", "n3", "n4", "n2"], ["bottom_v"]),
        helper.make_node("Concat", ["middle_u", "bottom_v"], ["foot_px"], axis=2),
        helper.make_node("Mul", ["foot_px", "to_grid"], ["foot_2"]),
        helper.make_node("Sub", ["foot_2", "edge"], ["foot"]),
        # Squared distance to where each place is seen; the nearest takes it.
        helper.make_node("Slice", ["grid", "n0", "n2", "n2"], ["uv"]),
        helper.make_node("Unsqueeze", ["uv", "n1"], ["uv_4"]),
        helper.make_node("Unsqueeze", ["foot", "n2"], ["foot_4"]),
        helper.make_node("Sub", ["uv_4", "foot_4"], ["apart"]),
        helper.make_node("ReduceSumSquare", ["apart", "n3"], ["apart_2"], keepdims=0),
        helper.make_node("Greater", ["valid", "half"], ["is_seen"]),
        helper.make_node("Unsqueeze", ["is_seen", "n1"], ["is_seen_3"]),
        helper.make_node("Where", ["is_seen_3", "apart_2", "far"], ["cost"]),
        helper.make_node("ArgMin", ["cost"], ["nearest"], axis=2, keepdims=0),
        helper.make_node("ReduceMin", ["cost", "n2"], ["least"], keepdims=0),
        helper.make_node("Less", ["least", "reach"], ["stands"]),
        helper.make_node("Where", ["stands", "sure", "none"], ["scores"]),
        helper.make_node("Cast", ["kinds"], ["labels"], to=TensorProto.INT32),
        # The box: place, half its height, the size of its class, no turn, no speed.
        helper.make_node("Gather", ["places", "nearest"], ["xy"]),
        helper.make_node("Gather", ["middles", "labels"], ["z"]),
        helper.make_node("Gather", ["sizes", "labels"], ["size"]),
        helper.make_node("Concat", ["xy", "z", "size", "still"], ["boxes"], axis=2),
    ]
    given = [
        floats("camera_boxes", 1, count, 4),
        floats("camera_scores", 1, count),
        floats("camera_labels", 1, count),
        floats("present", 1, 4),
        floats("grid", 1, len(places), 3),
        floats("valid", 1, len(places)),
    ]
    answer = [
        floats("boxes", 1, count, 9),
        floats("scores", 1, count),
        helper.make_tensor_value_info("labels", TensorProto.INT32, (1, count)),
    ]
    tensors = [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in constants.items()
    ]
    tensors += [
        numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()
    ]
    graph = helper.make_graph(nodes, "on_the_ground", given, answer, tensors)
    return checked(graph)


def ground_places() -> np.ndarray:
    """(places, 2) metres in `base`: the grid's, in the order of its coordinates."""
    x = LIFT["x_min_m"] + (np.arange(LIFT["columns"]) + 0.5) * LIFT["cell_m"]
    y = LIFT["y_min_m"] + (np.arange(LIFT["rows"]) + 0.5) * LIFT["cell_m"]
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def coloured_things(count: int = 8) -> onnx.ModelProto:
    """A detector of saturated colours, for want of a better one: it shows the way, not the cars.

    Boxes are 24 x 16 pixels; where several touch, only the strongest of a neighbourhood stays.
    """
    height, width, stride = 256, 448, 8
    rows, columns = height // stride, width // stride
    y, x = (np.mgrid[:rows, :columns].reshape(2, -1) + 0.5) * stride
    boxes = np.stack([x - 12, y - 8, x + 12, y + 8], axis=1)
    constants = {"scale": np.array(1 / 255), "cells": boxes, "nothing": np.array(0.0)}
    integers = {
        "count": [count],
        "colours": [3],
        "flat": [1, rows * columns],
        "picture": [1, 1, height, width],
    }
    pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["levels", "colours"], ["high"], keepdims=0),
        helper.make_node("ReduceMin", ["levels", "colours"], ["low"], keepdims=0),
        helper.make_node("Sub", ["high", "low"], ["chroma_0"]),
        helper.make_node("Mul", ["chroma_0", "scale"], ["chroma_3"]),
        helper.make_node("Reshape", ["chroma_3", "picture"], ["chroma"]),
        helper.make_node("AveragePool", ["chroma"], ["heat"], **pool),
        helper.make_node("MaxPool", ["heat"], ["tops"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Less", ["heat", "tops"], ["is_lower"]),
        helper.make_node("Where", ["is_lower", "nothing", "heat"], ["peaks"]),
        helper.make_node("Reshape", ["peaks", "flat"], ["peaks_flat"]),
        helper.make_node("TopK", ["peaks_flat", "count"], ["scores", "at"]),
        helper.make_node("Gather", ["cells", "at"], ["boxes"]),
        helper.make_node("Mul", ["scores", "nothing"], ["labels"]),
    ]
    given = [helper.make_tensor_value_info("image", TensorProto.UINT8, (1, height, width, 3))]
    found = [floats("boxes", 1, count, 4), floats("scores", 1, count), floats("labels", 1, count)]
    tensors = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items()]
    tensors += [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in integers.items()]
    return checked(helper.make_graph(nodes, "coloured_things", given, found, tensors))


def floats(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def checked(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[OPSET], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    main()
