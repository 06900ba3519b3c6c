"""A training run -> a model directory: the graphs, and the model.yaml that says what they take."""

import datetime
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fusion_rt.model.examples import IMAGE
from fusion_rt.model.export import export_graphs
from fusion_rt.model.lift import LiftGrid
from fusion_rt.model.model_config import CLASSES
from fusion_rt.model.train import read_average
from fusion_rt.model_file import MODEL_FILE, load_model

_HEADER = """\
# Trained on simulation; not for real roads. docs/model_card.md says how well it does.
"""


def write_model_dir(run: Path, folder: Path, name: str, date: datetime.date) -> None:
    """Write the graphs of a run's averaged weights and their model.yaml, and read them back."""
    config, model, reached = read_average(run)
    export_graphs(model, folder)
    digest = hashlib.sha256(msgspec.json.encode(config)).hexdigest()
    provenance = {
        "date": date.isoformat(),
        "config_digest": digest,
        "seed": config.seed,
        "note": f"{reached['samples']} moments in {reached['steps']} steps",
    }
    write_model_file(folder, {"name": name, **_inputs(model.grid), "provenance": provenance})


def write_model_file(folder: Path, tree: dict[str, Any]) -> None:
    """Write model.yaml, and read it back."""
    (folder / MODEL_FILE).write_text(_HEADER + yaml.safe_dump(tree, sort_keys=False))
    load_model(folder)


def _inputs(grid: LiftGrid) -> dict[str, Any]:
    lift = {
        "x_min_m": grid.x_min_m,
        "y_min_m": grid.y_min_m,
        "cell_m": grid.cell_m,
        "columns": grid.columns,
        "rows": grid.rows,
        "heights_m": list(grid.heights_m),
    }
    return {
        "classes": list(CLASSES),
        "thresholds": {"NORMAL": 0.3, "DEGRADED": 0.3, "MINIMAL": 0.3, "BLIND": 0.9},
        "siren_threshold": 0.5,
        "box_range": {
            "x_min_m": grid.x_min_m,
            "y_min_m": grid.y_min_m,
            "x_max_m": grid.x_min_m + grid.columns * grid.cell_m,
            "y_max_m": grid.y_min_m + grid.rows * grid.cell_m,
        },
        "camera": {
            "onnx": "camera.onnx",
            "width": IMAGE.out_width,
            "height": IMAGE.out_height,
            "lift": lift,
        },
        "lidar": {"onnx": "lidar.onnx"},
        "audio": {"onnx": "audio.onnx"},
        "gps": {},
        "fusion": {"onnx": "fusion.onnx"},
    }
