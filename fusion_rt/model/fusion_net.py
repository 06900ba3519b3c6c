"""The fusion graph: features of whichever sensors are present -> boxes and sirens.

Whatever an absent sensor's inputs hold, NaN too, never reaches an output: they are replaced with
`where`, never multiplied away.
"""

import math

import torch
from torch import Tensor, nn

from fusion_rt.model.ego import EGO_SIZE
from fusion_rt.model.encoders import sector_bearings_rad
from fusion_rt.model.head import DetectionHead, Maps, begin_rare
from fusion_rt.model.joins import GateJoin, join_for
from fusion_rt.model.layers import ConvBlock, Merge, Stage
from fusion_rt.model.lift import LiftGrid
from fusion_rt.model.model_config import STREAMS, ModelConfig


class CameraLift(nn.Module):
    """Looks the places of the grid up in the picture, weighed by how likely their depth is."""

    def __init__(self, config: ModelConfig, grid: LiftGrid) -> None:
        super().__init__()
        self.grid, self.bins = grid, config.depth_bins
        first_m, last_m = config.depth_range_m
        self.first_log = math.log(first_m)
        self.bins_per_log = (self.bins - 1) / (math.log(last_m) - self.first_log)
        heights = len(grid.heights_m)
        self.mix = ConvBlock(heights * (config.lift_channels + 1), config.bev_channels, kernel=1)

    def forward(
        self, present: Tensor, features: Tensor, depth: Tensor, grid: Tensor, valid: Tensor
    ) -> Tensor:
        """(N, C, rows, columns); zeros, mixed, where the camera sees nothing or is absent."""
        is_present = present.view(-1, 1, 1, 1) > 0.5
        features = torch.where(is_present, features, 0.0)
        depth = torch.where(is_present, depth.to(features.dtype), 0.0)
        grid = torch.where(is_present[..., 0], grid, 0.0)
        is_valid = torch.where(is_present[..., 0, 0], valid, 0.0) > 0.5
        rows = len(self.grid.heights_m) * self.grid.rows
        places = grid[..., :2].unflatten(1, (rows, self.grid.columns)).to(features.dtype)
        found = _sampled(features, places)
        likely = self._at_depth(_sampled(depth, places), grid[..., 2])
        likely = torch.where(is_valid[:, None], likely * self.bins / 4, 0.0)
        likely = likely.unflatten(2, (rows, self.grid.columns)).to(features.dtype)
        lifted = torch.cat([found * likely, likely], dim=1)
        mixed: Tensor = self.mix(torch.cat(lifted.split(self.grid.rows, dim=2), dim=1))
        return mixed

    def _at_depth(self, depth: Tensor, depth_m: Tensor) -> Tensor:
        """(N, 1, size): of the bins (N, bins, ...) looked up, at the places' depth (N, size)."""
        place = (torch.log(depth_m.clamp(min=0.1)) - self.first_log) * self.bins_per_log
        place = place.clamp(0.0, self.bins - 1.001)[:, None]
        low = place.floor()
        bins, share = depth.flatten(2), place - low
        index = low.long()
        return bins.gather(1, index) * (1 - share) + bins.gather(1, index + 1) * share


def _sampled(maps: Tensor, places: Tensor) -> Tensor:
    return nn.functional.grid_sample(maps, places, align_corners=False)


class PolarSpread(nn.Module):
    """Features by direction -> features by place: each takes those of the direction it lies in."""

    weights: Tensor

    def __init__(self, config: ModelConfig, grid: LiftGrid) -> None:
        super().__init__()
        self.grid = grid
        places = torch.from_numpy(grid.places_m[: grid.rows * grid.columns, :2])
        bearings = torch.atan2(places[:, 1], places[:, 0])
        apart = bearings[None] - sector_bearings_rad(config.sectors)[:, None]
        apart = torch.remainder(apart + math.pi, 2 * math.pi) - math.pi
        weights = (1 - apart.abs() * config.sectors / (2 * math.pi)).clamp(min=0).float()
        self.register_buffer("weights", weights, persistent=False)  # (sectors, rows * columns)
        self.mix = ConvBlock(config.audio_channels, config.bev_channels, kernel=1)

    def forward(self, present: Tensor, polar: Tensor) -> Tensor:
        polar = torch.where(present.view(-1, 1, 1) > 0.5, polar, 0.0)
        spread = (polar.float() @ self.weights).unflatten(2, (self.grid.rows, self.grid.columns))
        mixed: Tensor = self.mix(spread)
        return mixed


class Context(nn.Module):
    """Presence, ages and our own motion -> a vector that holds for all places."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.bev_channels
        self.ego = nn.Sequential(nn.Linear(EGO_SIZE, width), nn.ReLU(), nn.Linear(width, width))
        self.ages = nn.Sequential(
            nn.Linear(2 * len(STREAMS), width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, present: Tensor, ego: Tensor, age_s: Tensor) -> tuple[Tensor, Tensor]:
        """Of our motion, and of presence and ages: (N, C, 1, 1) each."""
        ego = torch.where(present[:, 3:] > 0.5, ego, 0.0)
        ages = torch.where(present > 0.5, age_s.clamp(-1, 1) * 5, 0.0)
        motion = torch.where(present[:, 3:] > 0.5, self.ego(ego), 0.0)
        state = self.ages(torch.cat([present, ages], dim=1))
        return motion[..., None, None], state[..., None, None]


class FusionNet(nn.Module):
    """Everything after the encoders."""

    ways: Tensor

    def __init__(self, config: ModelConfig, grid: LiftGrid) -> None:
        super().__init__()
        width, deep = config.bev_channels, config.neck_channels
        self.config = config
        self.lift, self.spread = CameraLift(config, grid), PolarSpread(config, grid)
        self.context = Context(config)
        self.join = join_for(config, grid.rows)
        self.enter_state = nn.Conv2d(width, width, 1)
        self.enter = ConvBlock(width, width)
        self.deep = Stage(width, deep, 2)
        self.merge = Merge(deep, width)
        self.leave = ConvBlock(width, width)
        self.head = DetectionHead(config, grid)
        self.camera_hint = nn.Conv2d(width, self.head.classes, 1)
        self.lidar_hint = nn.Conv2d(width, self.head.classes, 1)
        for hint in (self.camera_hint, self.lidar_hint):
            begin_rare(hint)
        bearings = sector_bearings_rad(config.sectors)
        self.register_buffer("ways", torch.stack([bearings.cos(), bearings.sin()], 1), False)

    def streams(
        self,
        present: Tensor,
        camera_features: Tensor,
        camera_depth: Tensor,
        lidar_bev: Tensor,
        audio_polar: Tensor,
        grid: Tensor,
        valid: Tensor,
    ) -> list[Tensor]:
        """Maps (N, C, rows, columns) of camera, LiDAR and sound, finite whatever came in."""
        camera = self.lift(present[:, 0], camera_features, camera_depth, grid, valid)
        lidar = torch.where(present[:, 1, None, None, None] > 0.5, lidar_bev, 0.0)
        return [camera, lidar.to(camera.dtype), self.spread(present[:, 2], audio_polar)]

    def maps(
        self, streams: list[Tensor], ego: Tensor, present: Tensor, age_s: Tensor
    ) -> tuple[Maps, list[Tensor]]:
        """What the head says of each place, and what each sensor gave to it."""
        motion, state = self.context(present, ego, age_s)
        camera = streams[0]
        streams = [*streams, motion.to(camera.dtype).expand_as(camera)]
        if self.config.fusion == "late":
            return self._late(present, streams, state)
        given = self.join(present, streams, state)
        return self._answer(sum(given[1:], given[0]), state), given

    def _answer(self, joined: Tensor, state: Tensor) -> Maps:
        fused = self.enter(joined + self.enter_state(state).to(joined.dtype))
        answer: Maps = self.head(self.leave(self.merge(self.deep(fused), fused)))
        return answer

    def _late(
        self, present: Tensor, streams: list[Tensor], state: Tensor
    ) -> tuple[Maps, list[Tensor]]:
        """Camera and LiDAR answer alone, each told of sound and motion; both are weighed."""
        camera, lidar, audio, motion = streams
        assert isinstance(self.join, GateJoin)
        weights = self.join.weights(present, streams, state)
        rest = audio * weights[:, 2:3] + motion * weights[:, 3:]
        by_camera, by_lidar = self._answer(camera + rest, state), self._answer(lidar + rest, state)
        share = weights[:, 0:1] / (weights[:, 0:1] + weights[:, 1:2]).clamp(min=1e-6)
        answer = Maps(
            *(a * share + b * (1 - share) for a, b in zip(by_camera, by_lidar, strict=True))
        )
        return answer, [stream * weights[:, i : i + 1] for i, stream in enumerate(streams)]

    def siren(self, present: Tensor, audio_siren: Tensor) -> Tensor:
        """(N, 3): probability, cosine and sine of the bearing; 0, 1, 0 without sound."""
        is_present = present[:, 2:3] > 0.5
        logits = torch.where(is_present, audio_siren, 0.0)
        way = logits[:, 1:].softmax(dim=1) @ self.ways
        way = way / way.norm(dim=1, keepdim=True).clamp(min=1e-3)
        probability = torch.where(is_present, logits[:, :1].sigmoid(), 0.0)
        ahead = torch.tensor([[1.0, 0.0]], device=way.device)
        return torch.cat([probability, torch.where(is_present, way, ahead)], dim=1)

    def forward(
        self,
        camera_features: Tensor,
        camera_depth: Tensor,
        lidar_bev: Tensor,
        audio_polar: Tensor,
        audio_siren: Tensor,
        ego: Tensor,
        present: Tensor,
        age_s: Tensor,
        grid: Tensor,
        valid: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Boxes (N, 64, 9), scores, labels, contributions (N, 64, 4) and siren (N, 3)."""
        streams = self.streams(
            present, camera_features, camera_depth, lidar_bev, audio_polar, grid, valid
        )
        maps, given = self.maps(streams, ego, present, age_s)
        found = self.head.decode(maps, given, present)
        return *found, self.siren(present, audio_siren)
