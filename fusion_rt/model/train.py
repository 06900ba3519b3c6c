"""The training loop: batches in, weights and their average out; stopped and resumed at will."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.errors import ConfigError
from fusion_rt.model.event_log import EventLog
from fusion_rt.model.loading import Batch, batches
from fusion_rt.model.network import FusionModel, seeded_model
from fusion_rt.model.ranks import Ranks
from fusion_rt.model.steps import step_losses, weighted
from fusion_rt.model.train_config import Beginning, TrainConfig

CHECKPOINT = "last.pt"
LOG = "log.jsonl"

Report = Callable[[dict[str, float]], None]


class Trainer:
    """One run: its weights, how far it has come, and its folder."""

    def __init__(
        self, config: TrainConfig, folder: Path, clock: Clock, ranks: Ranks | None = None
    ) -> None:
        self.config, self.folder, self._clock = config, folder, clock
        self.ranks = ranks or Ranks(0, 1, torch.device("cpu"))
        device = self.ranks.device
        self.model = seeded_model(config.model, config.seed).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = seeded_model(config.model, config.seed).to(device)
        if config.begin is not None:
            _begin([self.model, self.average], config.begin)
        self._frozen = _frozen(self.model, config)
        self.optimizer = torch.optim.AdamW(_groups(self.model, config), foreach=True)
        self.teacher = _teacher(config, device)
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

    def run(
        self, report: Report | None = None, should_stop: Callable[[], bool] | None = None
    ) -> None:
        """Train until the run is over, or asked to stop; writes checkpoints, also at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        first, ranks = self.samples, self.ranks
        source = batches(self.config, self.sittings, first, ranks.number, ranks.count)
        before_ns = saved_ns = self._clock.now_ns()
        with ExitStack() as open_files:
            events = self._events(open_files)
            while ranks.agreed(1.0 if should_stop and should_stop() else self.progress) < 1:
                values = self.step(source)
                now_ns = self._clock.now_ns()
                self.trained_ns += now_ns - before_ns
                before_ns = now_ns
                self._log(values, events, report)
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
        for graph in self._frozen:
            graph.eval()  # its norms keep their statistics too
        values: dict[str, float] = defaultdict(float)
        for _ in range(self.config.accumulate):
            batch = {name: value.to(self.ranks.device) for name, value in next(source).items()}
            losses = step_losses(self.model, batch, self.config, self.teacher)
            (weighted(losses, self.config) / self.config.accumulate).backward()
            for name, loss in losses.items():
                values[name] += float(loss.detach()) / self.config.accumulate
            self.samples += len(batch["image"]) * self.ranks.count
        self.ranks.share_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        self._move_average()
        return {**values, "norm": float(norm), "rate": rate}

    def save(self) -> None:
        """Write the checkpoint; a kill in between leaves the one before."""
        if not self.ranks.is_first:
            return
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
        saved = _checkpoint(self.folder, self.ranks.device)
        written = msgspec.json.decode(saved["config"], type=TrainConfig)
        if written.model != self.config.model:
            problem = "expected the model of the run that is there, got another"
            way_out = "name another folder, or take its model back into the file"
            raise ConfigError(str(self.folder), "model", problem, way_out)
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
    def _move_average(self) -> None:
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

    def _events(self, open_files: ExitStack) -> EventLog | None:
        if not self.ranks.is_first:
            return None
        return open_files.enter_context(EventLog(self.folder, self._clock))

    def _log(
        self, values: dict[str, float], events: EventLog | None, report: Report | None
    ) -> None:
        if events is None:
            return
        events.scalars(self.steps, values)
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


def read_average(folder: Path) -> tuple[TrainConfig, FusionModel, dict[str, int]]:
    """A run's configuration, its averaged weights ready to answer, and how far it had come."""
    saved = _checkpoint(folder, torch.device("cpu"))
    config = msgspec.json.decode(saved["config"], type=TrainConfig)
    model = FusionModel(config.model)
    model.load_state_dict(saved["average"])
    return config, model.eval(), {name: saved[name] for name in ("steps", "samples")}


def _checkpoint(folder: Path, device: torch.device) -> dict[str, Any]:
    path = folder / CHECKPOINT
    if not path.is_file():
        problem = f"expected the folder of a training run with a {CHECKPOINT}, found none"
        raise ConfigError(str(folder), "", problem, "fusion-rt train CONFIG -o FOLDER makes one")
    saved: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    return saved


def _teacher(config: TrainConfig, device: torch.device) -> FusionModel | None:
    if not config.teacher:
        return None
    _, teacher, _ = read_average(Path(config.teacher))
    return teacher.to(device).requires_grad_(False)


def _begin(models: list[FusionModel], begin: Beginning) -> None:
    """Take over another run's weights."""
    _, other, _ = read_average(Path(begin.run))
    for name in begin.graphs:
        weights = getattr(other, name).state_dict()
        for model in models:
            try:
                getattr(model, name).load_state_dict(weights)
            except RuntimeError as error:
                problem = f"expected a {name} graph of the same sizes, got another"
                way_out = f"give `model` the sizes of that run, or leave {name} out of `graphs`"
                raise ConfigError(begin.run, "begin", problem, way_out) from error


def _frozen(model: FusionModel, config: TrainConfig) -> list[nn.Module]:
    """The graphs that do not learn, asked for no gradients."""
    rates = config.learning_rates
    names = [name for name in rates.__struct_fields__ if getattr(rates, name) == 0]
    return [getattr(model, name).requires_grad_(False) for name in names]


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
