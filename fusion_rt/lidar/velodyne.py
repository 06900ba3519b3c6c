"""Decodes Velodyne's data packets: VLP-16, Puck Hi-Res, VLP-32C, HDL-32E, HDL-64E and VLS-128."""

import struct

import numpy as np
import numpy.typing as npt

from fusion_rt.lidar.blocks import Fields, Lasers, Returns, layout, place, select_returns
from fusion_rt.lidar.cloud import Cloud, Integers, unwrapped
from fusion_rt.lidar.hdl64 import Correction, place_corrected
from fusion_rt.lidar.turns import TURN, Turn, stacked
from fusion_rt.lidar.velodyne_models import (
    BLOCKS,
    MODELS,
    PRODUCT_IDS,
    UNITS,
    factory_lasers,
    schedule,
)

PACKET_BYTES = 1206
PORT = 2368

_DUAL = 0x39  # return mode, the last byte but one
_BANKS = frozenset((0xEEFF, 0xDDFF, 0xCCFF, 0xBBFF))
_HEADS = struct.Struct("<" + "HH96x" * BLOCKS + "IBB")
_LAYOUT = layout(
    PACKET_BYTES,
    blocks=(0, BLOCKS, 100),
    azimuth_at=2,
    units=(4, UNITS, 3),
    tail={"time_us": ("<u4", 1200), "mode": ("u1", 1204)},
)


class VelodyneDecoder:
    """Packets of one model; `correction` where the unit brings its own calibration."""

    wrap_ns = 3_600_000_000_000
    """Packets say the time since the hour."""
    number_modulus = 3_600_000_000

    def __init__(
        self,
        model: str,
        lasers: Lasers | None = None,
        correction: Correction | None = None,
        least_range_m: float = 0.0,
    ) -> None:
        self._model = MODELS[model]
        self._lasers = lasers or factory_lasers(self._model)
        self._correction = correction
        self._least_range_m = least_range_m
        self._schedules = {is_dual: schedule(model, is_dual) for is_dual in (False, True)}
        self._says_mode = bool(self._model.product_ids)
        # Old firmware of the HDL-32E says none of them.
        self._other_ids = PRODUCT_IDS - frozenset(self._model.product_ids)

    def problem(self, packet: bytes) -> str | None:
        if len(packet) != PACKET_BYTES:
            return "foreign_packets"
        heads = _HEADS.unpack(packet)
        used = 2 * self._blocks(packet)
        if not _BANKS.issuperset(heads[0:used:2]) or max(heads[1:used:2]) >= TURN:
            return "corrupt_packets"
        if self._says_mode and heads[-1] in self._other_ids:
            return "wrong_model"
        return None

    def angles(self, packet: bytes) -> list[int]:
        heads = _HEADS.unpack(packet)
        return list(heads[1 : 2 * self._blocks(packet) : 2])

    def last_angle(self, packet: bytes) -> int:
        at = 100 * self._blocks(packet) - 98
        return packet[at] | packet[at + 1] << 8

    def _blocks(self, packet: bytes) -> int:
        """Blocks in use: a VLS-128 with dual returns leaves the last four empty."""
        return len(self._schedules[self._says_mode and packet[1204] == _DUAL].offset_ns)

    def device_times(self, packets: list[bytes]) -> Integers:
        is_dual = self._says_mode and packets[0][1204] == _DUAL
        last_ns = self._schedules[is_dual].offset_ns.max()
        return np.asarray(self.numbers(packets) * 1000 + last_ns)

    def numbers(self, packets: list[bytes]) -> Integers:
        return np.array([int.from_bytes(packet[1200:1204], "little") for packet in packets])

    def decode(self, turn: Turn) -> Cloud | None:
        data = stacked(turn.packets, _LAYOUT)
        plan = self._schedules[self._is_dual(data)]
        blocks = data["blocks"][:, : len(plan.offset_ns)]
        fields = Fields(
            raw_range=blocks["units"]["range"],
            range_unit_m=self._model.range_unit_m,
            least_range_m=self._least_range_m,
            reflectivity=blocks["units"]["reflectivity"],
            azimuth=blocks["azimuth"],
            time_ns=unwrapped(data["time_us"].astype(np.int64) * 1000, self.wrap_ns),
        )
        returns = select_returns(fields, turn, plan)
        if returns is None:
            return None
        bank = ((0xEEFF - blocks["flag"].astype(np.int64)) // 0x1100).ravel()
        laser = (bank[returns.column] * UNITS + returns.slot % UNITS) % self._model.lasers
        return self._placed(returns, laser)

    def _is_dual(self, data: npt.NDArray[np.void]) -> bool:
        if self._says_mode:
            return bool(np.median(data["mode"]) == _DUAL)
        azimuth = data["blocks"]["azimuth"]  # an HDL-64E does not say
        return bool(np.mean(azimuth[:, 0] == azimuth[:, 2]) > 0.5)

    def _placed(self, returns: Returns, laser: npt.NDArray[np.intp]) -> Cloud:
        if self._correction is None:
            return place(returns, laser, self._lasers)
        return place_corrected(returns, laser, self._lasers, self._correction)
