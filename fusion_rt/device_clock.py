"""Relates a device's own clock to rig time, when a sweep or a network camera's frame is stamped.

Packets arrive late by varying times, never early: the least difference between receipt and device
time, over the last seconds, is the offset between the clocks plus the shortest way there is. It
forgets fast enough to follow a crystal's drift (50 parts per million: 0.5 ms in 10 s).
"""

from collections import Counter
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, NS_PER_S

Integers = npt.NDArray[np.int64]
Difference = TypeVar("Difference", int, Integers)
ClockSource = Literal["receipt", "utc"]
CLOCK_JUMPS = "clock_jumps"
"""Counter of times that the device's clock was set, or the device started again."""
CLOCK_DISAGREES = "clock_disagrees"
"""Counter of sweeps stamped by receipt because the device's UTC is off by more than a second."""

_WINDOW_NS = 5 * NS_PER_S
_JUMP_NS = 250 * NS_PER_MS


class DeviceClock:
    """Follows one device; `wrap_ns` is when its time starts again at zero."""

    def __init__(self, wrap_ns: int, source: ClockSource, counters: Counter[str]) -> None:
        self._wrap_ns = wrap_ns
        self._is_utc = source == "utc"
        self._counters = counters
        self._offset_ns: int | None = None
        self._least_ns = 0
        self._window_start_ns = 0

    def observe(self, device_ns: Integers, recv_ns: Integers) -> None:
        """Take the device time of some packets and the rig time of their receipt, both (N,)."""
        apart_ns = self._signed(recv_ns - device_ns % self._wrap_ns)
        known_ns = int(apart_ns[0]) if self._offset_ns is None else self._offset_ns
        late_ns = self._signed(apart_ns - known_ns)
        middle_ns = np.partition(late_ns, len(late_ns) // 2)[len(late_ns) // 2]
        is_sane = np.abs(late_ns - middle_ns) < _JUMP_NS
        least_ns = known_ns + int(late_ns[is_sane].min())
        has_jumped = abs(least_ns - known_ns) > _JUMP_NS
        if self._offset_ns is None or has_jumped:
            self._counters[CLOCK_JUMPS] += has_jumped
            self._offset_ns = self._least_ns = least_ns
            self._window_start_ns = int(recv_ns[-1])
            return
        self._least_ns = min(self._least_ns, least_ns)
        self._offset_ns = min(self._offset_ns, least_ns)
        if recv_ns[-1] - self._window_start_ns > _WINDOW_NS:
            self._offset_ns, self._least_ns = self._least_ns, least_ns
            self._window_start_ns = int(recv_ns[-1])

    def rig_ns(self, device_ns: int, recv_ns: int) -> int:
        """Rig time of a device time that lies shortly before `recv_ns`; never after it."""
        late_ns = self._signed(recv_ns - device_ns)
        if self._is_utc and abs(late_ns) <= NS_PER_S:
            return recv_ns - max(late_ns, 0)
        self._counters[CLOCK_DISAGREES] += self._is_utc
        late_ns = self._signed(recv_ns - device_ns - (self._offset_ns or 0))
        return recv_ns - min(max(late_ns, 0), NS_PER_S)

    def _signed(self, difference_ns: Difference) -> Difference:
        half = self._wrap_ns // 2
        return (difference_ns + half) % self._wrap_ns - half
