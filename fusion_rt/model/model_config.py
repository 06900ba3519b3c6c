"""What the reference model is made of; everything a checkpoint needs to be built again."""

from typing import Annotated, Literal

import msgspec

Channels = Annotated[int, msgspec.Meta(ge=4, le=1024)]
FusionKind = Literal["early", "late", "gate", "attention", "hybrid"]
STREAMS = ("camera", "lidar", "audio", "gps")
"""In the order of `present`, `age_s` and `contributions`."""
CLASSES = ("car", "truck", "pedestrian", "cyclist", "emergency")


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the graphs."""

    fusion: FusionKind = "gate"
    camera_channels: tuple[Channels, Channels, Channels, Channels, Channels] = (
        16, 40, 80, 128, 160,
    )  # fmt: skip
    """At 1/2, 1/4, 1/8, 1/16, 1/32 of the picture."""
    lift_channels: Channels = 40
    depth_bins: Channels = 40
    depth_range_m: tuple[float, float] = (2.0, 60.0)
    """Middle of the first and the last bin; those in between grow by the same factor."""
    lidar_channels: tuple[Channels, Channels, Channels] = (32, 64, 96)
    """At 0.4, 0.8 and 1.6 m per cell."""
    audio_channels: Channels = 16
    sectors: Annotated[int, msgspec.Meta(ge=8, le=360)] = 36
    bev_channels: Channels = 64
    neck_channels: Channels = 96
    gate_channels: Channels = 16
    heads: Annotated[int, msgspec.Meta(ge=1, le=16)] = 4
    """Of attention."""
