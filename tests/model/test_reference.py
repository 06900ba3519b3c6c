"""The shipped weights, run by the shipped engine: they find things from whatever is there."""

import pytest

pytest.importorskip("embreex", reason="worlds are rendered with the extra sim")

from fusion_rt.engine.precision import in_precision
from fusion_rt.evaluation.evaluate import Evaluation
from fusion_rt.evaluation.scenes import ScenePlan, demo_calibration, scenes
from fusion_rt.evaluation.subsets import named_subsets
from fusion_rt.model_file import find_model
from fusion_rt.perception import Mounts, open_model

# Far below what docs/model_card.md says: a few moments, to catch weights and code out of step.
FLOORS = {"camera+lidar+audio+gps": 0.8, "lidar": 0.8, "camera+audio+gps": 0.6, "camera": 0.6}
MOST_MB = 25


@pytest.mark.parametrize("precision", [None, "int8"])
def test_held_out_worlds_are_seen_from_every_set_of_sensors(precision: str | None) -> None:
    plan = ScenePlan(scenes=3, seed=600_000)
    folder = find_model("reference")
    with open_model(folder, Mounts(), "onnxruntime", precision=precision) as perception:
        wanted = named_subsets(list(FLOORS), perception.model.file.kinds)
        evaluation = Evaluation(perception, wanted)
        for shown in scenes(plan, demo_calibration()):
            evaluation.add(shown)
    result = evaluation.result("three worlds")
    for name, floor in FLOORS.items():
        assert result.subsets[name].map_2m > floor, name
    siren = result.subsets["camera+lidar+audio+gps"].siren
    assert siren is not None
    assert siren.recall is None or siren.recall > 0.9


def test_the_int8_twin_is_made_of_the_graph_beside_it() -> None:
    folder = find_model("reference")
    twin = folder / "camera.int8.onnx"
    assert in_precision(folder / "camera.onnx", "int8") == twin  # else it would be made anew


def test_the_weights_stay_small() -> None:
    folder = find_model("reference")
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_MB * 1e6


def test_the_graphs_do_not_say_where_they_were_made() -> None:
    for path in find_model("reference").glob("*.onnx"):
        assert b".py" not in path.read_bytes(), path.name
