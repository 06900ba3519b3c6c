"""What the entries of all sound drivers in a rig file share."""

import math
from typing import Annotated

import msgspec

from fusion_rt.drivers.port import AudioOptions


class ChunkOptions(AudioOptions, frozen=True, kw_only=True):
    """Sound comes in chunks of equal length, which settle the rate of messages."""

    chunk_ms: Annotated[float, msgspec.Meta(ge=1, le=500)] = 20

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not math.isclose(self.rate_hz, 1000 / self.chunk_ms):
            wanted = f"{1000 / self.chunk_ms:g}, which chunk_ms settles, or none"
            raise ValueError(f"expected rate_hz {wanted}, got {self.rate_hz:g}")

    def stated_rate_hz(self) -> float:
        return 1000 / self.chunk_ms
