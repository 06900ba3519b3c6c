"""TensorRT takes every graph that comes with the package."""

import pytest

from fusion_rt.engine.model_build import checked, model_files
from fusion_rt.engine.plan_builder import build_plan
from fusion_rt.engine.precision import in_precision
from fusion_rt.model_file import load_model, shipped_models

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
GRAPHS = [path for folder in shipped_models().values() for path in model_files(folder)]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_shipped_graph_is_built(graph, precision, tmp_path):
    copy = tmp_path / graph.name
    copy.write_bytes(graph.read_bytes())
    checked(copy)
    converted = in_precision(copy, precision, None)
    assert build_plan(trt, converted.name, converted.read_bytes(), ["sm_86", "sm_89"])


TWINS = [
    folder / name
    for folder in shipped_models().values()
    for _, network in load_model(folder).file.networks()
    for name in network.precisions.values()
]


@pytest.mark.parametrize("graph", TWINS, ids=lambda path: path.stem)
def test_a_shipped_twin_in_another_precision_is_built(graph):
    checked(graph)
    assert build_plan(trt, graph.name, graph.read_bytes(), ["sm_86", "sm_89"])
