"""Training on several processes: one alone, or as many as torchrun started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn


class Ranks:
    """This process among those that train together."""

    def __init__(self, number: int, count: int, device: torch.device) -> None:
        self.number, self.count, self.device = number, count, device

    @property
    def is_first(self) -> bool:
        """The one that writes logs and checkpoints."""
        return self.number == 0

    def share_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its mean over all processes, in one exchange."""
        if self.count == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = (flat / self.count).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agreed(self, value: float) -> float:
        """The first process's value, so that all stop at the same step."""
        if self.count == 1:
            return value
        shared: Tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)


@contextmanager
def joined_ranks(device: str = "auto") -> Iterator[Ranks]:
    """The ranks of this process, by what torchrun says in its environment.

    `device`: `cpu`, `cuda`, or `auto` for the GPU if there is one.
    """
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    count, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if count == 1:
        yield Ranks(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Ranks(distributed.get_rank(), count, chosen)
    finally:
        distributed.destroy_process_group()
