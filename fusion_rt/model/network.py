"""The whole reference model as torch trains it: encoders, then fusion."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fusion_rt.model.encoders import AudioEncoder, CameraEncoder, LidarEncoder
from fusion_rt.model.fusion_net import FusionNet
from fusion_rt.model.head import Maps
from fusion_rt.model.lift import LiftGrid
from fusion_rt.model.model_config import ModelConfig


class Features(NamedTuple):
    """What the encoders give."""

    camera_features: Tensor
    camera_depth: Tensor
    """Logits."""
    lidar_bev: Tensor
    audio_polar: Tensor
    audio_siren: Tensor


class FusionModel(nn.Module):
    """All four graphs."""

    def __init__(self, config: ModelConfig, grid: LiftGrid | None = None) -> None:
        super().__init__()
        self.config, self.grid = config, grid or LiftGrid()
        self.camera = CameraEncoder(config)
        self.lidar = LidarEncoder(config)
        self.audio = AudioEncoder(config)
        self.fusion = FusionNet(config, self.grid)

    def encode(self, image: Tensor, raster: Tensor, mel: Tensor, gcc: Tensor) -> Features:
        features, depth = self.camera.logits(image)
        return Features(features, depth, self.lidar(raster), *self.audio(mel, gcc))

    def fused_twice(self, features: Features, told: dict[str, Tensor]) -> tuple[Maps, list[Tensor]]:
        """What the head says, and the sensors' own maps, of two sets of sensors per moment.

        `told` holds the fusion graph's other inputs, (2N, ...): both sets of a moment side by side.
        Pictures are looked up for those only that have one.
        """
        present, fusion = told["present"], self.fusion
        rows = (present[:, 0] > 0.5).nonzero().squeeze(1)
        of = rows // 2
        depth = features.camera_depth[of].float().softmax(dim=1)
        seen = fusion.lift(
            present[rows, 0], features.camera_features[of], depth, told["grid"][rows],
            told["valid"][rows],
        )  # fmt: skip
        camera = seen.new_zeros(len(present), *seen.shape[1:]).index_copy(0, rows, seen)
        twice = features.lidar_bev.repeat_interleave(2, dim=0)
        lidar = torch.where(present[:, 1, None, None, None] > 0.5, twice, 0.0)
        audio = fusion.spread(present[:, 2], features.audio_polar.repeat_interleave(2, dim=0))
        streams = [camera, lidar, audio]
        maps, _ = fusion.maps(streams, told["ego"], present, told["age_s"])
        return maps, streams


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def seeded_model(config: ModelConfig, seed: int) -> FusionModel:
    """A model whose weights are drawn with a seed."""
    torch.manual_seed(seed)
    return FusionModel(config)
