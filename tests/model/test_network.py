"""The torch model: every way of joining runs, and what is absent leaves no trace."""

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from fusion_rt.model.export import FUSION_INPUTS, example_inputs  # noqa: E402
from fusion_rt.model.model_config import STREAMS, FusionKind  # noqa: E402
from fusion_rt.model.network import FusionModel, seeded_model  # noqa: E402
from tests.model.small import small_model  # noqa: E402

KINDS: tuple[FusionKind, ...] = ("early", "late", "gate", "attention", "hybrid")
MASKS = [mask for mask in product((0.0, 1.0), repeat=4) if any(mask)]
OWNED = {
    "camera": ("camera_features", "camera_depth", "grid", "valid"),
    "lidar": ("lidar_bev",),
    "audio": ("audio_polar", "audio_siren"),
    "gps": ("ego",),
}


def _model(kind: FusionKind) -> FusionModel:
    return seeded_model(small_model(kind), 1).eval()


def _inputs(model: FusionModel, mask: tuple[float, ...]) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    inputs = dict(zip(FUSION_INPUTS, example_inputs(model)["fusion"], strict=True))
    drawn = {name: torch.rand_like(tensor) for name, tensor in inputs.items()}
    drawn["grid"] = drawn["grid"] * torch.tensor([2.0, 2.0, 50.0]) - torch.tensor([1.0, 1.0, 0.0])
    return drawn | {"present": torch.tensor([mask])}


def _poisoned(inputs: dict[str, torch.Tensor], fill: float) -> dict[str, torch.Tensor]:
    """The same with that in all that belongs to absent sensors."""
    inputs = {name: tensor.clone() for name, tensor in inputs.items()}
    for i, stream in enumerate(STREAMS):
        if not inputs["present"][0, i]:
            inputs["age_s"][:, i] = fill
            for name in OWNED[stream]:
                inputs[name].fill_(fill)
    return inputs


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_absent_sensors_hold_changes_no_bit(kind: FusionKind) -> None:
    model = _model(kind)
    for mask in MASKS:
        clean = _inputs(model, mask)
        expected = model.fusion(**clean)
        for fill in (float("nan"), 1e30):
            answer = model.fusion(**_poisoned(clean, fill))
            for got, wanted in zip(answer, expected, strict=True):
                assert torch.equal(got, wanted), (mask, fill)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_contributions_are_shares_and_absent_sensors_have_none(kind: FusionKind) -> None:
    model = _model(kind)
    for mask in MASKS:
        contributions = model.fusion(**_inputs(model, mask))[3]
        torch.testing.assert_close(contributions.sum(dim=2), torch.ones(1, 64))
        if kind != "early":  # it learns what to put in place of an absent sensor
            absent = contributions[..., [i for i in range(4) if not mask[i]]]
            assert float(absent.max() if absent.numel() else 0) < 1e-2


@torch.no_grad()
def test_without_camera_and_lidar_nothing_is_placed_but_the_siren_is_heard() -> None:
    model = _model("gate")
    _, scores, _, _, siren = model.fusion(**_inputs(model, (0.0, 0.0, 1.0, 1.0)))
    assert float(scores.max()) == 0.0
    assert 0 < float(siren[0, 0]) < 1
    assert float(siren[0, 1:].norm()) == pytest.approx(1.0, abs=1e-5)


@torch.no_grad()
def test_without_sound_there_is_no_siren() -> None:
    model = _model("gate")
    siren = model.fusion(**_inputs(model, (1.0, 1.0, 0.0, 1.0)))[4]
    assert siren.tolist() == [[0.0, 1.0, 0.0]]


@torch.no_grad()
def test_boxes_come_best_first_from_peaks_of_the_heat() -> None:
    model = _model("gate")
    boxes, scores, labels, _, _ = model.fusion(**_inputs(model, (1.0, 1.0, 1.0, 1.0)))
    assert boxes.shape == (1, 64, 9)
    assert labels.dtype == torch.int32
    assert bool((scores[:, 1:] <= scores[:, :-1]).all())
    assert bool(torch.isfinite(boxes).all())
