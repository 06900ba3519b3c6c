"""Ouster LiDARs: packets from the network or a recording to sweeps."""

from pathlib import Path

from fusion_rt.drivers.port import Driver, DriverPort, Messages, RigPath
from fusion_rt.lidar.options import LidarOptions
from fusion_rt.lidar.ouster import PORT, OusterDecoder
from fusion_rt.lidar.ouster_metadata import read_metadata
from fusion_rt.lidar.stream import open_lidar


class OusterOptions(LidarOptions, frozen=True, kw_only=True):
    """Options of an Ouster."""

    metadata: RigPath
    """JSON file that the sensor offers at /api/v1/sensor/metadata."""


def make_decoder(options: OusterOptions) -> OusterDecoder:
    """Raises ValueError or OSError for a metadata file that cannot be used."""
    return OusterDecoder(read_metadata(Path(options.metadata)), options.min_range_m or 0.0)


def _open(options: OusterOptions, port: DriverPort) -> Messages:
    return open_lidar(options, port, lambda: make_decoder(options), PORT)


DRIVERS = {"lidar": Driver(OusterOptions, _open)}
