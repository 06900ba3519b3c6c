"""Sync step: what one stream's stamps are worth. Offset, lag, jitter, drift, steps, bad stamps.

The lag (arrival minus stamp) is the one thing seen of a foreign clock. It has a floor, the
transport delay, and a spread. A lag far off that is no measurement: the message is held back until
others agree (the clock stepped) or disagree (a bad stamp). Everything here follows from the stamps
and arrivals alone, so a replay learns the same.
"""

from collections import deque
from typing import NamedTuple

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.frame_set import ClockEvent, ClockEventKind
from fusion_rt.stream_buffer import Sample

FOREVER_NS = 1 << 62
LATE_LIMIT_NS = NS_PER_S // 2
"""A lag above the usual by more than this is not believed at once."""
EARLY_LIMIT_NS = 100 * NS_PER_MS
"""Nothing arrives before it is measured: below the usual lag the limit can be tighter."""
AGREE_NS = 60 * NS_PER_MS
PLAUSIBLE_LAG_NS = (-50 * NS_PER_MS, 2 * NS_PER_S)
PEER_STEP_NS = 5 * NS_PER_S
"""For so long after one stream's step the others may follow it on one message."""
BUCKET_NS = 2 * NS_PER_S
DRIFT_PER_S = 2000
"""Drift is followed up to 1 / 2000 = 0.5 ms a second."""
FEW, ENOUGH = 4, 16
"""Accepted messages before the least gap counts as evidence, with caution and without."""
MOST_PATIENCE_NS = 200 * NS_PER_MS
YOUNG = 5
"""With fewer accepted messages than this, a step means that the first stamps were wrong."""


class Lags(NamedTuple):
    """Least and most lag and least stamp gap of one stretch of time."""

    least_ns: int
    most_ns: int
    gap_ns: int


_NO_LAGS = Lags(FOREVER_NS, -FOREVER_NS, FOREVER_NS)


class StreamClock:
    """Offset and lag of one stream, learned message by message."""

    __slots__ = (
        "_base_ns",
        "_bucket_end_ns",
        "_bucket_ns",
        "_calibrated_ns",
        "_delay_ns",
        "_error_ns",
        "_events",
        "_gap_ns",
        "_known_ns",
        "_least_ns",
        "_most_ns",
        "_previous",
        "_refining",
        "_stamps",
        "accepted",
        "early_ns",
        "held",
        "is_trusted",
        "lag_ns",
        "last_stamp_ns",
        "name",
        "offset_ns",
        "period_ns",
        "spread_ns",
    )

    def __init__(
        self,
        name: str,
        period_ns: int,
        offset_ns: int,
        delay_ns: int | None,
        events: deque[ClockEvent],
    ) -> None:
        """`events` is shared by all clocks of a synchronizer: steps are often common."""
        self.name = name
        self.period_ns = period_ns
        self._calibrated_ns = offset_ns
        self._delay_ns = min(period_ns, AGREE_NS) if delay_ns is None else delay_ns
        self._events = events
        self._bucket_ns = max(BUCKET_NS, 10 * period_ns)
        self._known_ns = [offset_ns]
        self.held: list[Sample] = []
        self.offset_ns = offset_ns
        self.is_trusted = True
        self.accepted = 0
        self.lag_ns = self._delay_ns
        self.spread_ns = 10 * NS_PER_MS
        self.early_ns = -EARLY_LIMIT_NS
        self.last_stamp_ns = 0
        self._stamps: deque[int] = deque(maxlen=8)
        self._previous = _NO_LAGS
        self._least_ns, self._most_ns, self._gap_ns = _NO_LAGS
        self._bucket_end_ns = 0
        self._base_ns: int | None = None
        self._error_ns = 0
        self._refining = 0

    def believes(self, stamp_ns: int, arrival_ns: int) -> bool:
        """Whether the stamp fits what is known; if so it is learned from."""
        if not self.accepted:
            return False
        lag_ns = arrival_ns - stamp_ns + self.offset_ns
        off_ns = lag_ns - self.lag_ns
        if not self.early_ns <= off_ns <= LATE_LIMIT_NS:
            return False
        limit_ns = 3 * self.spread_ns + 2 * NS_PER_MS
        if off_ns > limit_ns:
            off_ns = limit_ns
        self.lag_ns += off_ns >> 4
        self.spread_ns += ((off_ns if off_ns > 0 else -off_ns) - self.spread_ns) >> 4
        if lag_ns < self._least_ns:
            self._least_ns = lag_ns
        if lag_ns > self._most_ns:
            self._most_ns = lag_ns
        gap_ns = stamp_ns - self.last_stamp_ns
        if gap_ns > 0:
            self.last_stamp_ns = stamp_ns
            self._stamps.append(stamp_ns)
            if gap_ns < self._gap_ns:
                self._gap_ns = gap_ns
        self.accepted += 1
        if arrival_ns >= self._bucket_end_ns:
            self._turn_bucket(arrival_ns)
        return True

    @property
    def gap_ns(self) -> int:
        """Least stamp gap seen lately; 0 until there is evidence."""
        if self.accepted < FEW:
            return 0
        gap_ns = min(self._gap_ns, self._previous.gap_ns)
        return gap_ns if self.accepted >= ENOUGH else min(gap_ns, self.period_ns * 3 // 4)

    @property
    def least_lag_ns(self) -> int:
        return min(self._least_ns, self._previous.least_ns, self.lag_ns)

    @property
    def late_lag_ns(self) -> int:
        """A message with more lag than this is not expected any more."""
        most_ns = max(self._most_ns, self._previous.most_ns) - self.lag_ns
        patience_ns = max(6 * self.spread_ns, most_ns + 2 * self.spread_ns) + 2 * NS_PER_MS
        return self.lag_ns + min(patience_ns, MOST_PATIENCE_NS)

    @property
    def learned_ns(self) -> int:
        return self.offset_ns - self._calibrated_ns

    # --- drift ----------------------------------------------------------------------------------

    def _turn_bucket(self, arrival_ns: int) -> None:
        least_ns, previous = self._least_ns, self._previous
        self._previous = Lags(least_ns, self._most_ns, self._gap_ns)
        self._least_ns, self._most_ns, self._gap_ns = _NO_LAGS
        self._bucket_end_ns = arrival_ns + self._bucket_ns
        self.early_ns = -max(EARLY_LIMIT_NS, 6 * self.spread_ns)
        change_ns = least_ns - previous.least_ns
        if self._base_ns is None:
            self._base_ns = least_ns
        elif not self._refining and abs(change_ns) > 3 * NS_PER_MS + self.spread_ns:
            self._base_ns += change_ns  # too fast for a drift: the link changed, not the clock
        else:
            self._follow(least_ns - self._base_ns)

    def _follow(self, error_ns: int) -> None:
        """Move the offset by what two stretches of time agree on, slowly."""
        before_ns, self._error_ns = self._error_ns, error_ns
        most_ns = self._bucket_ns // DRIFT_PER_S
        if self._refining:
            self._refining -= 1
            by_ns, most_ns = error_ns, AGREE_NS
        elif (error_ns > 0) != (before_ns > 0):
            return
        else:
            by_ns = min(error_ns, before_ns, key=abs)
        if abs(by_ns) > NS_PER_MS // 4 + self.spread_ns // 8:
            self._shift(-max(-most_ns, min(most_ns, by_ns)))

    def _shift(self, by_ns: int) -> None:
        """Change the offset and all that was learned under the old one."""
        self.offset_ns += by_ns
        self.lag_ns += by_ns
        self._error_ns += by_ns
        least_ns, most_ns, gap_ns = self._previous
        self._previous = Lags(least_ns + by_ns, most_ns + by_ns, gap_ns)

    # --- what does not fit ----------------------------------------------------------------------

    def judge(self, sample: Sample) -> tuple[list[Sample], int]:
        """Samples to accept now, oldest first, and how many held ones were dropped for good."""
        if not self.accepted:
            self._boot(sample)
            return [sample], 0
        raw_ns = sample.arrival_ns - sample.stamp_ns
        offset_ns = self._fitting_offset(raw_ns, sample.arrival_ns)
        if offset_ns is not None:
            return self._switch(offset_ns, sample)
        if self._is_delivered_late(sample):
            self.last_stamp_ns = sample.stamp_ns
            return [sample], 0
        dropped = self._hold(sample)
        if len(self.held) < (2 if self.period_ns >= 50 * NS_PER_MS else 3):
            return [], dropped
        released, self.held = self.held, []
        self._step(released)
        return released, dropped

    def drop_held(self) -> int:
        """Forget what is held: a normal message came, so those were bad stamps."""
        dropped, self.held = len(self.held), []
        return dropped

    def _boot(self, sample: Sample) -> None:
        """Believe a plausible first stamp; else take a peer's offset, else align by arrival."""
        raw_ns = sample.arrival_ns - sample.stamp_ns
        self.offset_ns = self._calibrated_ns
        self.is_trusted = _is_plausible(raw_ns + self._calibrated_ns)
        if not self.is_trusted:
            self.offset_ns = self._delay_ns - raw_ns
            for event in reversed(self._events):
                peer_ns = self._calibrated_ns + event.by_ns
                if event.kind == "aligned by arrival" and _is_plausible(raw_ns + peer_ns):
                    self.offset_ns = peer_ns
            self._tell("aligned by arrival", self.learned_ns, sample.arrival_ns)
        self.lag_ns = raw_ns + self.offset_ns
        self._restart(sample)
        self._base_ns = None

    def _restart(self, sample: Sample) -> None:
        """Begin to learn lags and gaps anew at `sample`."""
        self.accepted = max(self.accepted, 1)
        self.last_stamp_ns = sample.stamp_ns
        self._stamps.clear()
        self._previous = _NO_LAGS._replace(gap_ns=self._previous.gap_ns)
        self._least_ns, self._most_ns, _ = _NO_LAGS
        self._bucket_end_ns = sample.arrival_ns + self._bucket_ns

    def _fitting_offset(self, raw_ns: int, arrival_ns: int) -> int | None:
        """A known offset, or a peer's fresh step, under which the lag is a usual one."""
        if not self.is_trusted and _is_plausible(raw_ns + self._calibrated_ns):
            return self._calibrated_ns
        recent = (
            self.offset_ns + event.by_ns
            for event in reversed(self._events)
            if event.kind != "aligned by arrival"
            and event.stream != self.name
            and arrival_ns - event.at_ns < PEER_STEP_NS
        )
        tolerance_ns = max(AGREE_NS, 6 * self.spread_ns)
        for offset_ns in (*self._known_ns, *recent):
            off_ns = raw_ns + offset_ns - self.lag_ns
            if offset_ns != self.offset_ns and abs(off_ns) <= tolerance_ns:
                return offset_ns
        return None

    def _switch(self, offset_ns: int, sample: Sample) -> tuple[list[Sample], int]:
        was_trusted, before_ns = self.is_trusted, self.offset_ns
        held, self.held = self.held, []
        if not was_trusted:
            self.lag_ns = sample.arrival_ns - sample.stamp_ns + offset_ns
            self._base_ns = None
        self._use(offset_ns)
        self.is_trusted = was_trusted or offset_ns == self._calibrated_ns
        self._restart(sample)
        self._tell("returned", offset_ns - before_ns, sample.arrival_ns)
        fitting = [s for s in held if abs(self._off_ns(s)) <= LATE_LIMIT_NS]
        return [*fitting, sample], len(held) - len(fitting)

    def _off_ns(self, sample: Sample) -> int:
        return sample.arrival_ns - sample.stamp_ns + self.offset_ns - self.lag_ns

    def _use(self, offset_ns: int) -> None:
        """Make it the offset, and remember the last few: clocks flap."""
        if self.offset_ns not in self._known_ns:
            self._known_ns[1:] = [*self._known_ns[1:][-2:], self.offset_ns]
        self.offset_ns = offset_ns

    def _is_delivered_late(self, sample: Sample) -> bool:
        """The stamps go on as before but delivery stalled: late, not wrong."""
        step_ns = sample.stamp_ns - self.last_stamp_ns
        return self._off_ns(sample) > 0 and 0 < step_ns <= 3 * self.period_ns

    def _hold(self, sample: Sample) -> int:
        """Add to the held run if it agrees with it, else begin a new run. Returns the dropped."""
        if self.held:
            last = self.held[-1]
            stamp_gap_ns = sample.stamp_ns - last.stamp_ns
            arrival_gap_ns = sample.arrival_ns - last.arrival_ns
            agrees = abs(arrival_gap_ns - stamp_gap_ns) <= max(AGREE_NS, 6 * self.spread_ns)
            if stamp_gap_ns > 0 and agrees and 2 * arrival_gap_ns >= stamp_gap_ns:
                self.held.append(sample)
                return 0
        dropped = len(self.held)
        self.held = [sample]
        return dropped

    def _step(self, run: list[Sample]) -> None:
        """The run agrees: the clock stepped, or it was the first messages that were wrong."""
        if self.accepted < YOUNG or not self.is_trusted:
            self._boot(run[-1])
            return
        coarse_ns = -sum(self._off_ns(sample) for sample in run) // len(run)
        by_ns = self._on_grid(coarse_ns, run)
        self._use(self.offset_ns + by_ns)
        self._restart(run[-1])
        self._refining = 2
        self._tell("stepped", by_ns, run[-1].arrival_ns)

    def _on_grid(self, coarse_ns: int, run: list[Sample]) -> int:
        """Refine a step by the period: a sensor that kept its pace kept its phase."""
        period_ns = self.period_ns
        before = _grid_anchor(list(self._stamps), period_ns)
        after = _grid_anchor([sample.stamp_ns for sample in run], period_ns)
        if before is None or after is None:
            return coarse_ns
        gap_ns = after - before - coarse_ns
        by_ns = coarse_ns + _centred(gap_ns, period_ns)
        snap_ns = min(period_ns // 3, 3 * self.spread_ns + 2 * NS_PER_MS)
        near = abs(by_ns - coarse_ns) <= snap_ns and gap_ns <= 50 * period_ns
        return by_ns if near else coarse_ns

    def _tell(self, kind: ClockEventKind, by_ns: int, at_ns: int) -> None:
        self._events.append(ClockEvent(self.name, at_ns, kind, by_ns))


def _is_plausible(lag_ns: int) -> bool:
    return PLAUSIBLE_LAG_NS[0] <= lag_ns <= PLAUSIBLE_LAG_NS[1]


def _centred(value_ns: int, period_ns: int) -> int:
    """Remainder in -period/2 .. period/2."""
    return (value_ns + period_ns // 2) % period_ns - period_ns // 2


def _grid_anchor(stamps_ns: list[int], period_ns: int) -> int | None:
    """A point of the stamps' grid near the last one; None when they keep no grid."""
    if len(stamps_ns) < 2:
        return None
    off_ns = [_centred(stamp_ns - stamps_ns[-1], period_ns) for stamp_ns in stamps_ns]
    if max(off_ns) - min(off_ns) > period_ns // 5:
        return None
    return stamps_ns[-1] + sum(off_ns) // len(off_ns)
