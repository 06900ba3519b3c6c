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
    geoid_separation_m: Annotated[
        float | None,
        msgspec.Meta(
            ge=-120, le=120, description="geoid above ellipsoid here, for receivers not saying it"
        ),
    ] = None

    def payload_bytes(self) -> int:
        return 0


class LiveGpsOptions(GpsOptions, frozen=True, kw_only=True):
    """How the time of a connected receiver becomes rig time."""

    latency_ms: Annotated[
        float | None,
        msgspec.Meta(ge=0, le=5000, description="from the solution to its first byte, if measured"),
    ] = None
    pps: Annotated[
        str | None,
        msgspec.Meta(pattern="^/dev/", description="kernel PPS device, for example /dev/pps0"),
    ] = None

    def latency_ns(self) -> int | None:
        return None if self.latency_ms is None else round(self.latency_ms * NS_PER_MS)
