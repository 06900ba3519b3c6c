"""Building blocks of the reference model's graphs: convolutions that every engine runs well."""

import torch
from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """3x3 (or 1x1) convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a way straight through."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)  # begins as the identity

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.second(self.first(x))))


class Stage(nn.Sequential):
    """Half the resolution, then some residual blocks."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int = 2) -> None:
        super().__init__(
            ConvBlock(inputs, outputs, stride), *(Residual(outputs) for _ in range(blocks))
        )


class Merge(nn.Module):
    """A coarse map, doubled in size and brought to the channels of a finer one, added to it."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(coarse, fine, 1, bias=False)
        self.norm = nn.BatchNorm2d(fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        narrow = self.norm(self.narrow(coarse))
        return fine + nn.functional.interpolate(narrow, scale_factor=2.0, mode="nearest")
