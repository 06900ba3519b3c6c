"""What every engine promises: checks, own outputs, taking turns, closing (with onnxruntime)."""

import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fusion_rt.engine.engine import EngineOptions
from fusion_rt.engine.open import open_engine
from fusion_rt.errors import (
    ArrayError,
    BackendMissingError,
    ConfigError,
    EngineLoadError,
    EngineRunError,
)


def save(path: Path, nodes: list, inputs: list, outputs: list, constants: tuple = ()) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def adder(tmp_path) -> Path:
    node = helper.make_node("Add", ["a", "b"], ["sum"])
    return save(
        tmp_path / "adder.onnx",
        [node],
        [floats("a", 2, 3), floats("b", 2, 3)],
        [floats("sum", 2, 3)],
    )


def ones() -> dict[str, np.ndarray]:
    return {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}


def test_says_what_goes_in_and_out(adder):
    with open_engine(adder, "onnxruntime") as engine:
        assert [str(spec) for spec in engine.inputs.values()] == ["(2, 3) float32"] * 2
        assert str(engine.outputs["sum"]) == "(2, 3) float32"


def test_own_outputs_are_the_same_arrays_at_every_call(adder):
    with open_engine(adder, "onnxruntime") as engine:
        first = engine.run(ones())["sum"]
        assert engine.run(ones())["sum"] is first


def test_fills_the_callers_outputs(adder):
    mine = {"sum": np.zeros((2, 3), np.float32)}
    with open_engine(adder, "onnxruntime") as engine:
        assert engine.run(ones(), mine) is mine
    assert (mine["sum"] == 2).all()


def test_follows_new_values_in_the_same_input_array(adder):
    inputs = ones()
    with open_engine(adder, "onnxruntime") as engine:
        engine.run(inputs)
        inputs["a"][:] = 5
        assert (engine.run(inputs)["sum"] == 6).all()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_holds_no_input_beyond_the_call(adder, backend):
    """An input may be a view of shared memory that its writer wants back."""
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    inputs = ones()
    inputs["a"].flags.writeable = False
    with open_engine(adder, backend) as engine:
        assert (engine.run(inputs)["sum"] == 2).all()
        view = weakref.ref(inputs.pop("a"))
        assert view() is None
        assert (engine.run(ones())["sum"] == 2).all()


def test_threads_with_outputs_of_their_own_do_not_mix(adder):
    wrong = []

    def work(value: float) -> None:
        inputs = {"a": np.full((2, 3), value, np.float32), "b": np.zeros((2, 3), np.float32)}
        mine = {"sum": np.zeros((2, 3), np.float32)}
        for _ in range(300):
            wrong.extend(engine.run(inputs, mine)["sum"][mine["sum"] != value])

    with open_engine(adder, "onnxruntime") as engine:
        threads = [threading.Thread(target=work, args=(float(value),)) for value in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("b", "got"),
    [
        (np.ones((3, 2), np.float32), r"\(3, 2\) float32"),
        (np.ones((2, 3)), r"\(2, 3\) float64"),
        (np.ones((3, 2), np.float32).T, r"\(2, 3\) float32 with strides \(4, 8\)"),
        (2.0, "float"),
    ],
    ids=["shape", "dtype", "layout", "no array"],
)
def test_refuses_other_inputs(adder, b, got):
    expected = rf'engine adder.onnx: "b" expects .*\(2, 3\) float32, got {got}'
    with open_engine(adder, "onnxruntime") as engine, pytest.raises(ArrayError, match=expected):
        engine.run({**ones(), "b": b})


def test_refuses_missing_and_unknown_inputs(adder):
    with open_engine(adder, "onnxruntime") as engine:
        with pytest.raises(ArrayError, match='"tensors" expects a, b, got a'):
            engine.run({"a": ones()["a"]})
        with pytest.raises(ArrayError, match='"tensors" expects a, b, got a, b, c'):
            engine.run({**ones(), "c": ones()["a"]})


def test_refuses_outputs_that_do_not_fit(adder):
    with (
        open_engine(adder, "onnxruntime") as engine,
        pytest.raises(ArrayError, match='"sum" expects'),
    ):
        engine.run(ones(), {"sum": np.zeros((2, 2), np.float32)})


def test_a_closed_engine_says_so(adder):
    engine = open_engine(adder, "onnxruntime")
    engine.close()
    engine.close()
    with pytest.raises(EngineRunError, match=r"engine adder.onnx \(onnxruntime\): is closed"):
        engine.run(ones())


def test_missing_file_names_what_is_there(adder):
    with pytest.raises(EngineLoadError, match=r"camera.onnx .*no such file; .* has adder.onnx"):
        open_engine(adder.with_name("camera.onnx"))


def test_missing_folder(tmp_path):
    with pytest.raises(EngineLoadError, match="no such file; check the path"):
        open_engine(tmp_path / "nowhere" / "camera.onnx")


@pytest.mark.parametrize("size", [0.5, 0.9])
def test_truncated_file(adder, size):
    content = adder.read_bytes()
    adder.write_bytes(content[: int(len(content) * size)])
    with pytest.raises(EngineLoadError, match="the file is damaged or no ONNX"):
        open_engine(adder, "onnxruntime")


def test_unknown_operator_is_named(tmp_path):
    path = save(
        tmp_path / "new.onnx",
        [helper.make_node("FutureOp", ["a"], ["b"])],
        [floats("a", 1)],
        [floats("b", 1)],
    )
    with pytest.raises(EngineLoadError, match=r"FutureOp.*; export it for an opset"):
        open_engine(path, "onnxruntime")


def test_open_dimensions_are_refused(tmp_path):
    path = save(
        tmp_path / "open.onnx",
        [helper.make_node("Relu", ["a"], ["b"])],
        [floats("a", "batch", 3)],
        [floats("b", "batch", 3)],
    )
    with pytest.raises(EngineLoadError, match=r"shape \['batch', 3\] with open dim.*fixed shapes"):
        open_engine(path, "onnxruntime")


def test_unknown_element_type_is_refused(tmp_path):
    text = helper.make_tensor_value_info("a", TensorProto.STRING, [1])
    out = helper.make_tensor_value_info("b", TensorProto.STRING, [1])
    path = save(tmp_path / "text.onnx", [helper.make_node("Identity", ["a"], ["b"])], [text], [out])
    with pytest.raises(EngineLoadError, match=r'"a" is a tensor\(string\); known types'):
        open_engine(path, "onnxruntime")


def test_an_output_beyond_memory_is_refused_at_load(tmp_path):
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 22, 1 << 22])
    path = save(
        tmp_path / "huge.onnx",
        [helper.make_node("Expand", ["a", "shape"], ["b"])],
        [floats("a", 1)],
        [floats("b", 1 << 22, 1 << 22)],
        (shape,),
    )
    with pytest.raises(EngineLoadError, match=r'"b" .* needs 65536.0 GiB; export a smaller'):
        open_engine(path, "onnxruntime")


def test_running_out_of_memory_inside_is_an_error_and_the_engine_lives_on(tmp_path):
    """`count` decides how much the graph needs: too much fails, little then works."""
    shape = helper.make_tensor_value_info("count", TensorProto.INT64, [1])
    path = save(
        tmp_path / "hungry.onnx",
        [
            helper.make_node("Expand", ["a", "count"], ["wide"]),
            helper.make_node("ReduceMax", ["wide"], ["b"], keepdims=0),
        ],
        [floats("a", 1), shape],
        [floats("b")],
    )
    a = np.ones(1, np.float32)
    with open_engine(path, "onnxruntime") as engine:
        with pytest.raises(EngineRunError, match=r"(?i)alloc"):
            engine.run({"a": a, "count": np.array([1 << 44])})
        assert engine.run({"a": a, "count": np.array([8])})["b"] == 1


def test_auto_says_what_it_took_and_what_not(adder, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "fusion_rt.engine.tensorrt_engine", None
    )  # as without tensorrt
    with open_engine(adder) as engine:
        assert engine.info.backend == "onnxruntime"
        assert "fastest in fp32 on a CPU; not tensorrt:" in str(engine.info)
        assert "pip install fusion_rt[tensorrt]" in str(engine.info)


def test_a_backend_that_is_not_installed_says_how_to_get_it(adder, monkeypatch):
    monkeypatch.setitem(sys.modules, "fusion_rt.engine.openvino_engine", None)
    with pytest.raises(
        BackendMissingError, match=r"openvino: .*; pip install fusion_rt\[openvino\]"
    ):
        open_engine(adder, "openvino")


def test_auto_lists_every_refusal_when_nothing_loads(adder):
    adder.write_bytes(b"no model")
    with pytest.raises(EngineLoadError, match=r"no backend loads it: .*onnxruntime.*\|.*torch"):
        open_engine(adder)


def test_unknown_backend_lists_the_known(adder):
    with pytest.raises(
        ConfigError, match="expected one of auto, tensorrt, onnxruntime, openvino, torch"
    ):
        open_engine(adder, "tflite")


def test_threads_and_spinning_reach_the_session(adder):
    options = EngineOptions(threads=2, spinning=True)
    with open_engine(adder, "onnxruntime", options) as engine:
        settings = engine._session.get_session_options()
        assert settings.intra_op_num_threads == 2
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "1"
