"""Hesai LiDARs: packets from the network or a recording to sweeps."""

from pathlib import Path
from typing import Literal

from fusion_rt.drivers.port import Driver, DriverPort, Messages, RigPath
from fusion_rt.lidar.hesai import PORT, HesaiDecoder, read_angles
from fusion_rt.lidar.hesai_models import MODELS
from fusion_rt.lidar.options import LidarOptions
from fusion_rt.lidar.stream import open_lidar


class HesaiOptions(LidarOptions, frozen=True, kw_only=True):
    """Options of a Hesai."""

    model: Literal["Pandar40P", "Pandar64", "Pandar128", "XT16", "XT32", "XT32M", "QT64", "QT128"]
    """An OT128 is a Pandar128, an XT32M2X an XT32M."""
    calibration: RigPath | None = None
    """CSV of the unit's own angles; must be there for all but the XT, whose units are alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration is None and not MODELS[self.model].elevation_deg:
            raise ValueError(
                f"expected calibration, a CSV file, beside model {self.model}, got none"
            )


def make_decoder(options: HesaiOptions) -> HesaiDecoder:
    """Raises ValueError or OSError for an angle file that cannot be used."""
    if options.calibration is None:
        return HesaiDecoder(options.model, least_range_m=options.min_range_m)
    lasers = read_angles(Path(options.calibration), MODELS[options.model].lasers)
    return HesaiDecoder(options.model, lasers, options.min_range_m)


def _open(options: HesaiOptions, port: DriverPort) -> Messages:
    return open_lidar(options, port, lambda: make_decoder(options), PORT)


DRIVERS = {"lidar": Driver(HesaiOptions, _open)}
