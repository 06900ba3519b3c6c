"""The five ways to join sensors, each trained alike and measured on the same held-out worlds.

python -m benchmarks.joins CONFIG -o FOLDER [--data FOLDER] [--run FOLDER] [--scenes N]

All begin with the encoders of one finished run, which stay as they are, and see the same moments in
the same order: what differs is the fusion graph. A run that was stopped goes on. Prints Markdown;
needs the extras `train` and `sim`.
"""

import argparse
import datetime
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.rounds import table, timed_in_turns
from fusion_rt.clock import RigClock
from fusion_rt.engine.open import open_engine
from fusion_rt.evaluation.evaluate import evaluate
from fusion_rt.evaluation.result import Result
from fusion_rt.evaluation.scenes import ScenePlan, demo_calibration, scenes
from fusion_rt.evaluation.scores import HARD
from fusion_rt.evaluation.subsets import subset_name, subsets_of
from fusion_rt.model.model_config import STREAMS, FusionKind
from fusion_rt.model.model_dir import write_model_dir
from fusion_rt.model.network import FusionModel, parameter_count
from fusion_rt.model.train import Trainer
from fusion_rt.model.train_config import TrainConfig, load_train_config
from fusion_rt.perception import Mounts, open_model

SETS = ("camera+lidar+audio+gps", "lidar+audio+gps", "camera+audio+gps", "lidar", "camera")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    config = _config(arguments)
    print(f"| join | {' | '.join(SETS)} | hard, all sensors | values |")
    print("|" + " --- |" * (len(SETS) + 3))
    folders = {}
    for kind in get_args(FusionKind):
        model, folders[kind] = _trained(kind, config, arguments.output)
        result = _measured(folders[kind], arguments.scenes)
        scores = [result.subsets[name].map_2m for name in SETS]
        scores.append(result.subsets[SETS[0]].parts[HARD].map_2m or 0.0)
        values = f"{parameter_count(model.fusion) / 1e6:.2f} M"
        print(f"| {kind} | {' | '.join(f'{score:.3f}' for score in scores)} | {values} |")
    print()
    print(_times(folders))


def _config(arguments: argparse.Namespace) -> TrainConfig:
    """The file's, with what the command line says instead."""
    config = load_train_config(arguments.config)
    if arguments.data:
        config = msgspec.structs.replace(config, data=arguments.data)
    if arguments.run and config.begin is not None:
        begin = msgspec.structs.replace(config.begin, run=arguments.run)
        config = msgspec.structs.replace(config, begin=begin)
    return config


def _trained(kind: FusionKind, config: TrainConfig, output: Path) -> tuple[FusionModel, Path]:
    """The weights, and the folder of their model."""
    run, folder = output / kind, output / kind / "model"
    model = msgspec.structs.replace(config.model, fusion=kind)
    trainer = Trainer(msgspec.structs.replace(config, model=model), run, RigClock.starting_now())
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"training {kind}", total=1.0, completed=trainer.progress)
        trainer.run(lambda row: progress.update(task, completed=row["progress"]))
    write_model_dir(run, folder, kind, datetime.date.today())
    return trainer.average, folder


def _measured(folder: Path, count: int) -> Result:
    plan = ScenePlan(scenes=count)
    subsets = [subset for subset in subsets_of(STREAMS) if subset_name(subset) in SETS]
    with (
        open_model(folder, Mounts()) as perception,
        Progress(console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task(f"asking {folder.parent.name}", total=plan.count)
        shown = scenes(plan, demo_calibration())
        return evaluate(perception, shown, subsets, lambda: progress.advance(task)).result("")


def _times(folders: dict[str, Path]) -> str:
    """What one call of each fusion graph takes, in turns."""
    with ExitStack() as opened:
        rivals = {}
        for kind, folder in folders.items():
            engine = opened.enter_context(open_engine(folder / "fusion.onnx", "onnxruntime"))
            inputs = {n: np.ones(spec.shape, spec.dtype) for n, spec in engine.inputs.items()}
            rivals[kind] = partial(engine.run, inputs)
        return table("one call of the fusion graph", timed_in_turns(rivals, rounds=100), "gate")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", help="folder of moments, instead of the file's")
    parser.add_argument("--run", help="run to begin with, instead of the file's")
    parser.add_argument("--scenes", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
