"""Before a build: which nodes of an ONNX TensorRT refuses, and what to export instead.

The rules are what TensorRT-RTX 1.7 answered to one probe per operator; full TensorRT refuses the
same or has only slow plugins for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from fusion_rt.errors import EngineBuildError

MAX_TOP_K = 3840
_SCATTERS = ("ScatterElements", "ScatterND", "Scatter")
_REFUSED = {
    "DFT": "compute the spectrum outside, or as a convolution with constant weights",
    "NonMaxSuppression": "take local peaks by MaxPool and TopK, or suppress after the engine",
    "NonZero": "keep the shape fixed: use Where with a mask",
    "Unique": "keep the shape fixed: no sets of values in the graph",
    "Det": "compute it outside and pass the result",
}
_DATA_DEPENDENT = ("If", "Loop", "Scan")


@dataclass(frozen=True)
class Finding:
    """One thing about one node (or tensor) that is refused, or (not `is_fatal`) that costs."""

    node: str
    operator: str
    problem: str
    way_out: str
    is_fatal: bool = True

    def __str__(self) -> str:
        return f'{self.operator} "{self.node}": {self.problem}; {self.way_out}'


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model of a file; weights that lie in other files are left there."""
    try:
        return onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise EngineBuildError(path.name, f"is no ONNX: {error}", "export it again") from error


def input_names(model: onnx.ModelProto) -> list[str]:
    """Inputs in order, without the weights that old exporters list among them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [tensor.name for tensor in model.graph.input if tensor.name not in weights]


def lint(model: onnx.ModelProto) -> list[Finding]:
    """All findings, the fatal ones first."""
    findings = [
        finding
        for graph in _graphs(model.graph)
        for node in graph.node
        if (finding := _about_node(node, graph))
    ]
    findings += _about_tensors(model)
    return sorted(findings, key=lambda finding: not finding.is_fatal)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _about_node(node: onnx.NodeProto, graph: onnx.GraphProto) -> Finding | None:
    name = node.name or ",".join(node.output)
    if node.op_type in _REFUSED:
        return Finding(name, node.op_type, "is refused", _REFUSED[node.op_type])
    if node.op_type in _SCATTERS and _attribute(node, "reduction", b"none") != b"none":
        way_out = "sum into cells before the engine (pillarize does), or gather instead"
        return Finding(name, node.op_type, "is refused with a reduction", way_out)
    if node.op_type == "Resize" and _attribute(node, "antialias", 0):
        return Finding(
            name, "Resize", "is refused with antialias", "export it with antialias=False"
        )
    if node.op_type == "TopK":
        return _about_top_k(name, node, graph)
    if node.op_type in _DATA_DEPENDENT:
        way_out = "unroll it at export"
        return Finding(name, node.op_type, "cannot be captured in a CUDA graph", way_out, False)
    return None


def _about_top_k(name: str, node: onnx.NodeProto, graph: onnx.GraphProto) -> Finding | None:
    count = _constant(node.input[1], graph)
    if count is None:
        return Finding(name, "TopK", "has a K that is not constant", "export it with a fixed K")
    if count > MAX_TOP_K:
        return Finding(name, "TopK", f"has K = {count}", f"export it with K <= {MAX_TOP_K}")
    return None


def _attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _constant(name: str, graph: onnx.GraphProto) -> int | None:
    for tensor in graph.initializer:
        if tensor.name == name:
            return int(numpy_helper.to_array(tensor).reshape(-1)[0])
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            value = _attribute(node, "value", None)
            if isinstance(value, onnx.TensorProto):
                return int(numpy_helper.to_array(value).reshape(-1)[0])
    return None


def _about_tensors(model: onnx.ModelProto) -> Iterator[Finding]:
    graph = model.graph
    used = {name for inner in _graphs(graph) for node in inner.node for name in node.input}
    real_inputs = input_names(model)
    for tensor in graph.input:
        if tensor.name in real_inputs:
            yield from _about_input(tensor, tensor.name in used)
            yield from _about_bytes(tensor, graph)
    for tensor in graph.output:
        yield from _about_type(tensor)
    for weight in graph.initializer:
        if weight.data_location == onnx.TensorProto.EXTERNAL:
            way_out = "export with external_data=False"
            yield Finding(weight.name, "weight", "lies in another file", way_out)


def _about_input(tensor: onnx.ValueInfoProto, is_used: bool) -> Iterator[Finding]:
    dims = tensor.type.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        yield Finding(tensor.name, "input", "has open dimensions", "export it with fixed shapes")
    if not is_used:
        yield Finding(tensor.name, "input", "is not used", "leave it out of the export", False)
    yield from _about_type(tensor)


def _about_bytes(tensor: onnx.ValueInfoProto, graph: onnx.GraphProto) -> Iterator[Finding]:
    if tensor.type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        return
    for node in graph.node:
        if tensor.name in node.input and node.op_type != "Cast":
            name = node.name or ",".join(node.output)
            yield Finding(name, node.op_type, "reads uint8", "cast to float first, then the rest")


def _about_type(tensor: onnx.ValueInfoProto) -> Iterator[Finding]:
    if tensor.type.tensor_type.elem_type == onnx.TensorProto.INT64:
        yield Finding(tensor.name, "tensor", "is int64", "cast it to int32 in the graph", False)
