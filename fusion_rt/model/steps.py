"""One training step: what a batch costs, by name, and how the costs are weighed."""

import torch
from torch import Tensor
from torch.nn import functional

from fusion_rt.model.head import Maps
from fusion_rt.model.loading import Batch
from fusion_rt.model.losses import (
    depth_loss,
    detection_losses,
    heat_loss,
    pairing_loss,
    siren_loss,
)
from fusion_rt.model.network import FusionModel
from fusion_rt.model.train_config import TrainConfig

_TOLD = ("present", "age_s", "ego", "grid", "valid")
_ASKED = ("heat", "ignored", "index", "values", "is_object")


def step_losses(
    model: FusionModel, batch: Batch, config: TrainConfig, teacher: FusionModel | None = None
) -> dict[str, Tensor]:
    """Losses by name, of a batch of moments each fused with two sets of sensors.

    Those that `LossWeights` names are to be weighed and summed; `heat_...` and `siren_...` say more
    about them.
    """
    asked = {name: batch[name].flatten(0, 1) for name in _ASKED}
    maps, streams, logits = _answers(model, batch, config)
    camera, lidar, _ = streams
    with torch.autocast(camera.device.type, torch.bfloat16, enabled=config.is_mixed):
        hints = model.fusion.camera_hint(camera), model.fusion.lidar_hint(lidar)
    heat, box = detection_losses(maps, asked)
    kinds = _kinds(batch["present"].flatten(0, 1))
    presence, bearing = siren_loss(logits[1], batch["siren"])
    losses = {
        "heat": heat.sum(),
        "box": box.sum(),
        "depth": depth_loss(logits[0], batch["depth"], config.model),
        "siren": presence + 0.5 * bearing,
        "hint": _hint(hints[0], asked, kinds["camera"]) + _hint(hints[1], asked, kinds["lidar"]),
        "siren_presence": presence,
        "siren_bearing": bearing,
    }
    losses |= {f"heat_{name}": heat[rows].mean() for name, rows in kinds.items() if rows.any()}
    if config.loss.pairing:
        losses["pairing"] = pairing_loss(camera, lidar, asked, kinds["both"])
    if teacher is not None:
        losses["teacher"] = _distance(maps, _taught(teacher, batch, config))
    return losses


def weighted(losses: dict[str, Tensor], config: TrainConfig) -> Tensor:
    """The sum to be made small."""
    weights = {name: getattr(config.loss, name) for name in config.loss.__struct_fields__}
    parts = [losses[name] * weight for name, weight in weights.items() if name in losses]
    return torch.stack(parts).sum()


def _answers(
    model: FusionModel, batch: Batch, config: TrainConfig
) -> tuple[Maps, list[Tensor], tuple[Tensor, Tensor]]:
    """The head's maps, the sensors' maps, and the logits of depth and sirens."""
    told = {name: batch[name].flatten(0, 1) for name in _TOLD}
    raster = batch["raster"].contiguous(memory_format=torch.channels_last)
    with torch.autocast(raster.device.type, torch.bfloat16, enabled=config.is_mixed):
        features = model.encode(batch["image"], raster, batch["mel"], batch["gcc"])
        maps, streams = model.fused_twice(features, told)
    return maps, streams, (features.camera_depth, features.audio_siren)


@torch.no_grad()
def _taught(teacher: FusionModel, batch: Batch, config: TrainConfig) -> Maps:
    maps, _, _ = _answers(teacher, batch, config)
    return maps


def _distance(maps: Maps, taught: Maps) -> Tensor:
    """Of heat everywhere, and of boxes where the teacher sees something, per thing it sees."""
    sure = taught.heat.sigmoid()
    heat = functional.binary_cross_entropy_with_logits(maps.heat, sure, reduction="none")
    focus = (maps.heat.sigmoid() - sure).abs().detach() ** 2
    seen = sure.amax(dim=1, keepdim=True)
    boxes = (maps.values - taught.values).abs() * seen
    return ((heat * focus).sum() + 0.1 * boxes.sum()) / seen.sum().clamp(min=1)


def _kinds(present: Tensor) -> dict[str, Tensor]:
    """Which rows can place things by both, by the camera only, by the LiDAR only."""
    camera, lidar = present[:, 0] > 0.5, present[:, 1] > 0.5
    return {"both": camera & lidar, "camera": camera & ~lidar, "lidar": lidar & ~camera}


def _hint(logits: Tensor, asked: Batch, rows: Tensor) -> Tensor:
    """The heat of a sensor's own map where it has to place things alone."""
    if not rows.any():
        return logits.sum() * 0.0
    loss = heat_loss(logits[rows].float(), asked["heat"][rows], asked["ignored"][rows])
    return loss.sum() / asked["is_object"][rows].sum().clamp(min=1)
