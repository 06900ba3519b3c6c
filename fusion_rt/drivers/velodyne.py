"""Velodyne LiDARs: packets from the network or a recording to sweeps."""

from pathlib import Path
from typing import Literal

from fusion_rt.drivers.port import Driver, DriverPort, Messages, RigPath
from fusion_rt.lidar.hdl64 import read_calibration
from fusion_rt.lidar.options import LidarOptions
from fusion_rt.lidar.stream import open_lidar
from fusion_rt.lidar.velodyne import PORT, VelodyneDecoder
from fusion_rt.lidar.velodyne_models import MODELS


class VelodyneOptions(LidarOptions, frozen=True, kw_only=True):
    """Options of a Velodyne."""

    model: Literal[
        "VLP-16", "Puck-Hi-Res", "VLP-32C", "HDL-32E", "HDL-64E-S2", "HDL-64E-S3", "VLS-128"
    ]
    """A Puck LITE is a VLP-16, an Ultra Puck a VLP-32C, an Alpha Prime a VLS-128."""
    calibration: RigPath | None = None
    """YAML of the unit's own angles and corrections; must be there for an HDL-64E."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration is None and not MODELS[self.model].elevation_deg:
            raise ValueError(
                f"expected calibration, a YAML file, beside model {self.model}, got none"
            )


def make_decoder(options: VelodyneOptions) -> VelodyneDecoder:
    """Raises ValueError or OSError for a calibration file that cannot be used."""
    least_range_m = options.min_range_m or 0.0
    if options.calibration is None:
        return VelodyneDecoder(options.model, least_range_m=least_range_m)
    lasers = MODELS[options.model].lasers
    return VelodyneDecoder(
        options.model,
        *read_calibration(Path(options.calibration), lasers),
        least_range_m=least_range_m,
    )


def _open(options: VelodyneOptions, port: DriverPort) -> Messages:
    return open_lidar(options, port, lambda: make_decoder(options), PORT)


DRIVERS = {"lidar": Driver(VelodyneOptions, _open)}
