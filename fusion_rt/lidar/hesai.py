"""Decodes Hesai's data packets: Pandar40P, 64 and 128, XT16, XT32, XT32M, QT64 and QT128."""

import calendar
import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.lidar.blocks import Fields, Lasers, place, select_returns
from fusion_rt.lidar.cloud import Cloud, Integers, ranks
from fusion_rt.lidar.hesai_models import MODELS, Model, schedule
from fusion_rt.lidar.turns import TURN, Turn, stacked

PORT = 2368
_START = b"\xee\xff"
_BLOCK_START = b"\xff\xee"
_PANDAR40_UNIT_M = 0.004  # its packets have no header to say so
_RETURNS = {0x39: 2, 0x3A: 2, 0x3B: 2, 0x3C: 2, 0x3D: 3, 0x3E: 2}
"""Return mode -> blocks with one azimuth; all other modes have one."""


def names_model(packet: bytes, model: Model) -> bool:
    """Whether a packet of the right size says that it is this model's."""
    if model.counts_at is None:
        ends = range(0, model.blocks * model.block_bytes, model.block_bytes)
        return all(packet[at : at + 2] == _BLOCK_START for at in ends)
    counts = packet[model.counts_at : model.counts_at + 2]
    return packet[:2] == _START and counts == bytes((model.lasers, model.blocks))


class HesaiDecoder:
    """Packets of one model with the angles of one unit; those of the design when None."""

    wrap_ns = 2**62
    """Packets say the date."""
    number_modulus = 2**32

    def __init__(
        self, model: str, lasers: Lasers | None = None, least_range_m: float | None = None
    ) -> None:
        self._model = MODELS[model]
        self._least_range_m = self._model.nearest_m if least_range_m is None else least_range_m
        self._lasers = lasers or design_lasers(model)
        self._schedules = {count: schedule(self._model, count) for count in (1, 2, 3)}
        ends = self._model.azimuth_at + self._model.block_bytes * self._model.blocks
        self._azimuths_at = range(self._model.azimuth_at, ends, self._model.block_bytes)

    def problem(self, packet: bytes) -> str | None:
        model = self._model
        if len(packet) not in model.sizes:
            return "foreign_packets"
        if not names_model(packet, model):
            return "wrong_model"
        return "corrupt_packets" if max(self.angles(packet)) >= TURN else None

    def angles(self, packet: bytes) -> list[int]:
        return [packet[at] | packet[at + 1] << 8 for at in self._azimuths_at]

    def last_angle(self, packet: bytes) -> int:
        at = self._azimuths_at[-1]
        return packet[at] | packet[at + 1] << 8

    def device_times(self, packets: list[bytes]) -> Integers:
        data = stacked(packets, self._model.layout)
        plan = self._schedules[_RETURNS.get(int(data["mode"][0]), 1)]
        return np.asarray(_times_ns(data) + plan.offset_ns.max())

    def numbers(self, packets: list[bytes]) -> Integers:
        at = self._model.number_at
        if at is not None and min(map(len, packets)) >= at + 4:
            return np.array([int.from_bytes(packet[at : at + 4], "little") for packet in packets])
        return self.device_times(packets) // 1000 % self.number_modulus

    def decode(self, turn: Turn) -> Cloud | None:
        data = stacked(turn.packets, self._model.layout)
        blocks = data["blocks"]
        unit_m = _PANDAR40_UNIT_M
        if self._model.counts_at is not None:
            unit_m = max(float(np.median(data["unit_mm"])), 1.0) / 1000
        count = _RETURNS.get(int(np.median(data["mode"])), 1)
        fields = Fields(
            raw_range=blocks["units"]["range"],
            range_unit_m=unit_m,
            least_range_m=self._least_range_m,
            reflectivity=blocks["units"]["reflectivity"],
            azimuth=blocks["azimuth"],
            time_ns=_times_ns(data),
        )
        returns = select_returns(fields, turn, self._schedules[count])
        if returns is None:
            return None
        return place(returns, returns.slot % self._model.lasers, self._lasers)


def design_lasers(model: str) -> Lasers:
    """The beams of a model whose units hardly differ from their design."""
    elevation_rad = np.radians(np.array(MODELS[model].elevation_deg))
    return Lasers(elevation_rad, np.zeros_like(elevation_rad), ranks(elevation_rad))


def read_angles(path: Path, lasers: int) -> Lasers:
    """The angle file of one unit, comma-separated with the columns channel, elevation, azimuth.

    Rows that do not start with a number are headings, or the check sum that some models append.
    Raises ValueError that says what is wrong with the file, OSError where there is none.
    """
    rows = csv.reader(path.read_text(errors="replace").splitlines())
    try:
        angles = {
            int(row[0]): (float(row[1]), float(row[2]))
            for row in rows
            if row and row[0].isdecimal()
        }
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{path}: expected rows of channel, elevation, azimuth; {error}"
        ) from error
    if sorted(angles) != list(range(1, lasers + 1)):
        raise ValueError(f"{path}: expected channels 1 to {lasers}, got {len(angles)} rows")
    table = np.radians(np.array([angles[channel] for channel in sorted(angles)]))
    if not np.isfinite(table).all():
        raise ValueError(f"{path}: expected finite angles")
    return Lasers(table[:, 0], table[:, 1], ranks(table[:, 0]))


def _times_ns(data: npt.NDArray[np.void]) -> Integers:
    """(packets,) UTC as the packets say it."""
    dates, which = np.unique(data["date"].reshape(len(data), 6), axis=0, return_inverse=True)
    seconds = np.array([_seconds(date.tolist()) for date in dates], np.int64)[which.ravel()]
    microseconds = data["time_us"].astype(np.int64)
    times_ns: Integers = seconds * NS_PER_S + microseconds * 1000
    return times_ns


def _seconds(date: list[int]) -> int:
    """UTC of a date of six bytes. Years count from 1900 or 2000, by model and firmware.

    A unit without PTP or GPS may send no valid date; its time of day still orders its packets.
    """
    year, month, day, hour, minute, second = date
    clock = hour * 3600 + minute * 60 + second
    try:
        return calendar.timegm((1900 + year + 100 * (year < 100), month, day, 0, 0, 0)) + clock
    except ValueError:
        return clock
