"""Building with full TensorRT, as far as that goes without a GPU: flags, timing cache, errors."""

import logging

import pytest

from fusion_rt.engine.plan_builder import CURRENT, build_plan, known_targets
from fusion_rt.errors import EngineBuildError
from tests.fake_tensorrt import FakeBuilderTrt


def test_networks_are_strongly_typed():
    trt = FakeBuilderTrt()
    assert build_plan(trt, "m.onnx", b"onnx", [CURRENT]) == b"plan"
    assert trt.flags == 1 << 1


def test_only_the_gpu_at_hand_can_be_built_for():
    trt = FakeBuilderTrt()
    assert known_targets(trt) == [CURRENT]
    message = (
        r"build m.onnx: tensorrt 10.9.0 cannot build for sm_87; it knows current; build others"
    )
    with pytest.raises(EngineBuildError, match=message):
        build_plan(trt, "m.onnx", b"onnx", ["sm_87"])


def test_timings_are_kept_between_builds(tmp_path):
    path, trt = tmp_path / "cache" / "timing.cache", FakeBuilderTrt()
    build_plan(trt, "m.onnx", b"onnx", [CURRENT], timing_cache=path)
    assert path.read_bytes() == b"+timed"
    build_plan(trt, "m.onnx", b"onnx", [CURRENT], timing_cache=path)
    assert trt.config.cache.content == b"+timed"
    assert path.read_bytes() == b"+timed+timed"


def test_timings_of_another_version_are_started_afresh(tmp_path):
    path, trt = tmp_path / "timing.cache", FakeBuilderTrt()
    path.write_bytes(b"other version")
    build_plan(trt, "m.onnx", b"onnx", [CURRENT], timing_cache=path)
    assert path.read_bytes() == b"+timed"


def test_a_failed_build_says_what_the_library_said(caplog):
    trt = FakeBuilderTrt(plan=None)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(EngineBuildError, match=r"build m.onnx: no tactic for node 7; see the log"),
    ):
        build_plan(trt, "m.onnx", b"onnx", [CURRENT])
    assert "tensorrt: something slow" in caplog.text
