"""Small networks with what our model needs of a backend, exported once per test run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fusion_rt.engine.torch_engine import save_reference


class ConvNet(torch.nn.Module):
    """Camera-like: uint8 in, normalized in the graph, strided convolutions, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(16)
        self.block = torch.nn.Conv2d(16, 16, 3, padding=1)
        self.head = torch.nn.Conv2d(16, 8, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.to(self.stem.weight.dtype).permute(0, 3, 1, 2) * (1 / 255.0) - 0.5
        x = torch.relu(self.norm(self.stem(x)))
        return self.head(torch.relu(self.block(x) + x))


class GridSampleLift(torch.nn.Module):
    """Camera features to bird's-eye cells through a grid from the calibration."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(16, 12, 1)

    def forward(
        self, features: torch.Tensor, grid: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        lifted = torch.nn.functional.grid_sample(features, grid, align_corners=False)
        heights = lifted.reshape(1, 8, 2, 16, 16) * valid.reshape(1, 1, 2, 16, 16)
        return torch.relu(self.mix(heights.reshape(1, 16, 16, 16)))


class MaskedFusion(torch.nn.Module):
    """Gated sum of two maps; an absent one is replaced, never multiplied: NaN cannot leak."""

    def __init__(self) -> None:
        super().__init__()
        self.missing = torch.nn.Parameter(torch.randn(2, 1, 12, 1, 1))
        self.gate = torch.nn.Conv2d(24, 24, 1)
        self.norm = torch.nn.GroupNorm(3, 12)

    def forward(
        self, camera: torch.Tensor, lidar: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        here = present > 0.5
        camera = torch.where(here[:, 0].reshape(1, 1, 1, 1), camera, self.missing[0])
        lidar = torch.where(here[:, 1].reshape(1, 1, 1, 1), lidar, self.missing[1])
        gate = self.gate(torch.cat([camera, lidar], 1)).reshape(1, 2, 12, 16, 16).softmax(1)
        return self.norm(gate[:, 0] * camera + gate[:, 1] * lidar)


class TopKDecode(torch.nn.Module):
    """Heat map to boxes in the graph: peaks by max pooling, the best K, gathered regression."""

    def forward(self, heat: torch.Tensor, regression: torch.Tensor) -> tuple[torch.Tensor, ...]:
        score = heat.sigmoid()
        peak = torch.nn.functional.max_pool2d(score, 3, stride=1, padding=1)
        score = torch.where(score >= peak, score, score * 0)
        best, kind = score.max(dim=1)
        scores, places = best.flatten(1).topk(16)
        index = places.unsqueeze(1).expand(-1, 10, -1)
        boxes = regression.flatten(2).gather(2, index).transpose(1, 2)
        labels = kind.flatten(1).gather(1, places).to(torch.int32)
        return boxes, scores, labels


@dataclass(frozen=True)
class Graph:
    name: str
    module: type[torch.nn.Module]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    def arrays(self, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {name: self._array(rng, name, shape) for name, shape in self.inputs.items()}

    def _array(self, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name == "image":
            return rng.integers(0, 256, shape, np.uint8)
        if name in ("present", "valid"):
            return np.ones(shape, np.float32)
        return rng.normal(0, 0.5, shape).astype(np.float32)

    def export(self, folder: Path) -> Path:
        """Write NAME.onnx and its torch twin NAME.pt2."""
        torch.manual_seed(1)
        module = self.module().eval()
        example = tuple(torch.from_numpy(array) for array in self.arrays().values())
        program = torch.export.export(module, example)
        path = folder / f"{self.name}.onnx"
        torch.onnx.export(
            program,
            input_names=list(self.inputs),
            output_names=list(self.outputs),
            opset_version=20,
            external_data=False,
            dynamo=True,
            verbose=False,
        ).save(path)
        save_reference(program, path.with_suffix(".pt2"), list(self.inputs), self.outputs)
        return path


GRAPHS = {
    graph.name: graph
    for graph in (
        Graph("conv_net", ConvNet, {"image": (1, 32, 48, 3)}, ("features",)),
        Graph(
            "grid_sample_lift",
            GridSampleLift,
            {"features": (1, 8, 12, 20), "grid": (1, 32, 16, 2), "valid": (1, 1, 32, 16)},
            ("bev",),
        ),
        Graph(
            "masked_fusion",
            MaskedFusion,
            {"camera": (1, 12, 16, 16), "lidar": (1, 12, 16, 16), "present": (1, 2)},
            ("fused",),
        ),
        Graph(
            "top_k_decode",
            TopKDecode,
            {"heat": (1, 4, 16, 16), "regression": (1, 10, 16, 16)},
            ("boxes", "scores", "labels"),
        ),
    )
}
