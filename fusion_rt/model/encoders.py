"""Encoders, one per sensor, each a graph of its own: a prepared frame -> features for fusion."""

import math

import torch
from torch import Tensor, nn

from fusion_rt.model.layers import ConvBlock, Merge, Residual, Stage
from fusion_rt.model.model_config import ModelConfig

_GREY, _CONTRAST = 114.0, 60.0


class CameraEncoder(nn.Module):
    """Pictures (N, 256, 448, 3) uint8 -> features and depth at an eighth of the resolution.

    `camera_features` (N, C, 32, 56); `camera_depth` (N, D, 32, 56): how likely each distance is.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        s2, s4, s8, s16, s32 = config.camera_channels
        self.stem = nn.Sequential(ConvBlock(3, s2, 2), ConvBlock(s2, s4, 2))
        self.eighth = Stage(s4, s8, 2)
        self.sixteenth = Stage(s8, s16, 3)
        self.thirtysecond = Stage(s16, s32, 2)
        self.merge16, self.merge8 = Merge(s32, s16), Merge(s16, s8)
        self.smooth = ConvBlock(s8, s8)
        self.features = nn.Conv2d(s8, config.lift_channels, 1)
        self.depth = nn.Conv2d(s8, config.depth_bins, 1)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the depth before its softmax."""
        x = (image.float().permute(0, 3, 1, 2) - _GREY) / _CONTRAST
        eighth = self.eighth(self.stem(x))
        sixteenth = self.sixteenth(eighth)
        sixteenth = self.merge16(self.thirtysecond(sixteenth), sixteenth)
        eighth = self.smooth(self.merge8(sixteenth, eighth))
        return self.features(eighth), self.depth(eighth)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features, depth = self.logits(image)
        return features, depth.float().softmax(dim=1)


class LidarEncoder(nn.Module):
    """Rasters (N, 16, 128, 128) -> `lidar_bev` (N, C, 64, 64)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        s1, s2, s4 = config.lidar_channels
        self.stem = ConvBlock(16, s1)
        self.halved = Stage(s1, s2, 1)
        self.quartered = Stage(s2, s4, 2)
        self.merge = Merge(s4, s2)
        self.out = ConvBlock(s2, config.bev_channels, kernel=1)

    def forward(self, raster: Tensor) -> Tensor:
        half = self.halved(self.stem(raster))
        out: Tensor = self.out(self.merge(self.quartered(half), half))
        return out


class AudioEncoder(nn.Module):
    """Log-mel (N, 4, 64, 64) and GCC-PHAT (N, 6, 64, 64) -> what comes from where.

    `audio_polar` (N, C, sectors): features by direction, sectors anticlockwise from behind;
    `audio_siren` (N, 1 + sectors): logit of a siren, then logits of where it is heard from.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.channels, self.sectors = config.audio_channels, config.sectors
        self.mel = nn.Sequential(
            ConvBlock(4, 24, 2), ConvBlock(24, 48, 2), ConvBlock(48, 64, 2), Residual(64)
        )
        self.gcc = nn.Sequential(  # over frames and lags; the delays keep their resolution longest
            nn.Conv2d(6, 32, (5, 5), (2, 1), (2, 2), bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            ConvBlock(32, 48, 2),
            ConvBlock(48, 64, 2),
            Residual(64),
        )
        self.mix = nn.Sequential(nn.Linear(64 * 8 + 64 * 16, 256), nn.ReLU(inplace=True))
        self.polar = nn.Linear(256, self.channels * self.sectors)
        self.siren = nn.Linear(256, 1 + self.sectors)

    def forward(self, mel: Tensor, gcc: Tensor) -> tuple[Tensor, Tensor]:
        bands = self.mel(mel * 0.1).mean(dim=3)  # over time: (N, 64, 8)
        delays = self.gcc(gcc).mean(dim=2)  # over time: (N, 64, 16)
        mixed = self.mix(torch.cat([bands.flatten(1), delays.flatten(1)], dim=1))
        polar = self.polar(mixed).unflatten(1, (self.channels, self.sectors))
        return torch.relu(polar), self.siren(mixed).float()


def sector_bearings_rad(sectors: int) -> Tensor:
    """(sectors,): the middle of each, anticlockwise from behind."""
    return (torch.arange(sectors) + 0.5) * (2 * math.pi / sectors) - math.pi
