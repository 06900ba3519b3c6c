"""What training makes small."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from fusion_rt.model.encoders import sector_bearings_rad
from fusion_rt.model.head import Maps
from fusion_rt.model.model_config import ModelConfig

_VALUE_WEIGHTS = (1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2)
"""Of dx, dy, z, sizes, yaw and velocity."""
_TEMPERATURE = 0.1


def heat_loss(logits: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
    """(N,): CornerNet's focal loss, not yet divided by the number of objects."""
    log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    probability = log_yes.exp()
    is_centre = target > 0.999
    centre = -((1 - probability) ** 2) * log_yes
    around = -((1 - target) ** 4) * probability**2 * log_no * (1 - ignored[:, None])
    return torch.where(is_centre, centre, around).sum(dim=(1, 2, 3))


def box_loss(values: Tensor, index: Tensor, target: Tensor, is_object: Tensor) -> Tensor:
    """(N,): L1 at the centres, summed over objects."""
    places = index[:, None].expand(-1, values.shape[1], -1)
    found = values.flatten(2).gather(2, places).transpose(1, 2)
    weights = torch.tensor(_VALUE_WEIGHTS, device=values.device)
    return ((found - target).abs() * weights).sum(dim=2).mul(is_object).sum(dim=1)


def detection_losses(maps: Maps, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Heat and box, per object of the batch; (N,) each, to be summed."""
    objects = batch["is_object"].sum().clamp(min=1)
    heat = heat_loss(maps.heat, batch["heat"], batch["ignored"])
    box = box_loss(maps.values, batch["index"], batch["values"], batch["is_object"])
    return heat / objects, box / objects


def depth_loss(logits: Tensor, depth_m: Tensor, config: ModelConfig) -> Tensor:
    """Cross entropy to the two bins next to the measured distance, where one was measured."""
    first_m, last_m = config.depth_range_m
    bins_per_log = (config.depth_bins - 1) / math.log(last_m / first_m)
    is_known = (depth_m > 0.5) & (depth_m < last_m)
    place = (depth_m.clamp(min=first_m) / first_m).log() * bins_per_log
    low = place.floor().clamp(0, config.depth_bins - 2)
    share, low = (place - low).clamp(0, 1), low.long()
    logs = logits.float().log_softmax(dim=1)
    below = logs.gather(1, low[:, None]).squeeze(1)
    above = logs.gather(1, low[:, None] + 1).squeeze(1)
    loss = -(below * (1 - share) + above * share) * is_known
    return loss.sum() / is_known.sum().clamp(min=1)


def siren_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of presence, and of bearing: cross entropy to a bell of sectors. `target`: (N, 2)."""
    is_heard, bearing = target[:, 0], target[:, 1]
    presence = functional.binary_cross_entropy_with_logits(logits[:, 0], is_heard)
    middles = sector_bearings_rad(logits.shape[1] - 1).to(logits.device)
    apart = torch.remainder(bearing[:, None] - middles[None] + math.pi, 2 * math.pi) - math.pi
    width = 2 * math.pi / len(middles)
    bell = (-0.5 * (apart / width) ** 2).exp()
    bell = bell / bell.sum(dim=1, keepdim=True)
    direction = -(bell * logits[:, 1:].log_softmax(dim=1)).sum(dim=1)
    return presence, (direction * is_heard).sum() / is_heard.sum().clamp(min=1)


def pairing_loss(camera: Tensor, lidar: Tensor, asked: dict[str, Tensor], rows: Tensor) -> Tensor:
    """Contrast: what camera and LiDAR say of an object is alike, and unlike of the others.

    Over all objects of those rows of the batch, which have both sensors.
    """
    is_object = asked["is_object"][rows] > 0.5
    if is_object.sum() < 2:
        return camera.sum() * 0.0
    index = asked["index"][rows][:, None].expand(-1, camera.shape[1], -1)
    pair = (maps[rows].flatten(2).gather(2, index).transpose(1, 2) for maps in (camera, lidar))
    of_camera, of_lidar = (functional.normalize(part[is_object].float(), dim=1) for part in pair)
    alike = of_camera @ of_lidar.T / _TEMPERATURE
    own = torch.arange(len(alike), device=alike.device)
    return 0.5 * (functional.cross_entropy(alike, own) + functional.cross_entropy(alike.T, own))
