"""Batches for training: from a folder of moments, in other processes, in random order."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fusion_rt.model.examples import Example, ExampleMaker
from fusion_rt.model.lift import LiftGrid
from fusion_rt.model.moments import Moment, moment_files, read_moments
from fusion_rt.model.render import rendered_worlds
from fusion_rt.model.train_config import TrainConfig
from fusion_rt.rig import find_rig, load_rig

Batch = dict[str, torch.Tensor]
_SHUFFLED = 160
"""Moments that wait to be drawn: those of a world must not follow one another."""

SIMULATOR = "simulator"
"""As a folder of moments: none, render them."""
_SEEDS_PER_SITTING = 10_000_000
_FOGGY_M = 500.0
_KEPT = (0.3, 1.0, 0.6, 1.0, 1.0)
"""Of the moments whose rarest class that is, in the order of CLASSES."""


class Examples(IterableDataset[Example]):
    """Examples without end; each worker, rank and sitting has files and draws of its own."""

    def __init__(
        self, config: TrainConfig, sitting: int, first: int, rank: int, ranks: int
    ) -> None:
        self._config = config
        self._maker = ExampleMaker(config.model, LiftGrid(), config.augment, config.masks)
        self._sitting, self._first, self._rank, self._ranks = sitting, first, rank, ranks

    def __iter__(self) -> Iterator[Example]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        part, parts = self._rank * workers + number, self._ranks * workers
        rng = np.random.default_rng([self._config.seed, self._sitting, part])
        for number, moment in enumerate(_shuffled(self._chosen(part, parts, rng), rng)):
            self._made = self._first + number * parts
            yield self._maker.example(moment, rng)

    def _chosen(self, part: int, parts: int, rng: np.random.Generator) -> Iterator[Moment]:
        self._made = self._first
        for moment in self._moments(part, parts, rng):
            if rng.random() < kept_share(moment) * self._readiness(moment):
                yield moment

    def _moments(self, part: int, parts: int, rng: np.random.Generator) -> Iterator[Moment]:
        config = self._config
        if config.data == SIMULATOR:
            calibration = load_rig(find_rig(config.rig)).calibration
            first = config.first_seed + self._sitting * _SEEDS_PER_SITTING + part
            for _, moments in rendered_worlds(calibration, count(first, parts)):
                yield from moments
        while True:  # the folder is read anew each time round: it may still grow
            files = moment_files(Path(config.data))
            mine = files[part::parts] or files
            for i in rng.permutation(len(mine)).tolist():
                yield from read_moments(mine[i])

    def _readiness(self, moment: Moment) -> float:
        """How likely a moment is taken as yet: hard ones more often as the curriculum goes on."""
        conditions, reach = moment.conditions, self._config.curriculum * self._config.samples
        is_hard = (
            conditions.is_night or conditions.rain_mm_h > 0 or conditions.visibility_m < _FOGGY_M
        )
        return min(1.0, self._made / reach) if is_hard and reach else 1.0


def kept_share(moment: Moment) -> float:
    """How likely a moment is taken: those that show but cars more seldom, empty ones seldom."""
    seen = {label.class_id for label in moment.labels if label.points > 3 or label.pixels[0] > 30}
    return max((_KEPT[class_id] for class_id in seen), default=0.2)


def batches(
    config: TrainConfig, sitting: int, first: int = 0, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    """Batches without end; those of another `sitting` are others. `first`: samples made before."""
    dataset = Examples(config, sitting, first, rank, ranks)
    ahead = 4 if config.loaders else None
    loader = DataLoader(
        dataset,
        config.batch,
        num_workers=config.loaders,
        prefetch_factor=ahead,
        worker_init_fn=_single_threaded,
    )
    return iter(loader)


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)


def _shuffled(moments: Iterator[Moment], rng: np.random.Generator) -> Iterator[Moment]:
    waiting: list[Moment] = []
    for moment in moments:
        waiting.append(moment)
        if len(waiting) >= _SHUFFLED:
            chosen = int(rng.integers(len(waiting)))
            waiting[chosen], waiting[-1] = waiting[-1], waiting[chosen]
            yield waiting.pop()
