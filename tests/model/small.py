"""A small model and a few moments, for tests that need trained or trainable weights."""

from pathlib import Path

from fusion_rt.model.model_config import FusionKind, ModelConfig
from fusion_rt.model.moments import write_moments
from fusion_rt.model.render import RenderSize, rendered_worlds
from fusion_rt.model.train_config import TrainConfig
from fusion_rt.rig import find_rig, load_rig

SEED = 3_000_000


def small_model(fusion: FusionKind = "gate") -> ModelConfig:
    return ModelConfig(
        fusion=fusion,
        camera_channels=(8, 8, 8, 8, 8),
        lift_channels=8,
        depth_bins=12,
        lidar_channels=(8, 8, 8),
        audio_channels=4,
        bev_channels=8,
        neck_channels=8,
    )


def small_config(data: Path, **fields: object) -> TrainConfig:
    return TrainConfig(
        data=str(data),
        model=small_model(),
        batch=2,
        loaders=0,
        warm_up=0,
        is_mixed=False,
        **fields,  # type: ignore[arg-type]
    )


def write_small_moments(folder: Path) -> Path:
    """Two worlds of three moments."""
    folder.mkdir(parents=True, exist_ok=True)
    calibration = load_rig(find_rig("sim")).calibration
    size = RenderSize(per_world=3, beams="vlp16", columns=300)
    for seed, moments in rendered_worlds(calibration, iter([SEED, SEED + 1]), size):
        write_moments(folder, seed, moments)
    return folder
