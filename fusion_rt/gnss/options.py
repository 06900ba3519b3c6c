"""What every GPS entry of a rig file may say, whatever the receiver is connected by."""

from typing import Annotated

import msgspec

from fusion_rt.clock import NS_PER_MS
from fusion_rt.drivers.port import SensorOptions


class GpsOptions(SensorOptions, frozen=True, kw_only=True):
    """How solutions become fixes."""

    standstill_mps: Annotated[
        float, msgspec.Meta(ge=0, le=10, description="slower than this, the course is unknown")
    ] = 0.3
    user_range_error_m: Annotated[
        float,
        msgspec.Meta(gt=0, le=1000, description="accuracy = this times DOP, where none is stated"),
    ] = 4.0
    geoid_separation_m: Annotated[float, msgspec.Meta(ge=-120, le=120)] | None = None
    """Of this place, geoid above ellipsoid, for receivers that do not say it."""

    def payload_bytes(self) -> int:
        return 0


class LiveGpsOptions(GpsOptions, frozen=True, kw_only=True):
    """How the time of a connected receiver becomes rig time."""

    latency_ms: Annotated[float, msgspec.Meta(ge=0, le=5000)] | None = None
    """From the instant of a solution to its first byte, if somebody measured it."""
    pps: Annotated[str, msgspec.Meta(pattern="^/dev/")] | None = None
    """Kernel device of a pulse per second, for example /dev/pps0."""

    def latency_ns(self) -> int | None:
        return None if self.latency_ms is None else round(self.latency_ms * NS_PER_MS)
