"""Solutions of a connected receiver to fixes in rig time, in order."""

from collections.abc import Iterable, Iterator

from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import DriverPort
from fusion_rt.gnss.fix import fix_from_solution
from fusion_rt.gnss.options import LiveGpsOptions
from fusion_rt.gnss.pps import PulseSource
from fusion_rt.gnss.receiver_time import ReceiverTime
from fusion_rt.gnss.rig_time import RigTime, Stamp
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import GpsFix

OUT_OF_ORDER = "out_of_order"
"""Counter of solutions older than the last one: stale ones out of a buffer, or of a log."""
PULSES = "pulses"

_PULSE_MAX_AGE_NS = 5 * NS_PER_S


class LiveFixes:
    """Keeps the time of one receiver; it stays across unplugging."""

    def __init__(self, options: LiveGpsOptions, port: DriverPort) -> None:
        self._options = options
        self._port = port
        self._receiver_time = ReceiverTime()
        self._rig_time = RigTime(port.counters, options.latency_ns())
        self._pulses = PulseSource(options.pps) if options.pps else None
        self._last_stamp_ns = -1

    def fixes(self, solutions: Iterable[Solution]) -> Iterator[GpsFix]:
        """One message per solution; those not newer than the last are counted instead."""
        for solution in solutions:
            self._take_pulse()
            utc_ns = self._receiver_time.utc_ns(solution, solution.arrival_ns)
            stamp = self._stamp(solution, utc_ns)
            if stamp is None or stamp.stamp_ns <= self._last_stamp_ns:
                self._port.counters[OUT_OF_ORDER] += 1
                continue
            self._last_stamp_ns = stamp.stamp_ns
            yield fix_from_solution(solution, stamp, utc_ns, self._options)

    def pulse(self, system_ns: int) -> None:
        """A pulse at the full second was seen at this system time."""
        rig_ns = system_ns - self._port.clock.utc_drift_ns()
        if abs(rig_ns - self._port.clock.now_ns()) < _PULSE_MAX_AGE_NS:
            self._port.counters[PULSES] += 1
            self._rig_time.pulse(rig_ns)

    def _take_pulse(self) -> None:
        if self._pulses and (system_ns := self._pulses.system_ns()) is not None:
            self.pulse(system_ns)

    def _stamp(self, solution: Solution, utc_ns: int | None) -> Stamp | None:
        if solution.is_history:
            return None if utc_ns is None else self._rig_time.convert(utc_ns, solution.arrival_ns)
        if utc_ns is None or solution.fix in (None, "none"):  # without a fix its time is a guess
            return self._rig_time.stamp_without_time(solution.arrival_ns)
        return self._rig_time.stamp(utc_ns, solution.arrival_ns)
