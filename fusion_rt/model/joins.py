"""The ways to join the sensors' maps into one, to be compared; `ModelConfig.fusion` names one.

Each takes maps (N, C, rows, columns) in the order of STREAMS, finite also for absent sensors, and
returns what each sensor gave: the joined map is their sum, and nobody gives anything who is absent.
"""

import torch
from torch import Tensor, nn

from fusion_rt.model.model_config import STREAMS, ModelConfig

_NEVER = -1e4  # as a logit; fits float16
_POOLED = 4
"""Cells per side that attention takes together: 256 tokens per map of 64 x 64."""


class EarlyJoin(nn.Module):
    """One convolution over all maps, absent ones replaced by what was learned for them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.bev_channels
        self.looks = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in STREAMS)
        self.missing = nn.Parameter(torch.zeros(len(STREAMS), width))
        nn.init.normal_(self.missing, std=0.02)

    def forward(self, present: Tensor, maps: list[Tensor], state: Tensor) -> list[Tensor]:
        is_present = present[:, :, None, None, None] > 0.5
        missing = (self.missing[:, None, :, None, None] + 0 * state).to(maps[0].dtype)
        pairs = enumerate(zip(self.looks, maps, strict=True))
        return [
            torch.where(is_present[:, i], look(stream), missing[i]) for i, (look, stream) in pairs
        ]


class GateJoin(nn.Module):
    """Weighs the maps at each place; the weights of those present sum to 1."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, look = config.bev_channels, config.gate_channels
        self.looks = nn.ModuleList(nn.Conv2d(width, look, 1) for _ in STREAMS)
        self.state = nn.Conv2d(width, look, 1)
        self.decide = nn.Conv2d(look, len(STREAMS), 1)

    def weights(self, present: Tensor, maps: list[Tensor], state: Tensor) -> Tensor:
        """(N, streams, rows, columns)."""
        seen = [look(stream) for look, stream in zip(self.looks, maps, strict=True)]
        is_present = present[:, :, None, None] > 0.5
        logits = self.decide(torch.relu(sum(seen[1:], seen[0]) + self.state(state)))
        weights: Tensor = torch.where(is_present, logits.float(), _NEVER).softmax(dim=1)
        return weights.to(maps[0].dtype)

    def forward(self, present: Tensor, maps: list[Tensor], state: Tensor) -> list[Tensor]:
        weights = self.weights(present, maps, state)
        return [stream * weights[:, i : i + 1] for i, stream in enumerate(maps)]


class AttentionJoin(nn.Module):
    """Each coarse place looks at all coarse places of all sensors and takes what it needs.

    The share of its attention that goes to a sensor also weighs that sensor's own fine map there.
    """

    def __init__(self, config: ModelConfig, cells: int) -> None:
        super().__init__()
        width, self.heads = config.bev_channels, config.heads
        self.side = cells // _POOLED
        self.place = nn.Parameter(torch.zeros(1, width, self.side, self.side))
        self.stream = nn.Parameter(torch.zeros(len(STREAMS), 1, width))
        self.query, self.state = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.place, std=0.2)
        nn.init.normal_(self.stream, std=0.2)

    def forward(self, present: Tensor, maps: list[Tensor], state: Tensor) -> list[Tensor]:
        shares, contexts = self.attended(present, maps, state)
        return [
            stream * shares[i] + context
            for i, (stream, context) in enumerate(zip(maps, contexts, strict=True))
        ]

    def attended(
        self, present: Tensor, maps: list[Tensor], state: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per sensor: its share (N, 1, rows, columns), and what was taken from it."""
        tokens = [self._tokens(stream) + self.stream[i] for i, stream in enumerate(maps)]
        count = tokens[0].shape[1]
        asking = sum(tokens[1:], tokens[0]) + self.state(state.flatten(1))[:, None]
        queries, keys = (
            self._by_head(self.query(asking)),
            self._by_head(self.key(torch.cat(tokens, dim=1))),
        )
        logits = (queries @ keys.transpose(2, 3)).float() * queries.shape[-1] ** -0.5
        is_present = present.repeat_interleave(count, dim=1)[:, None, None] > 0.5
        weights = torch.where(is_present, logits, _NEVER).softmax(dim=3).split(count, dim=3)
        shares, contexts = [], []
        for part, own in zip(weights, tokens, strict=True):
            taken = part.to(own.dtype) @ self._by_head(self.value(own))
            context = self.out(taken.transpose(1, 2).flatten(2))
            shares.append(self._fine(part.sum(dim=3).mean(dim=1)[..., None].to(own.dtype)))
            contexts.append(self._fine(context))
        return shares, contexts

    def _tokens(self, stream: Tensor) -> Tensor:
        """(N, side * side, C)."""
        pooled = nn.functional.avg_pool2d(stream, _POOLED) + self.place.to(stream.dtype)
        return pooled.flatten(2).transpose(1, 2)

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _fine(self, tokens: Tensor) -> Tensor:
        coarse = tokens.transpose(1, 2).unflatten(2, (self.side, self.side))
        return nn.functional.interpolate(coarse, scale_factor=float(_POOLED), mode="nearest")


class HybridJoin(nn.Module):
    """A gate for the fine maps, and attention for what lies elsewhere."""

    def __init__(self, config: ModelConfig, cells: int) -> None:
        super().__init__()
        self.gate, self.attention = GateJoin(config), AttentionJoin(config, cells)

    def forward(self, present: Tensor, maps: list[Tensor], state: Tensor) -> list[Tensor]:
        gated = self.gate(present, maps, state)
        _, contexts = self.attention.attended(present, maps, state)
        return [part + context for part, context in zip(gated, contexts, strict=True)]


def join_for(config: ModelConfig, cells: int) -> nn.Module:
    """What `config.fusion` names; `late` weighs answers with the weights of a gate."""
    if config.fusion == "early":
        return EarlyJoin(config)
    if config.fusion == "attention":
        return AttentionJoin(config, cells)
    if config.fusion == "hybrid":
        return HybridJoin(config, cells)
    return GateJoin(config)
