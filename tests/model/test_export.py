"""A run as a model directory: the runtime opens it, and its answers are torch's."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnxscript", reason="needs the extra train")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from fusion_rt.clock import SettableClock  # noqa: E402
from fusion_rt.engine.onnx_lint import lint  # noqa: E402
from fusion_rt.engine.precision import in_precision  # noqa: E402
from fusion_rt.errors import ConfigError, EngineBuildError  # noqa: E402
from fusion_rt.evaluation.asked import Asker  # noqa: E402
from fusion_rt.evaluation.confidence import ScoreFit  # noqa: E402
from fusion_rt.evaluation.evaluate import Evaluation  # noqa: E402
from fusion_rt.evaluation.scenes import Shown  # noqa: E402
from fusion_rt.model.export import FUSION_INPUTS, example_inputs, export_graph  # noqa: E402
from fusion_rt.model.finish import finish_model_dir  # noqa: E402
from fusion_rt.model.model_dir import write_model_dir  # noqa: E402
from fusion_rt.model.moments import Moment, all_moments  # noqa: E402
from fusion_rt.model.train import Trainer, read_average  # noqa: E402
from fusion_rt.model_file import load_model  # noqa: E402
from fusion_rt.perception import Answer, Mounts, open_model  # noqa: E402
from tests.model.small import small_config  # noqa: E402
from tests.model.test_network import MASKS, _inputs, _poisoned  # noqa: E402

pytestmark = pytest.mark.timeout(300)  # torch exports slowly where others work too
GRAPHS = ("camera", "lidar", "audio", "fusion")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    trainer = Trainer(small_config(folder), folder, SettableClock())
    with torch.no_grad():
        for weight in trainer.average.parameters():
            weight.add_(0.2 * torch.randn_like(weight))  # no ties between scores
    trainer.save()
    return folder


@pytest.fixture(scope="module")
def model_dir(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model_dir(run, folder, "small", datetime.date(2026, 11, 21))
    return folder


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def test_the_directory_says_what_the_runtime_needs(model_dir: Path) -> None:
    file = load_model(model_dir).file
    assert file.name == "small"
    assert file.kinds == ("camera", "lidar", "audio", "gps")
    assert file.provenance.seed == 1
    assert file.camera is not None
    assert file.camera.lift is not None


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_is_static_and_of_operators_that_engines_take(
    model_dir: Path, name: str
) -> None:
    assert lint(onnx.load(model_dir / f"{name}.onnx")) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_onnxruntime_answers_as_torch_does(run: Path, model_dir: Path, name: str) -> None:
    _, model, _ = read_average(run)
    torch.manual_seed(3)
    inputs = list(_inputs(model, (1.0, 1.0, 1.0, 1.0)).values())
    if name != "fusion":
        inputs = [(255 * torch.rand(x.shape)).to(x.dtype) for x in example_inputs(model)[name]]
    with torch.no_grad():
        expected = getattr(model, name)(*inputs)
    session = _session(model_dir / f"{name}.onnx")
    feed = {port.name: x.numpy() for port, x in zip(session.get_inputs(), inputs, strict=True)}
    got = session.run(None, feed)
    wanted = [x.numpy() for x in (expected if len(got) > 1 else [expected])]
    if name == "fusion":  # places of almost the same score may stand in another order
        apart = np.abs(np.diff(wanted[1][0], prepend=2, append=-1)) > 1e-5
        clear = apart[1:] & apart[:-1]
        assert clear.sum() > 4
        got, wanted = ([x[0][clear] if x.shape[1] == 64 else x for x in xs] for xs in (got, wanted))
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-4)


def test_in_fp16_answers_are_close(run: Path, model_dir: Path, tmp_path: Path) -> None:
    _, model, _ = read_average(run)
    for name in ("camera", "lidar", "audio"):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes((model_dir / path.name).read_bytes())
        feed = {
            port.name: (255 * torch.rand(x.shape)).to(x.dtype).numpy()
            for port, x in zip(
                _session(path).get_inputs(), example_inputs(model)[name], strict=True
            )
        }
        exact = _session(path).run(None, feed)
        half = _session(in_precision(path, "fp16")).run(None, feed)
        for one, other in zip(half, exact, strict=True):
            assert np.abs(one - other).max() <= 0.02 * np.abs(other).max()


def test_in_onnxruntime_too_absent_sensors_leave_no_trace(run: Path, model_dir: Path) -> None:
    _, model, _ = read_average(run)
    session = _session(model_dir / "fusion.onnx")
    assert [port.name for port in session.get_inputs()] == list(FUSION_INPUTS)
    for mask in MASKS:
        clean = _inputs(model, mask)
        expected = session.run(None, {name: x.numpy() for name, x in clean.items()})
        dirty = _poisoned(clean, float("nan"))
        got = session.run(None, {name: x.numpy() for name, x in dirty.items()})
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_graph_that_engines_refuse_is_not_written_silently(tmp_path: Path) -> None:
    class Unique(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.topk(4000).values

    with pytest.raises(EngineBuildError, match=r"TopK .* has K = 4000"):
        export_graph(Unique(), (torch.rand(5000),), ["x"], ["y"], tmp_path / "bad.onnx")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected the folder of a training run .* last\.pt"):
        read_average(tmp_path)


FIT = ScoreFit(0.5, 1.0)


def _answer(folder: Path, moment: Moment, precision: str | None = None) -> Answer:
    with open_model(folder, Mounts(), "onnxruntime", precision=precision) as perception:
        asker = Asker(perception)
        return asker.answer(moment, asker.encode(moment), ("camera", "lidar", "audio", "gps"))


def test_scores_thresholds_and_int8_come_from_held_out_moments(
    run: Path,
    model_dir: Path,
    moments_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(model_dir, tmp_path / "model")
    moments = list(all_moments(moments_folder))
    raw = _answer(folder, moments[0])
    monkeypatch.setattr(Evaluation, "score_fit", lambda _: FIT)
    monkeypatch.setattr(Evaluation, "thresholds", lambda _: {"NORMAL": 0.2})
    steps: list[int] = []
    finish_model_dir(run, folder, map(Shown, moments), lambda: steps.append(1))
    assert len(steps) == len(moments)
    finished = _answer(folder, moments[0])
    wanted = [FIT.of(score) for score in raw.scores.tolist()]
    np.testing.assert_allclose(finished.scores, wanted, atol=2e-3)  # ties may change places
    file = load_model(folder).file
    assert file.thresholds.normal == pytest.approx(FIT.of(0.2), abs=1e-3)
    assert file.thresholds.blind == 0.9
    int8 = _answer(folder, moments[0], "int8")
    assert not np.array_equal(int8.scores, finished.scores)
    np.testing.assert_allclose(int8.scores, finished.scores, atol=0.05)
