"""When each picture of a recording is due, and what it is stamped with."""

from typing import Literal

from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import DriverPort

Pace = Literal["recorded", "asap"]
GAPS = "gaps"
"""Counter of places where a recording's time stands, steps back, or ahead by more than 10 s."""

_LONGEST_STEP_NS = 10 * NS_PER_S
_MOST_BEHIND_NS = NS_PER_S


class Timeline:
    """Keeps the distances of a recording's own times, in rig time or, unpaced, as they are."""

    def __init__(self, pace: Pace, port: DriverPort) -> None:
        self._is_paced = pace == "recorded"
        self._step_ns = 0
        self._port = port
        self._recorded_ns: int | None = None
        self._stamp_ns: int | None = None

    def begin(self, usual_step_ns: int) -> None:
        """A recording starts, the same again or another, one usual step after what was before."""
        self._step_ns = usual_step_ns
        self._recorded_ns = None

    def stamp_ns(self, recorded_ns: int | None) -> int:
        """Of the next picture; None where the recording does not say when it was."""
        step_ns = self._step(recorded_ns)
        self._recorded_ns = recorded_ns
        now_ns = self._port.clock.now_ns()
        if not self._is_paced and recorded_ns is not None:
            self._stamp_ns = recorded_ns
        elif self._stamp_ns is None:
            self._stamp_ns = now_ns
        elif self._is_paced and self._stamp_ns + step_ns < now_ns - _MOST_BEHIND_NS:
            self._stamp_ns = now_ns  # the recording had ended, or the process was held up
        else:
            self._stamp_ns += step_ns
        return self._stamp_ns

    def _step(self, recorded_ns: int | None) -> int:
        if recorded_ns is None or self._recorded_ns is None:
            return self._step_ns
        step_ns = recorded_ns - self._recorded_ns
        if 0 < step_ns <= _LONGEST_STEP_NS:
            self._step_ns = step_ns
        else:
            self._port.counters[GAPS] += 1
        return self._step_ns
