"""The same networks on every backend: equal answers, and none that depend on absent inputs."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks are exported from torch")
pytest.importorskip("onnxscript", reason="torch exports through onnxscript")

from fusion_rt.engine.engine import EngineOptions
from fusion_rt.engine.open import open_engine
from tests.engine_graphs import GRAPHS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's exporter uses its own past
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: graph.export(folder) for name, graph in GRAPHS.items()}


def run(path: Path, backend: str, inputs: dict, **options) -> dict[str, np.ndarray]:
    with open_engine(path, backend, EngineOptions(**options)) as engine:
        return {name: array.copy() for name, array in engine.run(inputs).items()}


@pytest.mark.parametrize("name", GRAPHS)
def test_onnxruntime_equals_torch(models, name):
    inputs = GRAPHS[name].arrays(seed=3)
    ours, reference = run(models[name], "onnxruntime", inputs), run(models[name], "torch", inputs)
    assert ours.keys() == reference.keys() == set(GRAPHS[name].outputs)
    for output, expected in reference.items():
        np.testing.assert_allclose(ours[output], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_openvino_equals_torch(models, name):
    pytest.importorskip("openvino", reason="openvino is not installed")
    inputs = GRAPHS[name].arrays(seed=3)
    ours, reference = run(models[name], "openvino", inputs), run(models[name], "torch", inputs)
    for output, expected in reference.items():
        np.testing.assert_allclose(ours[output], expected, atol=2e-5, rtol=1e-4)


def test_openvino_obeys_its_precision_hint(models):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capable:
        pytest.skip("this processor has no bf16")
    inputs = GRAPHS["masked_fusion"].arrays()
    exact = run(models["masked_fusion"], "openvino", inputs, openvino_precision="f32")["fused"]
    rough = run(models["masked_fusion"], "openvino", inputs, openvino_precision="bf16")["fused"]
    assert 1e-5 < np.abs(exact - rough).max() < 0.1


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_an_absent_input_cannot_poison_the_answer(models, backend):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    inputs = GRAPHS["masked_fusion"].arrays()
    inputs["present"] = np.array([[1, 0]], np.float32)
    clean = run(models["masked_fusion"], backend, inputs)["fused"]
    inputs["lidar"] = np.full_like(inputs["lidar"], np.nan)
    np.testing.assert_array_equal(run(models["masked_fusion"], backend, inputs)["fused"], clean)
