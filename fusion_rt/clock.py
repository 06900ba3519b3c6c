"""The one clock: rig time for every step of the flow, settable for replay and tests.

Rig time is UTC at the rig's start plus CLOCK_MONOTONIC since, as int nanoseconds. All processes of
a rig share that one offset, so an NTP step moves no stamp; `utc_drift_ns` says how far the two have
come apart. Every other module takes a `Clock`; a lint rule bans `time` calls elsewhere.
"""

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """What a node needs of time. `RigClock` lives it, `SettableClock` is told."""

    def now_ns(self) -> int:
        """Rig time."""
        ...

    def sleep_until_ns(self, due_ns: int) -> None:
        """Return once `now_ns()` has reached `due_ns`."""
        ...

    def utc_drift_ns(self) -> int:
        """UTC as the system's clock has it, minus rig time."""
        ...

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Rig time of a stamp that the kernel took on CLOCK_MONOTONIC."""
        ...


class RigClock:
    """Rig time of this host: `offset_ns` plus CLOCK_MONOTONIC."""

    def __init__(self, offset_ns: int) -> None:
        self.offset_ns = offset_ns

    @classmethod
    def starting_now(cls) -> "RigClock":
        """The clock of a rig that starts now: rig time equals UTC at this moment."""
        return cls(time.time_ns() - time.monotonic_ns())

    def now_ns(self) -> int:
        return self.offset_ns + time.monotonic_ns()

    def sleep_until_ns(self, due_ns: int) -> None:
        while (left_ns := due_ns - self.now_ns()) > 0:
            time.sleep(left_ns / NS_PER_S)

    def utc_drift_ns(self) -> int:
        """UTC minus rig time: grows as NTP slews or steps the system clock."""
        return time.time_ns() - self.now_ns()

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        return self.offset_ns + monotonic_ns


class SettableClock:
    """A clock that stands still until it is moved: lock-step replay and tests."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until_ns(self, due_ns: int) -> None:
        """Jump there: nobody waits on a clock that stands still."""
        self._now_ns = max(self._now_ns, due_ns)

    def utc_drift_ns(self) -> int:
        """None: it is the only clock there is."""
        return 0

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """The same: it is the only clock there is."""
        return monotonic_ns

    def set_ns(self, now_ns: int) -> None:
        """Move to any instant, also back: a test of clock steps needs it."""
        self._now_ns = now_ns

    def advance_ns(self, by_ns: int) -> None:
        self._now_ns += by_ns
