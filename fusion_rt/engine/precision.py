"""Before a build: the same network in fp16 or INT8, as an ONNX whose own types say so.

Strongly typed TensorRT takes precision from the graph, so each precision is a file of its own:
NAME.onnx, NAME.fp16.onnx, NAME.int8.onnx. A file that was exported by hand is used as it is.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from fusion_rt.arrays import AnyArray
from fusion_rt.engine.onnx_lint import input_names, read_onnx
from fusion_rt.errors import EngineBuildError

Precision = Literal["fp32", "fp16", "int8"]
_SOURCE = "fusion_rt.source_sha256"
# Scores, peaks and box regression lose rank order and centimetres in fp16.
_STAYS_FP32 = [*DEFAULT_OP_BLOCK_LIST, "Sigmoid", "TopK", "GatherElements", "Softmax"]
_TO_INT8 = ["Conv", "MatMul", "Gemm", "Add"]


def in_precision(path: Path, precision: Precision, calibration: Path | None = None) -> Path:
    """The ONNX beside `path` in that precision, made or made again if `path` has changed."""
    if precision == "fp32":
        return path
    target = path.with_suffix(f".{precision}.onnx")
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    if target.is_file() and _source_of(target) in (source, None):
        return target
    model = _half(path) if precision == "fp16" else _quantized(path, calibration)
    entry = model.metadata_props.add()
    entry.key, entry.value = _SOURCE, source
    temporary = target.with_suffix(".tmp")
    temporary.write_bytes(model.SerializeToString())
    temporary.replace(target)
    return target


def samples_from(path: Path, inputs: list[str]) -> Iterator[dict[str, AnyArray]]:
    """Sets of inputs in a calibration file: an .npz with (samples, ...) per input."""
    with np.load(path) as file:
        stacks = {name: file[name] for name in file.files}
    if set(stacks) != set(inputs) or len({len(stack) for stack in stacks.values()}) != 1:
        got = ", ".join(f"{name} {stack.shape}" for name, stack in stacks.items()) or "nothing"
        problem = f"expected as many samples of each of {', '.join(inputs)}, got {got}"
        raise EngineBuildError(path.name, problem, "write it with numpy.savez")
    for values in zip(*stacks.values(), strict=True):
        yield dict(zip(stacks, values, strict=True))


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # untyped base
    def __init__(self, samples: Iterator[dict[str, AnyArray]]) -> None:
        self._samples = samples

    def get_next(self) -> dict[str, AnyArray] | None:
        return next(self._samples, None)


def _source_of(path: Path) -> str | None:
    """What an ONNX of ours was made from; None: exported by hand."""
    entries = read_onnx(path).metadata_props
    return next((str(entry.value) for entry in entries if entry.key == _SOURCE), None)


def _half(path: Path) -> onnx.ModelProto:
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    half: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=_STAYS_FP32
    )
    _drop_repeated(half.graph)
    return half


def _drop_repeated(graph: onnx.GraphProto) -> None:
    """The converter casts a weight that several nodes share once for each, all of one name."""
    made: set[str] = set()
    for node in list(graph.node):
        if made.issuperset(node.output):
            graph.node.remove(node)
        made.update(node.output)


def _quantized(path: Path, calibration: Path | None) -> onnx.ModelProto:
    if calibration is None or not calibration.is_file():
        where = calibration or path.parent / "calibration" / f"{path.stem}.npz"
        way_out = f"write typical inputs to {where} (an .npz with (samples, ...) per input)"
        raise EngineBuildError(path.name, "INT8 needs a calibration set", way_out)
    inputs = input_names(read_onnx(path))
    result = path.with_suffix(".quantizing")
    quiet = logging.getLogger()  # onnxruntime's tool writes to the root logger
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        quantize_static(
            str(path),
            str(result),
            _Samples(samples_from(calibration, inputs)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_TO_INT8,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        return onnx.load(result)
    finally:
        quiet.setLevel(level)
        result.unlink(missing_ok=True)
