"""Each operator TensorRT refuses is found, named, and comes with a way out."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fusion_rt.engine.onnx_lint import lint


def model(nodes, inputs=(("x", TensorProto.FLOAT, [4]),), constants=()) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(*value) for value in inputs]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(array, name) for name, array in constants]
    return helper.make_model(helper.make_graph(nodes, "graph", values, [out], tensors))


def node(kind: str, inputs=("x",), **attributes) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), ["out"], name=f"the_{kind}", **attributes)


def top_k(count: int) -> onnx.ModelProto:
    constants = [("k", np.array([count], np.int64))]
    return model([helper.make_node("TopK", ["x", "k"], ["out", "i"], name="best")], (), constants)


@pytest.mark.parametrize("kind", ["NonZero", "Unique", "DFT", "NonMaxSuppression", "Det"])
def test_refused_operators_are_named(kind):
    (finding,) = lint(model([node(kind)]))
    assert finding.is_fatal
    assert str(finding).startswith(f'{kind} "the_{kind}": is refused; ')


@pytest.mark.parametrize("kind", ["ScatterElements", "ScatterND"])
def test_scatter_is_refused_only_with_a_reduction(kind):
    assert not lint(model([node(kind)]))
    (finding,) = lint(model([node(kind, reduction="max")]))
    assert finding.problem == "is refused with a reduction"


def test_antialiased_resize_is_refused():
    assert not lint(model([node("Resize", mode="linear")]))
    assert lint(model([node("Resize", mode="linear", antialias=1)]))[0].is_fatal


def test_top_k_is_bounded():
    assert [f.problem for f in lint(top_k(3840)) if f.is_fatal] == []
    assert lint(top_k(3841))[0].problem == "has K = 3841"


def test_top_k_of_a_constant_node_is_read():
    k = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.array([9000])))
    best = helper.make_node("TopK", ["x", "k"], ["out", "i"])
    assert lint(model([k, best]))[0].problem == "has K = 9000"


def test_top_k_of_unknown_size_is_refused():
    inputs = (("x", TensorProto.FLOAT, [4]), ("k", TensorProto.INT64, [1]))
    best = helper.make_node("TopK", ["x", "k"], ["out", "i"])
    assert lint(model([best], inputs))[0].problem == "has a K that is not constant"


def test_nodes_inside_branches_are_found():
    inner = helper.make_graph([node("NonZero")], "then", [], [])
    branch = helper.make_node("If", ["x"], ["out"], name="if", then_branch=inner, else_branch=inner)
    problems = [(f.operator, f.is_fatal) for f in lint(model([branch]))]
    assert problems == [("NonZero", True), ("NonZero", True), ("If", False)]


def test_bytes_must_be_cast_before_anything_else():
    inputs = (("x", TensorProto.UINT8, [1, 4, 4, 3]),)
    assert not lint(model([node("Cast", to=TensorProto.FLOAT)], inputs))
    assert lint(model([node("Transpose")], inputs))[0].problem == "reads uint8"


def test_open_dimensions_unused_and_int64_inputs_are_found():
    inputs = (("x", TensorProto.FLOAT, ["batch", 3]), ("spare", TensorProto.INT64, [1]))
    found = {(f.node, f.problem, f.is_fatal) for f in lint(model([node("Relu")], inputs))}
    assert found == {
        ("x", "has open dimensions", True),
        ("spare", "is not used", False),
        ("spare", "is int64", False),
    }


def test_weights_in_another_file_are_refused():
    graph = model([node("Add", ("x", "w"))], constants=[("w", np.ones(4, np.float32))])
    graph.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert lint(graph)[0].problem == "lies in another file"
