"""From ONNX to plans for GPUs that are not here: conversions, builds, cache, and the command."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the networks are exported from torch")
trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")

from fusion_rt.commands import build  # noqa: E402
from fusion_rt.engine import model_build, plan_builder, tensorrt_engine  # noqa: E402
from fusion_rt.engine.parity import parity  # noqa: E402
from fusion_rt.engine.plan_cache import PlanCache  # noqa: E402
from fusion_rt.engine.precision import in_precision, samples_from  # noqa: E402
from fusion_rt.errors import BackendMissingError, EngineBuildError, MissingExtraError  # noqa: E402
from fusion_rt.gpu.device import CudaDevice  # noqa: E402
from tests.cuda_emulation import EmulatedDriver  # noqa: E402
from tests.engine_graphs import GRAPHS  # noqa: E402

TARGETS = ["sm_86", "sm_89", "sm_120"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's exporter uses its own past
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "calibration").mkdir()
    for name, graph in GRAPHS.items():
        graph.export(folder)
        samples = [graph.arrays(seed) for seed in range(4)]
        stacks = {key: np.stack([sample[key] for sample in samples]) for key in graph.inputs}
        np.savez(folder / "calibration" / f"{name}.npz", **stacks)
    return folder


@pytest.fixture
def models(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "models"))


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", GRAPHS)
def test_builds_for_gpus_that_are_not_here(models, name, precision):
    samples = models / "calibration" / f"{name}.npz"
    path = in_precision(models / f"{name}.onnx", precision, samples)
    plan = plan_builder.build_plan(trt, path.name, path.read_bytes(), TARGETS)
    assert len(plan) > 10_000


def test_fp16_is_in_the_graph_and_scores_stay_fp32(models):
    path = in_precision(models / "top_k_decode.onnx", "fp16")
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    assert TensorProto.FLOAT16 in types.values()
    for node in graph.node:
        if node.op_type in ("Sigmoid", "TopK"):
            assert types[node.input[0]] == TensorProto.FLOAT


def test_int8_is_explicit_in_the_graph_with_plain_biases(models):
    samples = models / "calibration" / "conv_net.npz"
    path = in_precision(models / "conv_net.onnx", "int8", samples)
    assert operators(path).count("QuantizeLinear") >= 3
    graph = onnx.load(path).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    biases = [node.input[2] for node in graph.node if node.op_type == "Conv"]
    assert {types[name] for name in biases} == {TensorProto.FLOAT}


@pytest.mark.parametrize(("precision", "most"), [("fp16", 2e-3), ("int8", 0.05)])
@pytest.mark.parametrize("name", ["conv_net", "grid_sample_lift", "masked_fusion"])
def test_conversions_stay_near_fp32(models, name, precision, most):
    original, samples = models / f"{name}.onnx", models / "calibration" / f"{name}.npz"
    inputs = list(samples_from(samples, list(GRAPHS[name].inputs)))
    (result,) = parity(original, in_precision(original, precision, samples), inputs)
    assert 0 < result.relative < most
    assert result.cosine > 0.999


def test_a_conversion_is_made_again_when_the_original_changes(models):
    path = models / "conv_net.onnx"
    first = in_precision(path, "fp16").stat().st_mtime_ns
    assert in_precision(path, "fp16").stat().st_mtime_ns == first
    model = onnx.load(path)
    model.producer_name = "changed"
    onnx.save(model, path)
    assert in_precision(path, "fp16").stat().st_mtime_ns != first


def test_a_conversion_made_by_hand_is_kept(models):
    by_hand = models / "conv_net.fp16.onnx"
    shutil.copy(models / "grid_sample_lift.onnx", by_hand)
    content = by_hand.read_bytes()
    assert in_precision(models / "conv_net.onnx", "fp16").read_bytes() == content


def test_int8_without_a_calibration_set_says_where_to_put_it(models):
    with pytest.raises(
        EngineBuildError, match=r"needs a calibration set; .*calibration/conv_net.npz"
    ):
        in_precision(models / "conv_net.onnx", "int8")


def test_a_calibration_set_of_other_inputs_is_refused(models):
    wrong = models / "calibration" / "wrong.npz"
    np.savez(wrong, picture=np.zeros((4, 3)))
    with pytest.raises(EngineBuildError, match=r"samples of each of image, got picture \(4, 3\)"):
        in_precision(models / "conv_net.onnx", "int8", wrong)


def test_a_refused_operator_that_got_past_the_lint_is_named():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    out = helper.make_tensor_value_info("out", TensorProto.INT64, None)
    node = helper.make_node("NonZero", ["x"], ["out"], name="where_is_it")
    model = helper.make_model(
        helper.make_graph([node], "graph", [x], [out]),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    with pytest.raises(EngineBuildError, match=r"build bad.onnx: .*(NonZero|where_is_it)"):
        plan_builder.build_plan(trt, "bad.onnx", model.SerializeToString(), TARGETS)


@pytest.mark.parametrize(("targets", "what"), [(["sm_87", "sm_86"], "sm_87"), ([], "no target")])
def test_unknown_targets_list_the_known(models, targets, what):
    content = (models / "conv_net.onnx").read_bytes()
    problem = rf"cannot build for {what}; it knows sm_75, .*sm_120.*; build others on the device"
    with pytest.raises(EngineBuildError, match=problem):
        plan_builder.build_plan(trt, "conv_net.onnx", content, targets)


def test_progress_is_reported_to_the_end(models):
    seen = []
    content = (models / "masked_fusion.onnx").read_bytes()
    plan_builder.build_plan(
        trt, "m", content, ["sm_86"], lambda phase, step, steps: seen.append((phase, step, steps))
    )
    assert seen
    last = {phase: (step, steps) for phase, step, steps in seen}
    assert all(step == steps for step, steps in last.values())


def test_a_missing_library_says_how_to_get_it():
    with pytest.raises(BackendMissingError, match=r"tensorrt: tensorrt_none: .*; pip install"):
        plan_builder.import_tensorrt("tensorrt_none")


def command() -> typer.Typer:
    app = typer.Typer()
    build.register(app)
    return app


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(command(), [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_command_builds_all_then_finds_all_in_the_cache(models, tmp_path):
    (models / "top_k_decode.onnx").unlink()
    arguments = [models, "--target", "sm_86", "--precision", "fp16", "--cache", tmp_path / "cache"]
    code, output = run(*arguments, "--json")
    assert code == 0
    built = json.loads(output[output.index("[{") :])
    plans = [plan for entry in built for plan in entry["plans"]]
    assert [(plan["target"], plan["from_cache"]) for plan in plans] == [("sm_86", False)] * 3
    assert all(Path(plan["path"]).stat().st_size > plan["size"] for plan in plans)
    assert all(entry["parity"][0]["cosine"] > 0.999 for entry in built)
    code, output = run(*arguments)
    assert (code, output.count("cached")) == (0, 3)


@pytest.mark.parametrize("damage", [b"", b"fusion_rt plan 1\n{}\nxx", b"\x00" * 1000])
def test_a_damaged_plan_is_built_again(models, tmp_path, damage):
    cache = PlanCache(tmp_path / "cache")
    samples = models / "calibration" / "conv_net.npz"
    workshop = model_build.Workshop(trt, ["sm_86"], cache)
    arguments = (models / "conv_net.onnx", "fp32", samples, workshop)
    (first,) = model_build.build_one(*arguments).plans
    Path(first.path).write_bytes(damage)
    assert model_build.build_one(*arguments).plans[0].from_cache is False
    assert model_build.build_one(*arguments).plans[0].from_cache is True


def test_the_command_refuses_what_the_lint_finds(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    out = helper.make_tensor_value_info("out", TensorProto.INT64, None)
    node = helper.make_node("NonZero", ["x"], ["out"], name="where_is_it")
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [out])), tmp_path / "bad.onnx")
    with pytest.raises(EngineBuildError, match=r'refuses 1 of its .* "where_is_it": is refused'):
        run(tmp_path)
    code, output = run(tmp_path, "--lint-only")
    assert code == 1
    assert "bad.onnx: 2 findings" in output


def test_lint_only_passes_good_networks(models):
    code, output = run(models, "--lint-only")
    assert code == 0
    assert "conv_net.onnx: no findings" in output


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no .onnx file there"), (b"\xff\xff", "is no ONNX")]
)
def test_the_command_says_what_is_wrong_with_a_folder(tmp_path, content, message):
    if content is not None:
        (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(EngineBuildError, match=message):
        run(tmp_path)


def test_without_onnx_the_command_names_the_extra(models, monkeypatch):
    monkeypatch.delattr("fusion_rt.engine.model_build")
    monkeypatch.setitem(sys.modules, "fusion_rt.engine.model_build", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fusion_rt\[tensorrt\]"'):
        run(models)


def test_what_the_command_built_is_what_the_engine_looks_for(models, tmp_path):
    """Built here for a GPU that is not here; there nothing is built again."""
    code, _ = run(models, "--target", "sm_89", "--target", "sm_120", "--cache", tmp_path / "cache")
    assert code == 0
    device = CudaDevice(EmulatedDriver())  # an sm_89
    key = tensorrt_engine._key(models / "conv_net.onnx", trt, device)
    assert PlanCache(tmp_path / "cache").read(key)[1] == "cached"


def test_a_plan_for_the_gpu_at_hand_is_bound_to_it(monkeypatch, tmp_path):
    monkeypatch.setattr(model_build, "open_device", lambda: CudaDevice(EmulatedDriver()))
    workshop = model_build.open_workshop("", ["current"], tmp_path)
    assert workshop.device == "Emulated GPU sm_89 driver 13"
