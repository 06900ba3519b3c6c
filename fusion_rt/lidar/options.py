"""What every LiDAR entry of a rig file may say, whoever made the sensor."""

import ipaddress
from typing import Annotated

import msgspec

from fusion_rt.device_clock import ClockSource
from fusion_rt.drivers.port import RigPath, SensorOptions

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535, description="UDP port")]
AzimuthDeg = Annotated[float, msgspec.Meta(ge=0, lt=360)]
RangeM = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Speed = Annotated[float, msgspec.Meta(ge=0.01, le=100, description="1: as recorded")]


class LidarOptions(SensorOptions, frozen=True, kw_only=True):
    """Where the packets come from, and how they become sweeps."""

    listen: str = "0.0.0.0"
    """Address of this machine on which the sensor's packets arrive."""
    port: Port | None = None
    """Live: the maker's usual port when absent. In a recording: packets to every port."""
    host: str | None = None
    """Only packets from this address; needed where two sensors send to one port."""
    group: str | None = None
    """Multicast group to join."""
    path: RigPath | None = None
    """A recording instead of the network: pcap, pcapng, or a ROS 2 bag (.db3, .mcap, folder)."""
    topic: str | None = None
    """Topic of a bag that holds more than one with packets."""
    repeat: bool = False
    """Play the recording again and again."""
    speed: Speed = 1.0
    cut_deg: AzimuthDeg = 0.0
    """Azimuth at which a sweep ends and the next begins, as the sensor counts it."""
    min_range_m: RangeM | None = None
    """Nearer returns are left out; the maker's least range when absent."""
    clock: ClockSource = "receipt"
    """What stamps rest on: receipt of the packets, or the sensor's own UTC from PTP or GPS."""

    def __post_init__(self) -> None:
        for name in ("listen", "host", "group"):
            _check_address(name, getattr(self, name))
        if self.path is None:
            self._check_live()
        else:
            self._check_recorded()

    def _check_live(self) -> None:
        if self.topic is not None or self.repeat or self.speed != 1.0:
            raise ValueError("expected path beside topic, repeat or speed, got none")

    def _check_recorded(self) -> None:
        if self.group is not None or self.listen != "0.0.0.0":
            raise ValueError("expected path, or listen and group, got both")
        if self.clock != "receipt":
            raise ValueError("expected clock receipt beside path: a recording's UTC is over")


def _check_address(name: str, text: str | None) -> None:
    try:
        address = None if text is None else ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(f'expected {name} as an IPv4 address, got "{text}"') from None
    if name == "group" and address is not None and not address.is_multicast:
        raise ValueError(f"expected group in 224.0.0.0 to 239.255.255.255, got {text}")
