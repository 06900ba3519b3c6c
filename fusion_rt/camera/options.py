"""What the entries of camera drivers in a rig file share."""

from typing import Annotated, Literal

import msgspec

from fusion_rt.clock import NS_PER_MS
from fusion_rt.drivers.port import CameraOptions

Decoded = Literal["bgr8", "rgb8", "mono8"]
"""What compressed pictures can be turned into here."""
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1000)]
LatencyMs = Annotated[float, msgspec.Meta(ge=-1000, le=5000)]


class LiveCameraOptions(CameraOptions, frozen=True, kw_only=True):
    """How what a live camera tells of its time becomes mid-exposure."""

    exposure_ms: Milliseconds | None = None
    """How long each row is exposed, where the camera does not say."""
    latency_ms: LatencyMs = 0
    """From the instant that the camera states to the one that was measured otherwise."""

    def exposure_ns(self) -> int:
        """0 when unknown."""
        return round((self.exposure_ms or 0) * NS_PER_MS)

    def latency_ns(self) -> int:
        return round(self.latency_ms * NS_PER_MS)
