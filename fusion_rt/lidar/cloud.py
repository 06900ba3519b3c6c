"""What every family decodes a turn to, the step before a sweep."""

from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.lidar.turns import PacketFormat, Turn

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FARTHEST_NS = 1_000_000_000
"""A packet whose own time is farther than this from its turn's median is corrupt."""


class Cloud(msgspec.Struct, frozen=True):
    """The returns of one turn, each array (N,). x forward (azimuth zero), y left, z up, metres."""

    x_m: Floats
    y_m: Floats
    z_m: Floats
    intensity: Floats
    """0..1."""
    dt_s: Floats
    """To `end_ns`, <= 0."""
    ring: npt.NDArray[np.uint16]
    end_ns: int
    """Device time of the last firing of the turn, whether or not it came back."""
    corrupt: int = 0
    """Packets left out because of what they hold."""


class Decoder(PacketFormat, Protocol):
    """One family's packets, with the tables of one model or unit."""

    wrap_ns: int
    """Device time starts again at zero after this long."""
    number_modulus: int
    """`numbers` start again at zero after this many ticks."""

    def problem(self, packet: bytes) -> str | None:
        """Why a packet must not be decoded, as the name of a counter; None when it may."""
        ...

    def decode(self, turn: Turn) -> Cloud | None:
        """The returns of a turn of checked packets; None when nothing of it can be used."""
        ...

    def numbers(self, packets: list[bytes]) -> Integers:
        """(packets,) a count that rises by the same step with every packet sent."""
        ...

    def device_times(self, packets: list[bytes]) -> Integers:
        """(packets,) device time of the end of each, nanoseconds."""
        ...


def ranks(elevation_rad: Doubles) -> npt.NDArray[np.uint16]:
    """(lasers,) uint16: each laser's place counted from the lowest beam."""
    rank = np.empty(len(elevation_rad), np.uint16)
    rank[np.argsort(elevation_rad, kind="stable")] = np.arange(len(elevation_rad))
    return rank


def unwrapped(times: Integers, wrap: int) -> Integers:
    """Times that start again at zero, made to rise across that; the first one anchors them."""
    first = times[0]
    return np.asarray(first + (times - first + wrap // 2) % wrap - wrap // 2)


def middle(values: Integers) -> int:
    """The median, but always one of the values."""
    return int(np.partition(values, len(values) // 2)[len(values) // 2])


def sane_times(times_ns: Integers) -> npt.NDArray[np.bool_]:
    """(packets,) whether each packet's time lies near the turn's."""
    near: npt.NDArray[np.bool_] = np.abs(times_ns - middle(times_ns)) <= FARTHEST_NS
    return near


def lost_packets(numbers: Integers, modulus: int) -> int:
    """Packets missing between those of one stream, from counts that rise by an even step.

    A step back, a repeat or a jump of more than a thousand is a restart or a duplicate, not a loss.
    """
    steps = np.diff(numbers) % modulus
    steps = steps[(steps > 0) & (steps < modulus // 2)]
    if not len(steps):
        return 0
    missing = np.rint(steps / np.median(steps)).astype(np.int64) - 1
    return int(missing[missing < 1000].sum())
