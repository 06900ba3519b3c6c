"""The training loop: batches in, weights and their average out; stopped and resumed at will."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.model.loading import Batch, batches
from fusion_rt.model.losses import depth_loss, detection_losses, heat_loss, siren_loss
from fusion_rt.model.network import FusionModel, seeded_model
from fusion_rt.model.train_config import TrainConfig

CHECKPOINT = "last.pt"
LOG = "log.jsonl"
_TOLD = ("present", "age_s", "ego", "grid", "valid")
_ASKED = ("heat", "ignored", "index", "values", "is_object")

Report = Callable[[dict[str, float]], None]


class Trainer:
    """One run: its weights, how far it has come, and its folder."""

    def __init__(self, config: TrainConfig, folder: Path, clock: Clock) -> None:
        self.config, self.folder, self._clock = config, folder, clock
        self.model = seeded_model(config.model, config.seed)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = seeded_model(config.model, config.seed)
        self.optimizer = torch.optim.AdamW(_groups(self.model, config), foreach=True)
        self.steps = self.samples = self.sittings = 0
        self.trained_ns = 0
        if (folder / CHECKPOINT).exists():
            self._resume()
        self.sittings += 1

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the run is over."""
        if self.config.minutes is not None:
            return self.trained_ns / NS_PER_S / 60 / self.config.minutes
        return self.samples / self.config.samples

    def run(self, report: Report | None = None) -> None:
        """Train until the run is over; a checkpoint is written now and then and at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        source = batches(self.config, self.sittings)
        before_ns = saved_ns = self._clock.now_ns()
        while self.progress < 1:
            values = self.step(source)
            now_ns = self._clock.now_ns()
            self.trained_ns += now_ns - before_ns
            before_ns = now_ns
            self._log(values, report)
            if now_ns - saved_ns > self.config.checkpoint_s * NS_PER_S:
                self.save()
                saved_ns = now_ns
        self.save()

    def step(self, source: Iterator[Batch]) -> dict[str, float]:
        """One step of the optimizer; what it cost, by name."""
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        self.model.train()
        values: dict[str, float] = defaultdict(float)
        for _ in range(self.config.accumulate):
            batch = next(source)
            losses = step_losses(self.model, batch, self.config)
            weighted = _weighted(losses, self.config)
            (weighted / self.config.accumulate).backward()
            for name, loss in losses.items():
                values[name] += float(loss.detach()) / self.config.accumulate
            self.samples += len(batch["image"])
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        self._average()
        return {**values, "norm": float(norm), "rate": rate}

    def save(self) -> None:
        """Write the checkpoint; a kill in between leaves the one before."""
        part = self.folder / "part.pt"
        torch.save(
            {
                "config": msgspec.json.encode(self.config),
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "steps": self.steps,
                "samples": self.samples,
                "sittings": self.sittings,
                "trained_ns": self.trained_ns,
            },
            part,
        )
        part.rename(self.folder / CHECKPOINT)

    def _resume(self) -> None:
        saved: dict[str, Any] = torch.load(self.folder / CHECKPOINT, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.steps, self.samples = saved["steps"], saved["samples"]
        self.sittings, self.trained_ns = saved["sittings"], saved["trained_ns"]

    def _rate(self) -> float:
        """Warm-up, then a half cosine down to a hundredth."""
        warm = min(1.0, (self.steps + 1) / (self.config.warm_up + 1))
        falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.progress))
        return self.config.learning_rate * warm * max(falling, 0.01)

    @torch.no_grad()
    def _average(self) -> None:
        """Early on the average forgets faster, or it would hold on to random weights."""
        keep = min(self.config.average, (1 + self.steps) / (10 + self.steps))
        pairs = zip(
            self.average.state_dict().values(), self.model.state_dict().values(), strict=True
        )
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for slow, fast in pairs:
            if slow.is_floating_point():
                floats[0].append(slow)
                floats[1].append(fast)
            else:
                slow.copy_(fast)
        torch._foreach_lerp_(floats[0], floats[1], 1 - keep)

    def _log(self, values: dict[str, float], report: Report | None) -> None:
        row = {
            "step": self.steps,
            "samples": self.samples,
            "trained_s": round(self.trained_ns / NS_PER_S, 2),
            "progress": round(self.progress, 5),
            **{name: round(value, 5) for name, value in values.items()},
        }
        with (self.folder / LOG).open("a") as log:
            log.write(json.dumps(row) + "\n")
        if report is not None:
            report(row)


def step_losses(model: FusionModel, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """Losses by name, of a batch of moments each fused with two sets of sensors."""
    told = {name: batch[name].flatten(0, 1) for name in _TOLD}
    asked = {name: batch[name].flatten(0, 1) for name in _ASKED}
    raster = batch["raster"].contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.is_mixed):
        features = model.encode(batch["image"], raster, batch["mel"], batch["gcc"])
        maps, (camera, lidar, _) = model.fused_twice(features, told)
        camera_hint, lidar_hint = model.fusion.camera_hint(camera), model.fusion.lidar_hint(lidar)
    heat, box = detection_losses(maps, asked)
    kinds = _kinds(told["present"])
    presence, bearing = siren_loss(features.audio_siren, batch["siren"])
    return {
        "heat": heat.sum(),
        "box": box.sum(),
        **{f"heat_{name}": heat[rows].mean() for name, rows in kinds.items() if rows.any()},
        "depth": depth_loss(features.camera_depth, batch["depth"], config.model),
        "siren": presence + 0.5 * bearing,
        "siren_presence": presence,
        "siren_bearing": bearing,
        "hint": _hint(camera_hint, asked, kinds["camera"])
        + _hint(lidar_hint, asked, kinds["lidar"]),
    }


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


def _weighted(losses: dict[str, Tensor], config: TrainConfig) -> Tensor:
    weights = {name: getattr(config.loss, name) for name in config.loss.__struct_fields__}
    return torch.stack([losses[name] * weight for name, weight in weights.items()]).sum()


def _groups(model: FusionModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameters per graph; norms and biases do not decay."""
    groups = []
    for name in config.learning_rates.__struct_fields__:
        times = getattr(config.learning_rates, name)
        parameters = list(getattr(model, name).parameters())
        decaying = [p for p in parameters if p.dim() > 1]
        others = [p for p in parameters if p.dim() <= 1]
        groups.append({"params": decaying, "weight_decay": config.weight_decay, "times": times})
        groups.append({"params": others, "weight_decay": 0.0, "times": times})
    return groups
