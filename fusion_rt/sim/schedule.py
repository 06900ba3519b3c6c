"""When a simulated sensor measures, what its clock says of it, and when its message leaves."""

import math
import zlib
from collections.abc import Iterator

import msgspec
import numpy as np

from fusion_rt.clock import NS_PER_MS
from fusion_rt.sim.scenario import Fault, Scenario

_MOST_JITTER = 3.0  # standard deviations
_MOST_LATENCY = 6.0  # times the mean of what comes on top


class Shot(msgspec.Struct, frozen=True):
    """One measurement. Times are counted from the start of the drive."""

    number: int
    true_ns: int
    """When it was taken: mid-exposure, end of sweep, first sample, time of the solution."""
    stamp_ns: int
    """The same by the sensor's own clock."""
    sent_ns: int
    content: int
    """Number of the shot whose content it carries: another one's while the sensor is frozen."""
    is_dark: bool


class Schedule:
    """All shots of one sensor, each a function of its number."""

    def __init__(
        self, scenario: Scenario, seed: int, topic: str, period_ns: int, lasts_ns: int = 0
    ) -> None:
        """`lasts_ns`: from the time a shot is stamped with to the end of its measurement."""
        kind = topic.partition("/")[0]
        self._timing = scenario.timing_of(kind)
        self._faults = [fault for fault in scenario.faults if fault.sensor == kind]
        self._key = (seed, 0x5C4, zlib.crc32(topic.encode()))
        self._period_ns = period_ns
        self._lasts_ns = lasts_ns
        self._first_ns = round(self._timing.phase_ms * NS_PER_MS)
        if not lasts_ns:  # what is stamped at its end was begun a period before
            self._first_ns += period_ns

    def shot(self, number: int) -> Shot | None:
        """Shot `number`, from 0 on; None if a fault keeps it back."""
        rng = np.random.default_rng([*self._key, number])
        jitter, late = float(rng.standard_normal()), float(rng.exponential())
        timing, true_ns = self._timing, self._nominal_ns(number)
        jitter = max(-_MOST_JITTER, min(_MOST_JITTER, jitter))
        true_ns += round(jitter * timing.jitter_ms * NS_PER_MS)
        late_ms = timing.latency_ms + timing.latency_jitter_ms * min(late, _MOST_LATENCY)
        faults = [fault for fault in self._faults if _is_on(fault, self._nominal_ns(number))]
        if any(fault.kind == "silent" for fault in faults):
            return None
        late_ms += sum(fault.late_ms for fault in faults if fault.kind == "late")
        return Shot(
            number=number,
            true_ns=true_ns,
            stamp_ns=max(0, true_ns + self._clock_error_ns(true_ns)),
            sent_ns=true_ns + self._lasts_ns + round(late_ms * NS_PER_MS),
            content=min([number, *(self._last_before(f) for f in faults if f.kind == "frozen")]),
            is_dark=any(fault.kind == "dark" for fault in faults),
        )

    def between(self, start_ns: int, end_ns: int) -> Iterator[Shot]:
        """All shots whose nominal time lies in [start, end)."""
        number = max(0, math.ceil((start_ns - self._first_ns) / self._period_ns))
        while self._nominal_ns(number) < end_ns:
            shot = self.shot(number)
            if shot is not None:
                yield shot
            number += 1

    def true_ns(self, number: int) -> int:
        """When shot `number` is taken, whether or not it gets through."""
        shot = self.shot(number)
        return shot.true_ns if shot is not None else self._nominal_ns(number)

    def _nominal_ns(self, number: int) -> int:
        return self._first_ns + number * self._period_ns

    def _last_before(self, fault: Fault) -> int:
        before_ns = round(fault.from_s * 1000) * NS_PER_MS - self._first_ns
        return max(0, math.ceil(before_ns / self._period_ns) - 1)

    def _clock_error_ns(self, true_ns: int) -> int:
        offset_ns = self._timing.clock_offset_ms * NS_PER_MS
        return round(offset_ns + self._timing.clock_drift_ppm * 1e-6 * true_ns)


def _is_on(fault: Fault, t_ns: int) -> bool:
    return round(fault.from_s * 1000) * NS_PER_MS <= t_ns < round(fault.to_s * 1000) * NS_PER_MS
