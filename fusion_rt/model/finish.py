"""After training: scores that say how often they are right, thresholds, and the camera in INT8.

All of it from a model directory's answers to moments that training has not seen.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import yaml

from fusion_rt.engine.precision import in_precision
from fusion_rt.evaluation.confidence import ScoreFit
from fusion_rt.evaluation.evaluate import evaluate
from fusion_rt.evaluation.scenes import Shown
from fusion_rt.model.examples import IMAGE
from fusion_rt.model.export import export_part
from fusion_rt.model.model_dir import write_model_file
from fusion_rt.model.train import read_average
from fusion_rt.model_file import MODEL_FILE
from fusion_rt.perception import Mounts, open_model
from fusion_rt.preprocess.image_prepare import ImagePreparer, plan_image

Images = npt.NDArray[np.uint8]
_MOST_IMAGES = 64
"""For the ranges of INT8; more of them change little."""


class Learned(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the answers told."""

    fit: ScoreFit
    thresholds: dict[str, float]
    """By mode, for scores as they were."""
    images: Images
    """(N, ...): some of the pictures, prepared."""


def finish_model_dir(
    run: Path, folder: Path, shown: Iterable[Shown], step: Callable[[], None] = lambda: None
) -> None:
    """Make the raw export of a run in `folder` one to use; `step` is called after each moment."""
    learned = _learned(folder, shown, step)
    _, model, _ = read_average(run)
    model.fusion.head.rescale(learned.fit.scale, learned.fit.offset)
    export_part(model, "fusion", folder)
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "camera.npz"
        np.savez(samples, image=learned.images)
        quantized = in_precision(folder / "camera.onnx", "int8", samples)
    tree = yaml.safe_load((folder / MODEL_FILE).read_text())
    fitted = {mode: round(learned.fit.of(cut), 3) for mode, cut in learned.thresholds.items()}
    tree["thresholds"] |= fitted
    tree["camera"]["precisions"] = {"int8": quantized.name}
    write_model_file(folder, tree)


def _learned(folder: Path, shown: Iterable[Shown], step: Callable[[], None]) -> Learned:
    images: list[Images] = []
    with open_model(folder, Mounts()) as perception:
        evaluation = evaluate(perception, _looked_at(shown, images), step=step)
        return Learned(
            fit=evaluation.score_fit(), thresholds=evaluation.thresholds(), images=np.stack(images)
        )


def _looked_at(shown: Iterable[Shown], images: list[Images]) -> Iterator[Shown]:
    """The same; the first pictures are kept."""
    for one in shown:
        if len(images) < _MOST_IMAGES:
            image = one.moment.image
            plan = plan_image("bgr8", image.shape[1], image.shape[0], IMAGE)
            images.append(ImagePreparer(plan).run(image).copy())
        yield one
