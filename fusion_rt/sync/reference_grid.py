"""Sync step: which reference times there are, and when one without a message becomes a tick."""

from typing import Protocol

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sync.frame_set import Tick
from fusion_rt.sync.stream import SyncStream

MOST_HOLES = 32
"""A longer outage is not made up for tick by tick: its ticks went out while it lasted."""
TICK_MARGIN_NS = 5 * NS_PER_MS


class Grid(Protocol):
    """The sequence of reference times."""

    @property
    def period_ns(self) -> int: ...

    def start(self, now_ns: int) -> None:
        """The first message of any stream arrives."""
        ...

    def take(self, time_ns: int) -> list[int]:
        """A reference message of that time; the times it shows to have been passed over."""
        ...

    def heard_late(self, time_ns: int) -> None:
        """A reference message came when a tick had already left in its place."""
        ...

    def next_ns(self) -> int:
        """Time of the next tick."""
        ...

    def opens_ns(self) -> int:
        """When the next tick opens if no message comes for it."""
        ...

    def expected_ns(self) -> int:
        """When a message for the next tick would usually arrive: waiting counts from here."""
        ...

    def tick(self) -> None:
        """The next tick has opened."""
        ...

    def skip_to(self, open_ns: int) -> None:
        """Leave out the ticks that would have opened before."""
        ...

    def stamp_ns(self, time_ns: int) -> int:
        """A tick's time as the reference's own clock would say it."""
        ...


class FixedGrid:
    """Ticks at a fixed rate of rig time; a tick opens at its own time."""

    def __init__(self, tick: Tick) -> None:
        self._mhz = round(tick.rate_hz * 1000)
        self._phase_ns = tick.phase_ns
        self._count: int | None = None

    @property
    def period_ns(self) -> int:
        return NS_PER_S * 1000 // self._mhz

    def start(self, now_ns: int) -> None:
        self._count = -(-(now_ns - self._phase_ns) * self._mhz // (NS_PER_S * 1000))

    def take(self, time_ns: int) -> list[int]:  # noqa: ARG002
        return []

    def heard_late(self, time_ns: int) -> None: ...

    def next_ns(self) -> int:
        return self._phase_ns + (self._count or 0) * NS_PER_S * 1000 // self._mhz

    opens_ns = expected_ns = next_ns

    def tick(self) -> None:
        self._count = (self._count or 0) + 1

    skip_to = start

    def stamp_ns(self, time_ns: int) -> int:
        return time_ns


class SensorGrid:
    """The times of a reference stream, carried on at its own pace where it falls silent."""

    def __init__(self, reference: SyncStream, timeout_ns: int) -> None:
        self._reference = reference
        self._timeout_ns = timeout_ns
        self._pace_ns = reference.period_ns
        self._newest_ns = 0
        self._newest_message_ns: int | None = None
        self._is_carrying = False

    @property
    def period_ns(self) -> int:
        return self._pace_ns

    def start(self, now_ns: int) -> None:
        self._newest_ns = now_ns - self._reference.clock.lags.lag_ns

    def take(self, time_ns: int) -> list[int]:
        if self._newest_message_ns is None:
            holes = []
        else:
            self._learn_pace(time_ns - self._newest_message_ns)
            holes = self._holes_before(time_ns)
        self._is_carrying = self._is_carrying and time_ns < self._newest_ns
        if self._newest_message_ns is None:
            self._newest_message_ns = time_ns
            self._newest_ns = time_ns + self._ticked(time_ns) * self.period_ns
        elif time_ns > self._newest_message_ns:
            self._newest_message_ns = self._newest_ns = time_ns
        return holes

    def _ticked(self, time_ns: int) -> int:
        """Ticks that have opened for times after the first message's own."""
        ahead_ns = self._newest_ns - time_ns
        return max(0, (2 * ahead_ns + self.period_ns) // (2 * self.period_ns))

    def heard_late(self, time_ns: int) -> None:
        if 2 * abs(time_ns - self._newest_ns) < self.period_ns:  # it is back, at its own phase
            self._newest_ns = time_ns
            self._is_carrying = False

    def _learn_pace(self, gap_ns: int) -> None:
        if 4 * abs(gap_ns - self._pace_ns) < self._pace_ns:
            self._pace_ns += (gap_ns - self._pace_ns) >> 5

    def _holes_before(self, time_ns: int) -> list[int]:
        gap_ns = time_ns - self._newest_ns
        steps = (2 * gap_ns + self.period_ns) // (2 * self.period_ns)
        if not 2 <= steps <= MOST_HOLES:
            return []
        return [self._newest_ns + gap_ns * k // steps for k in range(1, steps)]

    def next_ns(self) -> int:
        return self._newest_ns + self.period_ns

    def expected_ns(self) -> int:
        return self.next_ns() + self._reference.clock.lags.lag_ns

    def opens_ns(self) -> int:
        jitter_ns = 3 * self._reference.clock.lags.spread_ns
        patience_ns = TICK_MARGIN_NS if self._is_carrying else self._timeout_ns
        return self.expected_ns() + max(patience_ns, jitter_ns)

    def tick(self) -> None:
        self._newest_ns = self.next_ns()
        self._is_carrying = True

    def skip_to(self, open_ns: int) -> None:
        behind = max(0, open_ns - self.opens_ns()) // self.period_ns
        self._newest_ns += behind * self.period_ns

    def stamp_ns(self, time_ns: int) -> int:
        return time_ns + self._reference.clock.lags.offset_ns
