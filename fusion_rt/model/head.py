"""The detection head: centre heat per class, a box per place, and their decoding in the graph."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fusion_rt.model.layers import ConvBlock
from fusion_rt.model.lift import LiftGrid
from fusion_rt.model.model_config import CLASSES, ModelConfig

MAX_BOXES = 64
VALUES = 10
"""dx, dy (cells from the middle), z, log of length, width and height, cos, sin of yaw, vx, vy."""
_SPEED_MPS = 5.0  # velocities are learned in these units


class Maps(NamedTuple):
    """What the head says, before decoding."""

    heat: Tensor
    """(N, classes, rows, columns) logits."""
    values: Tensor
    """(N, VALUES, rows, columns)."""


def begin_rare(heat: nn.Module) -> None:
    """Let a convolution's logits begin where most places hold nothing."""
    assert isinstance(heat, nn.Conv2d)
    assert heat.bias is not None
    nn.init.constant_(heat.bias, -4.0)


class DetectionHead(nn.Module):
    """CenterPoint's head, small: one box per place, the class by heat."""

    places: Tensor

    def __init__(self, config: ModelConfig, grid: LiftGrid) -> None:
        super().__init__()
        self.grid, self.classes = grid, len(CLASSES)
        width = config.bev_channels
        self.heat = nn.Sequential(
            ConvBlock(width, width, kernel=1), nn.Conv2d(width, self.classes, 1)
        )
        self.values = nn.Sequential(ConvBlock(width, width, kernel=1), nn.Conv2d(width, VALUES, 1))
        begin_rare(self.heat[-1])
        places = torch.from_numpy(grid.places_m[: grid.rows * grid.columns, :2]).float()
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Tensor) -> Maps:
        return Maps(self.heat(x).float(), self.values(x).float())

    @torch.no_grad()
    def rescale(self, scale: float, offset: float) -> None:
        """Let the heat's logits be `scale` times what they were, plus `offset`."""
        last = self.heat[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.weight.mul_(scale)
        last.bias.mul_(scale).add_(offset)

    def decode(
        self, maps: Maps, given: list[Tensor], present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes (N, 64, 9), scores (N, 64), labels (N, 64) int32, contributions (N, 64, streams).

        Peaks are cells not below any of their eight neighbours, over all classes. A sensor's
        contribution is the mean size of what it gave to the place, of all that was given.
        Without camera and LiDAR (`present`) no place has a score.
        """
        can_place = (present[:, 0] > 0.5) | (present[:, 1] > 0.5)
        heat = maps.heat.sigmoid()
        best, label = heat.max(dim=1, keepdim=True)
        tops = nn.functional.max_pool2d(best, 3, 1, 1)
        is_peak = (best >= tops) & can_place[:, None, None, None]
        scores, at = torch.where(is_peak, best, 0.0).flatten(1).topk(MAX_BOXES)
        values = _gathered(maps.values, at)
        places = self.places[at]
        boxes = torch.cat(
            [
                places + values[..., 0:2] * self.grid.cell_m,
                values[..., 2:3],
                values[..., 3:6].clamp(-3, 4).exp(),
                torch.atan2(values[..., 7:8], values[..., 6:7]),
                values[..., 8:10] * _SPEED_MPS,
            ],
            dim=2,
        )
        labels = label.flatten(1).gather(1, at).to(torch.int32)
        parts = [_gathered(part, at).abs().mean(dim=2, keepdim=True) for part in given]
        shares = torch.cat(parts, dim=2).float() + 1e-6 * present[:, None]
        shares = shares / shares.sum(dim=2, keepdim=True).clamp(min=1e-9)
        return boxes, scores, labels, shares


def _gathered(maps: Tensor, at: Tensor) -> Tensor:
    """(N, K, C): the values of maps (N, C, rows, columns) at flat places (N, K)."""
    index = at[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).transpose(1, 2)
