"""How the reference model is trained: one YAML file, every field with a default."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fusion_rt.config import Problems, checked
from fusion_rt.model.model_config import ModelConfig
from fusion_rt.yaml_file import read_yaml

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any mapping of a training file."""


class Masks(_Part, frozen=True, kw_only=True):
    """Which sensors a step shows: each moment is encoded once and fused twice."""

    full: Share = 0.4
    """Of the first fusions that have all sensors; the others draw one of the 12 sets that hold
    camera or LiDAR, all alike."""
    camera_alone: Share = 0.85
    """Of the second fusions that have a camera and no LiDAR; the others have it the other way."""


class Augment(_Part, frozen=True, kw_only=True):
    """What is made worse than it was measured."""

    camera_turn_deg: NotNegative = 0.2
    """Error of the camera's calibration, one standard deviation per axis."""
    camera_far_off: Share = 0.1
    """Of moments where that is four times as much."""
    camera_move_m: NotNegative = 0.02
    unknown_motion: Share = 0.2
    """Of moments without de-skewing, and, without GPS, without compensation."""
    light: Share = 0.5
    """Of pictures with other gain, offset and gamma."""
    patches: Share = 0.1
    """Of pictures with something stuck to the lens."""
    thinned: Share = 0.15
    """Of sweeps that lose up to three quarters of their points."""
    sound_db: NotNegative = 6.0


class LossWeights(_Part, frozen=True, kw_only=True):
    """What counts how much."""

    heat: NotNegative = 1.0
    box: NotNegative = 1.0
    depth: NotNegative = 0.5
    siren: NotNegative = 0.5
    hint: NotNegative = 0.2
    """Of each sensor's own map, before fusion."""
    pairing: NotNegative = 0.0
    """Contrast between what camera and LiDAR say of the same and of other objects."""
    teacher: NotNegative = 1.0
    """Distance from a teacher's answers, where there is one."""


class LearningRates(_Part, frozen=True, kw_only=True):
    """Times `learning_rate`, per graph; a graph at 0 stays as it began."""

    camera: NotNegative = 1.0
    lidar: NotNegative = 1.0
    audio: NotNegative = 0.5
    fusion: NotNegative = 1.0


class Beginning(_Part, frozen=True, kw_only=True):
    """Another run's averaged weights, to begin with."""

    run: str
    """Its folder."""
    graphs: tuple[Literal["camera", "lidar", "audio", "fusion"], ...] = (
        "camera", "lidar", "audio", "fusion",
    )  # fmt: skip
    """What to take; the others begin at random."""


class TrainConfig(_Part, frozen=True, kw_only=True):
    """One training run."""

    data: str
    """Folder of moments, or `simulator`: worlds are rendered as they are needed, each once."""
    rig: str = "sim"
    """Whose calibration the simulator takes."""
    first_seed: Annotated[int, msgspec.Meta(ge=0)] = 1_000_000
    """Of the worlds to render; those below 1,000,000 are for measuring and finishing."""
    model: ModelConfig = ModelConfig()
    begin: Beginning | None = None
    """None: all at random."""
    seed: int = 1
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    accumulate: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Batches per step of the optimizer."""
    samples: Annotated[int, msgspec.Meta(ge=1)] = 40_000
    """After so many the run is over, and the learning rate at its lowest."""
    minutes: Positive | None = None
    """Over after so long instead, all sittings together."""
    learning_rate: Positive = 2e-3
    learning_rates: LearningRates = LearningRates()
    warm_up: Annotated[int, msgspec.Meta(ge=0)] = 60
    """Steps."""
    weight_decay: NotNegative = 0.01
    clip: Positive = 5.0
    """Norm of the gradient."""
    average: Share = 0.998
    """Of the averaged weights that a step keeps."""
    is_mixed: bool = True
    """bfloat16 where it is safe."""
    loaders: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1
    """Processes that prepare batches; 0: the training process itself."""
    checkpoint_s: Positive = 120.0
    teacher: str = ""
    """Folder of another run, whose answers are to be learned as well."""
    curriculum: Share = 0.0
    """Share of the run in which night, rain and fog come in little by little."""
    masks: Masks = Masks()
    augment: Augment = Augment()
    loss: LossWeights = LossWeights()


def load_train_config(path: Path) -> TrainConfig:
    """Read and check a training file; raises ConfigErrors with all that is wrong."""
    file = read_yaml(path)
    problems = Problems(file)
    config = checked(file.tree, TrainConfig, (), problems)
    if config is None or problems.errors:
        raise problems.as_error()
    return config
