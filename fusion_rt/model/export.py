"""Trained weights -> ONNX graphs, one per encoder and one for fusion."""

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from fusion_rt.engine.onnx_lint import lint
from fusion_rt.errors import EngineBuildError
from fusion_rt.model.ego import EGO_SIZE
from fusion_rt.model.examples import DEPTH_CELLS, IMAGE, RASTER, SOUND
from fusion_rt.model.model_config import STREAMS
from fusion_rt.model.network import FusionModel

OPSET = 20
CAMERA_OUTPUTS = ("camera_features", "camera_depth")
LIDAR_OUTPUTS = ("lidar_bev",)
AUDIO_OUTPUTS = ("audio_polar", "audio_siren")
FUSION_INPUTS = (
    *CAMERA_OUTPUTS, *LIDAR_OUTPUTS, *AUDIO_OUTPUTS, "ego", "present", "age_s", "grid", "valid",
)  # fmt: skip
FUSION_OUTPUTS = ("boxes", "scores", "labels", "contributions", "siren")
_TENSORS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "camera": (("image",), CAMERA_OUTPUTS),
    "lidar": (("raster",), LIDAR_OUTPUTS),
    "audio": (("mel", "gcc"), AUDIO_OUTPUTS),
    "fusion": (FUSION_INPUTS, FUSION_OUTPUTS),
}
"""Inputs and outputs of each graph."""


def example_inputs(model: FusionModel) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of each graph, of the right shapes."""
    config, grid = model.config, model.grid
    rows, columns = DEPTH_CELLS
    image = torch.zeros(IMAGE.out_spec.shape, dtype=torch.uint8)
    raster = torch.zeros(1, *RASTER.raster_spec.shape)
    mel = torch.zeros(1, SOUND.channels, SOUND.bands, SOUND.frames)
    gcc = torch.zeros(1, len(SOUND.pairs), SOUND.frames, SOUND.lags)
    features = (
        torch.zeros(1, config.lift_channels, rows, columns),
        torch.full((1, config.depth_bins, rows, columns), 1 / config.depth_bins),
        torch.zeros(1, config.bev_channels, grid.rows, grid.columns),
        torch.zeros(1, config.audio_channels, config.sectors),
        torch.zeros(1, 1 + config.sectors),
    )
    streams = len(STREAMS)
    told = (torch.zeros(1, EGO_SIZE), torch.ones(1, streams), torch.zeros(1, streams))
    places = (torch.zeros(1, grid.size, 3), torch.ones(1, grid.size))
    return {
        "camera": (image,),
        "lidar": (raster,),
        "audio": (mel, gcc),
        "fusion": (*features, *told, *places),
    }


def export_graphs(model: FusionModel, folder: Path) -> None:
    """Write `camera.onnx`, `lidar.onnx`, `audio.onnx` and `fusion.onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TENSORS:
        export_part(model, name, folder)


def export_part(model: FusionModel, name: str, folder: Path) -> None:
    """Write one of them."""
    inputs, outputs = _TENSORS[name]
    example = example_inputs(model)[name]
    export_graph(getattr(model, name), example, inputs, outputs, folder / f"{name}.onnx")


def export_graph(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    path: Path,
) -> None:
    """Write one graph; raises EngineBuildError where an engine would refuse it."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            module.eval(),
            inputs,
            path,
            input_names=list(input_names),
            output_names=list(output_names),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    graph = onnx.load(path)
    _refuse_bad(graph, path)
    without_origins(graph)
    onnx.save(graph, path)


def without_origins(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of our sources: stack traces with the paths of this machine."""
    graph = model.graph
    named = (*graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *graph.node, *named):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _refuse_bad(graph: onnx.ModelProto, path: Path) -> None:
    fatal = [finding for finding in lint(graph) if finding.is_fatal]
    if fatal:
        raise EngineBuildError(path.name, "; ".join(map(str, fatal)), "change the torch module")
