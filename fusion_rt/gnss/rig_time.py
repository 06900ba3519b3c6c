"""Receivers' UTC to rig time, with its uncertainty: what a fix needs before it can be synchronized.

A message arrives some time after the instant it describes: the receiver computes, the line
transmits, the host schedules. The least delayed of the last minute shows the offset between the two
clocks, up to the latency that even it had; a pulse per second shows it directly.
"""

import math
import statistics
from collections import Counter, deque

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S

TIME_JUMPS = "time_jumps"
"""Counter of steps of the receiver's clock against the rig's, as when it learns leap seconds."""

# Data sheets and measurements put the first byte 20 to 100 ms behind the solution.
_USUAL_LATENCY_NS = 50 * NS_PER_MS
_USUAL_LATENCY_UNCERTAINTY_NS = 50 * NS_PER_MS
_STATED_LATENCY_UNCERTAINTY_NS = 5 * NS_PER_MS
_WINDOW_NS = 60 * NS_PER_S  # quartz drifts by less than 100 ppm: 6 ms
_JUMP_NS = 500 * NS_PER_MS
_SAME_NS = 100 * NS_PER_MS
_TIMES_TO_BELIEVE = 3
_MIN_UNCERTAINTY_NS = 1_000  # of the interrupt that stamps a pulse
_PULSES = 8
_PULSE_MAX_AGE_NS = 5 * NS_PER_S
_PULSE_SCATTER_NS = 2 * NS_PER_MS


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """A time of the receiver as rig time, with one standard deviation."""

    stamp_ns: int
    uncertainty_ns: int


class RigTime:
    """Follows the offset between one receiver's UTC and rig time."""

    def __init__(self, counters: Counter[str], latency_ns: int | None = None) -> None:
        """`latency_ns`: from a solution's instant to its first byte, where somebody measured it."""
        is_stated = latency_ns is not None
        self._latency_ns = _USUAL_LATENCY_NS if latency_ns is None else latency_ns
        self._latency_uncertainty_ns = (
            _STATED_LATENCY_UNCERTAINTY_NS if is_stated else _USUAL_LATENCY_UNCERTAINTY_NS
        )
        self._counters = counters
        self._delays: deque[tuple[int, int]] = deque()  # arrival, arrival minus UTC
        self._outliers: list[int] = []
        self._pulses: deque[int] = deque(maxlen=_PULSES)

    def stamp(self, utc_ns: int, arrival_ns: int) -> Stamp:
        """Rig time of a solution of now; it is one more observation, too."""
        self._observe(utc_ns, arrival_ns)
        stamp = self.convert(utc_ns, arrival_ns)
        if stamp is None or stamp.stamp_ns > arrival_ns:  # after its arrival: a wrong second
            return self.stamp_without_time(arrival_ns)
        return stamp

    def stamp_without_time(self, arrival_ns: int) -> Stamp:
        """Rig time of a solution by a receiver that has no time yet."""
        return Stamp(arrival_ns - self._latency_ns, self._latency_uncertainty_ns)

    def convert(self, utc_ns: int, now_ns: int) -> Stamp | None:
        """Rig time of any instant of the receiver; None while the offset is unknown."""
        if not self._delays:
            return None
        least_ns = min(delay for _, delay in self._delays)
        offset_ns = least_ns - self._latency_ns
        if (by_pulse := self._by_pulse(offset_ns, now_ns)) is not None:
            return Stamp(utc_ns + by_pulse.stamp_ns, by_pulse.uncertainty_ns)
        jitter_ns = (statistics.median(delay for _, delay in self._delays) - least_ns) / 2
        uncertainty_ns = round(math.hypot(self._latency_uncertainty_ns, jitter_ns))
        return Stamp(utc_ns + offset_ns, uncertainty_ns)

    def pulse(self, rig_ns: int) -> None:
        """A pulse, which marks a full second of UTC, was seen at this rig time."""
        if not self._pulses or rig_ns > self._pulses[-1]:
            self._pulses.append(rig_ns)

    def _observe(self, utc_ns: int, arrival_ns: int) -> None:
        delay_ns = arrival_ns - utc_ns
        while self._delays and self._delays[0][0] < arrival_ns - _WINDOW_NS:
            self._delays.popleft()
        if not self._delays or abs(delay_ns - self._delays[-1][1]) < _JUMP_NS:
            self._delays.append((arrival_ns, delay_ns))
            self._outliers.clear()
        elif self._is_jump(delay_ns):
            self._counters[TIME_JUMPS] += 1
            self._delays = deque([(arrival_ns, delay_ns)])
            self._pulses.clear()

    def _is_jump(self, delay_ns: int) -> bool:
        """Whether the last outliers agree: a step, not a backlog that is being worked off."""
        if self._outliers and abs(delay_ns - self._outliers[-1]) > _SAME_NS:
            self._outliers.clear()
        self._outliers.append(delay_ns)
        return len(self._outliers) >= _TIMES_TO_BELIEVE

    def _by_pulse(self, offset_ns: int, now_ns: int) -> Stamp | None:
        """The offset as pulses show it: `offset_ns` tells which second each of them marks."""
        if not self._pulses or now_ns - self._pulses[-1] > _PULSE_MAX_AGE_NS:
            return None
        shown_ns = [
            pulse_ns - round((pulse_ns - offset_ns) / NS_PER_S) * NS_PER_S
            for pulse_ns in self._pulses
        ]
        middle_ns = round(statistics.median(shown_ns))
        scatter_ns = statistics.median(abs(one - middle_ns) for one in shown_ns)
        if len(shown_ns) < _TIMES_TO_BELIEVE or scatter_ns > _PULSE_SCATTER_NS:
            return None
        return Stamp(middle_ns, max(_MIN_UNCERTAINTY_NS, round(1.48 * scatter_ns)))
