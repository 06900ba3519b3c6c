"""Decodes Ouster's lidar packets: OS-0, OS-1, OS-2 and OS-Dome, in every profile with ranges."""

import struct

import numpy as np
import numpy.typing as npt

from fusion_rt.lidar.cloud import Cloud, Floats, Integers, ranks, sane_times
from fusion_rt.lidar.crc64 import find_crc64
from fusion_rt.lidar.ouster_metadata import OusterUnit
from fusion_rt.lidar.ouster_packet import PacketLayout
from fusion_rt.lidar.turns import TURN, Turn, stacked

PORT = 7502
_MM = np.float32(0.001)
_LIDAR_DATA = 1  # packet type
_NO_CHECKSUM = (0, 0xDEADBEEF0000C0DE)
"""What firmware before 3.1 writes in its place."""


class OusterDecoder:
    """Packets of one unit, described by its metadata."""

    wrap_ns = 2**62
    """Columns say 64-bit nanoseconds."""

    def __init__(self, unit: OusterUnit, least_range_m: float = 0.0) -> None:
        self.layout = PacketLayout(unit)
        self._unit = unit
        self._least_mm = max(round(least_range_m * 1000), 1)
        self._direction, self._origin_m = beam_tables(unit)
        self._ring = ranks(np.array(unit.altitude_rad))
        self._crc64 = None
        if not (self.layout.is_legacy or self.layout.is_fusa):
            self._crc64 = find_crc64()
        first, last = (column // unit.columns_per_packet for column in unit.window)
        self._turn_packets = unit.columns // unit.columns_per_packet
        self._first_packet = first
        self._sent_packets = (last - first) % self._turn_packets + 1
        frames = 2**32 if self.layout.is_fusa else 2**16
        self.number_modulus = frames * self._sent_packets

    def problem(self, packet: bytes) -> str | None:
        layout, unit = self.layout, self._unit
        if len(packet) != layout.size:
            return "foreign_packets"
        if not layout.is_legacy and packet[0] != _LIDAR_DATA:
            return "foreign_packets"
        if unit.serial and self._serial(packet) not in (0, unit.serial):
            return "foreign_packets"
        if self._crc64 is not None:
            (said,) = struct.unpack_from("<Q", packet, layout.size - 8)
            if said not in _NO_CHECKSUM and said != self._crc64(packet[:-8]):
                return "corrupt_packets"
        return "corrupt_packets" if max(self._columns(packet)) >= unit.columns else None

    def angles(self, packet: bytes) -> list[int]:
        return [column * TURN // self._unit.columns for column in self._columns(packet)]

    def last_angle(self, packet: bytes) -> int:
        return self._column(packet, self.layout.columns - 1) * TURN // self._unit.columns

    def device_times(self, packets: list[bytes]) -> Integers:
        columns = stacked(packets, self.layout.packet)["columns"]
        times: Integers = columns["TIMESTAMP"][:, -1].view(np.int64)
        return times

    def numbers(self, packets: list[bytes]) -> Integers:
        return np.array([self._number(packet) for packet in packets])

    def decode(self, turn: Turn) -> Cloud | None:
        data = stacked(turn.packets, self.layout.packet)
        columns = data["columns"].ravel()
        place = columns["MEASUREMENT_ID"].astype(np.int64)
        time_ns = columns["TIMESTAMP"].view(np.int64)
        is_in = (columns["STATUS"] & 1 == 1) & (place < self._unit.columns)
        is_sane = sane_times(time_ns)
        corrupt = int((is_in & ~is_sane).sum()) // self.layout.columns
        is_in &= is_sane
        is_in[: turn.first_column] = False
        if turn.end_column is not None:
            is_in[len(columns) - self.layout.columns + turn.end_column :] = False
        if not is_in.any():
            return None
        end_ns = int(time_ns[is_in].max())
        dt_s = ((time_ns - end_ns) * 1e-9).astype(np.float32)
        parts = [
            self._returns(data, second, is_in, place, dt_s)
            for second in ("", "2")
            if f"RANGE{second}" in self.layout.fields
        ]
        values = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        x_m, y_m, z_m, intensity, dt_s = values[:5]
        return Cloud(x_m, y_m, z_m, intensity, dt_s, values[5].astype(np.uint16), end_ns, corrupt)

    def _returns(
        self,
        data: npt.NDArray[np.void],
        second: str,
        is_in: npt.NDArray[np.bool_],
        place: Integers,
        dt_s: Floats,
    ) -> tuple[npt.NDArray[np.generic], ...]:
        """x, y, z, intensity, dt and ring of the first or the second returns."""
        range_mm = self.layout.field(data, f"RANGE{second}").reshape(len(is_in), -1)
        hit = np.flatnonzero((range_mm >= self._least_mm) & is_in[:, None])
        column, beam = np.divmod(hit, self.layout.beams)
        range_m = range_mm.ravel()[hit].astype(np.float32) * _MM
        table = place[column] * self.layout.beams + beam
        reflectivity = self.layout.field(data, f"REFLECTIVITY{second}").ravel()[hit]
        return (
            range_m * self._direction[0][table] + self._origin_m[0][table],
            range_m * self._direction[1][table] + self._origin_m[1][table],
            range_m * self._direction[2][table] + self._origin_m[2][table],
            np.minimum(reflectivity * np.float32(1 / 255), np.float32(1)),
            dt_s[column],
            self._ring[beam],
        )

    def _columns(self, packet: bytes) -> list[int]:
        return [self._column(packet, column) for column in range(self.layout.columns)]

    def _column(self, packet: bytes, column: int) -> int:
        at = self.layout.head_bytes + column * self.layout.column_bytes + 8
        return packet[at] | packet[at + 1] << 8

    def _number(self, packet: bytes) -> int:
        at, size = (4, 4) if self.layout.is_fusa else (10 if self.layout.is_legacy else 2, 2)
        frame = int.from_bytes(packet[at : at + size], "little")
        place = self._column(packet, 0) // self.layout.columns
        return frame * self._sent_packets + (place - self._first_packet) % self._turn_packets

    def _serial(self, packet: bytes) -> int:
        at = 11 if self.layout.is_fusa else 7
        return 0 if self.layout.is_legacy else int.from_bytes(packet[at : at + 5], "little")


def beam_tables(unit: OusterUnit) -> tuple[Floats, Floats]:
    """(3, columns * beams) each: unit vectors and origins, in the sensor's frame, metres.

    A return lies at `range * vector + origin`: the Ouster Sensor Documentation's section "Lidar
    Range to XYZ" with its terms sorted by what depends on the range.
    """
    turn_rad = 2 * np.pi * (1 - np.arange(unit.columns) / unit.columns)[:, None]
    azimuth_rad = turn_rad - np.array(unit.azimuth_rad)
    altitude_rad = np.broadcast_to(np.array(unit.altitude_rad), azimuth_rad.shape)
    level = np.cos(altitude_rad)
    vector = np.stack(
        [np.cos(azimuth_rad) * level, np.sin(azimuth_rad) * level, np.sin(altitude_rad)]
    )
    out_m, up_m = unit.beam_m
    start_m = np.stack(
        np.broadcast_arrays(np.cos(turn_rad) * out_m, np.sin(turn_rad) * out_m, up_m)
    )
    sensor_from_lidar = np.array(unit.sensor_from_lidar).reshape(4, 4)
    rotation = sensor_from_lidar[:3, :3]
    vector_sensor = rotation @ vector.reshape(3, -1)
    start_m = np.broadcast_to(start_m, vector.shape).reshape(3, -1)
    origin_m = (
        rotation @ start_m + sensor_from_lidar[:3, 3:] - np.hypot(out_m, up_m) * vector_sensor
    )
    return vector_sensor.astype(np.float32), origin_m.astype(np.float32)
