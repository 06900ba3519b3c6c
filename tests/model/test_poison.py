"""Whatever absent sensors' inputs hold, the shipped graph's answers are the same to the bit."""

from itertools import product
from typing import Literal

import numpy as np
import pytest

from fusion_rt.arrays import AnyArray
from fusion_rt.engine.engine import Engine, EngineOptions
from fusion_rt.engine.open import Backend, open_engine
from fusion_rt.errors import BackendMissingError
from fusion_rt.model_file import STREAM_KINDS, find_model

OWNED = {
    "camera": ("camera_features", "camera_depth", "grid", "valid"),
    "lidar": ("lidar_bev",),
    "audio": ("audio_polar", "audio_siren"),
    "gps": ("ego",),
}
MASKS = [mask for mask in product((0.0, 1.0), repeat=4) if any(mask)]
BACKENDS = [
    pytest.param("onnxruntime", "f32", id="onnxruntime"),
    pytest.param("openvino", "f32", id="openvino-f32"),
    pytest.param("openvino", "bf16", id="openvino-bf16"),
    pytest.param("tensorrt", "f32", marks=pytest.mark.gpu, id="tensorrt"),
]


@pytest.mark.timeout(180)  # openvino compiles the graph
@pytest.mark.parametrize(("backend", "openvino_precision"), BACKENDS)
def test_what_absent_sensors_hold_changes_no_bit(
    backend: Backend, openvino_precision: Literal["f32", "bf16"]
) -> None:
    options = EngineOptions(openvino_precision=openvino_precision)
    path = find_model("reference") / "fusion.onnx"
    try:
        engine = open_engine(path, backend, options)
    except BackendMissingError as error:
        pytest.skip(str(error))
    with engine:
        for mask in MASKS:
            clean = _inputs(engine, mask)
            expected = {name: array.copy() for name, array in engine.run(clean).items()}
            for fill in (np.nan, 1e30):
                got = engine.run(_poisoned(clean, mask, fill))
                for name, wanted in expected.items():
                    np.testing.assert_array_equal(got[name], wanted, str((mask, fill, name)))


def _inputs(engine: Engine, mask: tuple[float, ...]) -> dict[str, AnyArray]:
    rng = np.random.default_rng(2)
    inputs: dict[str, AnyArray] = {
        name: rng.random(spec.shape, np.float32) for name, spec in engine.inputs.items()
    }
    inputs["grid"] = inputs["grid"] * np.float32([2, 2, 50]) - np.float32([1, 1, 0])
    inputs["present"] = np.float32([mask])
    return inputs


def _poisoned(
    clean: dict[str, AnyArray], mask: tuple[float, ...], fill: float
) -> dict[str, AnyArray]:
    dirty = {name: array.copy() for name, array in clean.items()}
    for column, (kind, is_present) in enumerate(zip(STREAM_KINDS, mask, strict=True)):
        if not is_present:
            dirty["age_s"][:, column] = fill
            for name in OWNED[kind]:
                dirty[name].fill(fill)
    return dirty
