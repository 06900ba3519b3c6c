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
"""A lag above the usual by more than this is not a straggler."""
ODD_NS = 100 * NS_PER_MS
"""A lag farther than this from the usual one is looked at twice."""
AGREE_NS = 60 * NS_PER_MS
SAME_NS = 20 * NS_PER_MS
PLAUSIBLE_LAG_NS = (-50 * NS_PER_MS, 2 * NS_PER_S)
PEER_STEP_NS = 5 * NS_PER_S
"""For so long after one stream's step the others may follow it on one message."""
BUCKET_NS = 2 * NS_PER_S
DRIFT_PER_S = 2000
"""Drift is followed up to 1 / 2000 = 0.5 ms a second."""
ENOUGH = 16
"""Accepted messages before the least gap seen is believed as it is."""
LEAST_PATIENCE_NS = 30 * NS_PER_MS
MOST_PATIENCE_NS = 200 * NS_PER_MS
"""Beyond the usual lag, before a message counts as lost."""
YOUNG = 5
"""With fewer accepted messages than this, a step means that the first stamps were wrong."""


class Lags(NamedTuple):
    """Least lag and least stamp gap of one stretch of time."""

    least_ns: int
    gap_ns: int


_NO_LAGS = Lags(FOREVER_NS, FOREVER_NS)


class StreamClock:
    """Offset and lag of one stream, learned message by message."""

    __slots__ = (
        "_base_ns",
        "_bucket_end_ns",
        "_bucket_ns",
        "_calibrated_ns",
        "_delay_ns",
        "_drift_ns",
        "_error_ns",
        "_events",
        "_floor_ns",
        "_gap_ns",
        "_known_ns",
        "_late_arrival_ns",
        "_lateness_ns",
        "_least_ns",
        "_limit_ns",
        "_most_ns",
        "_previous",
        "_refine_limit_ns",
        "_stamps",
        "_suspects",
        "_suspects_end",
        "_wobble_ns",
        "accepted",
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
        self._limit_ns = ODD_NS
        self._suspects: list[Sample] = []
        self._suspects_end = 0
        self._late_arrival_ns = 0
        self._floor_ns = FOREVER_NS
        self.last_stamp_ns = 0
        self._stamps: deque[int] = deque(maxlen=8)
        self._previous = _NO_LAGS
        self._least_ns, self._gap_ns = _NO_LAGS
        self._most_ns = -FOREVER_NS
        self._lateness_ns = 0
        self._bucket_end_ns = 0
        self._base_ns: int | None = None
        self._error_ns = 0
        self._refine_limit_ns = 0
        self._wobble_ns = NS_PER_MS
        self._drift_ns = 0

    def believes(self, stamp_ns: int, arrival_ns: int) -> bool:
        """Whether the stamp fits what is known; if so it is learned from."""
        lag_ns = arrival_ns - stamp_ns + self.offset_ns
        off_ns = lag_ns - self.lag_ns
        if not (self.accepted and -self._limit_ns <= off_ns <= self._limit_ns):
            return False
        self._learn(stamp_ns, arrival_ns, lag_ns, off_ns)
        return True

    def _learn(self, stamp_ns: int, arrival_ns: int, lag_ns: int, off_ns: int) -> None:
        most_off_ns = 3 * self.spread_ns + 2 * NS_PER_MS  # one straggler must not move the mean
        if off_ns > most_off_ns:
            off_ns = most_off_ns
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

    @property
    def gap_ns(self) -> int:
        """Least stamp gap: as seen lately, with little evidence at most what the rate says."""
        gap_ns = min(self._gap_ns, self._previous.gap_ns)
        if self.accepted >= ENOUGH:
            return gap_ns
        return min(gap_ns, self.period_ns - (self.period_ns >> 4))

    @property
    def least_lag_ns(self) -> int:
        return min(self._least_ns, self._previous.least_ns, self.lag_ns)

    @property
    def late_lag_ns(self) -> int:
        """A message with more lag than this is not expected any more."""
        most_ns = max(self._most_ns - self.lag_ns, self._lateness_ns)
        patience_ns = max(6 * self.spread_ns, most_ns) + 2 * self.spread_ns + 2 * NS_PER_MS
        return self.lag_ns + max(LEAST_PATIENCE_NS, min(patience_ns, MOST_PATIENCE_NS))

    @property
    def learned_ns(self) -> int:
        return self.offset_ns - self._calibrated_ns

    # --- drift ----------------------------------------------------------------------------------

    def _turn_bucket(self, arrival_ns: int) -> None:
        least_ns, previous = self._least_ns, self._previous
        self._lateness_ns -= self._lateness_ns >> 3
        self._lateness_ns = max(self._lateness_ns, self._most_ns - self.lag_ns)
        self._previous = Lags(least_ns, self._gap_ns)
        self._least_ns, self._gap_ns = _NO_LAGS
        self._most_ns = -FOREVER_NS
        self._bucket_end_ns = arrival_ns + self._bucket_ns
        self._limit_ns = max(ODD_NS, 6 * self.spread_ns)
        self._floor_ns = min(self._floor_ns, least_ns)
        change_ns = least_ns - previous.least_ns if previous.least_ns < FOREVER_NS else 0
        if self._base_ns is None:
            self._base_ns = least_ns
        elif self._refine_limit_ns:
            self._refine(least_ns - self._base_ns)
        elif abs(change_ns) > 3 * NS_PER_MS + self.spread_ns:
            self._base_ns += change_ns  # too fast for a drift: the link changed, not the clock
        else:
            self._wobble_ns += (abs(change_ns) - self._wobble_ns) >> 2
            self._follow(least_ns - self._base_ns)

    def _refine(self, error_ns: int) -> None:
        """After a step: its size was taken from a few jittering messages, now there are more."""
        limit_ns, self._refine_limit_ns = self._refine_limit_ns, 0
        if abs(error_ns) > limit_ns:
            self._base_ns = None  # more than jitter explains: the link changed as well
        elif abs(error_ns) > self._deaf_ns:
            self._shift(-error_ns)

    def _follow(self, error_ns: int) -> None:
        """Move the offset by what two stretches of time agree on and at the rate found so far."""
        before_ns, self._error_ns = self._error_ns, error_ns
        agreed_ns = 0
        if (error_ns > 0) == (before_ns > 0):
            agreed_ns = min(error_ns, before_ns, key=abs)
        if abs(agreed_ns) > self._deaf_ns:
            self._drift_ns += (agreed_ns >> 2) - (self._drift_ns >> 3)
        else:
            agreed_ns = 0
        most_ns = self._bucket_ns // DRIFT_PER_S
        self._shift(-max(-most_ns, min(most_ns, agreed_ns + self._drift_ns)))

    @property
    def _deaf_ns(self) -> int:
        """Less than this is noise of the least lag."""
        return NS_PER_MS // 4 + self._wobble_ns // 2

    def _shift(self, by_ns: int) -> None:
        """Change the offset and all that was learned under the old one."""
        self.offset_ns += by_ns
        self.lag_ns += by_ns
        self._error_ns += by_ns
        self._floor_ns += by_ns
        self._previous = Lags(self._previous.least_ns + by_ns, self._previous.gap_ns)

    # --- what does not fit ----------------------------------------------------------------------

    def judge(self, sample: Sample) -> tuple[list[Sample], int]:
        """Samples to accept now, oldest first, and how many held ones were dropped for good."""
        if self.accepted and (self._is_back_to_floor(sample) or self._is_straggler(sample)):
            return [sample], 0
        offset_ns = self._fitting_offset(sample)
        if offset_ns is not None:
            return self._switch(offset_ns, sample)
        if self.accepted and self._goes_on_late(sample):
            return [sample], 0
        dropped = self._hold(sample)
        if len(self.held) < self._enough:
            return [], dropped
        released, self.held = self.held, []
        if self.accepted < YOUNG or not self.is_trusted:
            self._align_by_arrival(released)
        else:
            self._step(released)
        return released, dropped

    def drop_held(self) -> int:
        """Forget what is held: a normal message came, so those were bad stamps."""
        dropped, self.held = len(self.held), []
        return dropped

    def _align_by_arrival(self, run: list[Sample]) -> None:
        """The stamps agree with each other but with no clock: take the usual delay as given."""
        before_ns = self.offset_ns
        raw_ns = sum(sample.arrival_ns - sample.stamp_ns for sample in run) // len(run)
        if _is_plausible(raw_ns + self._calibrated_ns):
            self.offset_ns, self.is_trusted = self._calibrated_ns, True
        else:
            self.offset_ns, self.is_trusted = self._delay_ns - raw_ns, False
        self.lag_ns = raw_ns + self.offset_ns
        self._base_ns = None
        self._restart(run[-1])
        self._tell("aligned by arrival", self.offset_ns - before_ns, run[-1].arrival_ns)

    def _restart(self, sample: Sample) -> None:
        """Begin to learn lags and gaps anew at `sample`."""
        self.accepted = max(self.accepted, 1)
        self.last_stamp_ns = sample.stamp_ns
        self._stamps.clear()
        self._floor_ns = FOREVER_NS
        self._error_ns = self._refine_limit_ns = self._drift_ns = 0
        self._previous = Lags(FOREVER_NS, self._previous.gap_ns)
        self._least_ns, self._most_ns = FOREVER_NS, -FOREVER_NS
        self._bucket_end_ns = sample.arrival_ns + self._bucket_ns

    def _fitting_offset(self, sample: Sample) -> int | None:
        """An offset known from before, or from a peer, under which the lag is a usual one."""
        raw_ns = sample.arrival_ns - sample.stamp_ns
        if not (self.accepted and self.is_trusted):
            untrusted = (self._calibrated_ns, *self._peer_offsets(sample.arrival_ns))
            return next((o for o in untrusted if _is_plausible(raw_ns + o)), None)
        tolerance_ns = max(AGREE_NS, 6 * self.spread_ns)
        for offset_ns in (*self._known_ns, *self._peer_offsets(sample.arrival_ns)):
            off_ns = raw_ns + offset_ns - self.lag_ns
            if offset_ns != self.offset_ns and abs(off_ns) <= tolerance_ns:
                return offset_ns
        return None

    def _peer_offsets(self, now_ns: int) -> list[int]:
        """The offset after the same step as a peer's: fresh, or from the start."""
        return [
            self.offset_ns + event.by_ns
            for event in reversed(self._events)
            if event.stream != self.name
            and (now_ns - event.at_ns < PEER_STEP_NS or not self.accepted)
        ]

    def _switch(self, offset_ns: int, sample: Sample) -> tuple[list[Sample], int]:
        """Go on under another offset; held messages that fit it are released as well."""
        before_ns, was_trusted = self.offset_ns, self.accepted > 0 and self.is_trusted
        is_known = offset_ns in self._known_ns
        self._use(offset_ns)
        self._restart(sample)
        if was_trusted:
            # A peer's estimate keeps the streams aligned, each then finds its own small rest.
            self._refine_limit_ns = 0 if is_known else self._events[-1].doubt_ns
        else:
            self.lag_ns = sample.arrival_ns - sample.stamp_ns + offset_ns
            self._base_ns = None
            self.is_trusted = offset_ns == self._calibrated_ns
        if offset_ns != before_ns:
            stepped: ClockEventKind = "stepped" if was_trusted else "aligned by arrival"
            kind = "returned" if is_known else stepped
            self._tell(kind, offset_ns - before_ns, sample.arrival_ns)
        held, self.held = self.held, []
        fitting = [s for s in held if abs(self._off_ns(s)) <= self._limit_ns]
        return [*fitting, sample], len(held) - len(fitting)

    def _off_ns(self, sample: Sample) -> int:
        return sample.arrival_ns - sample.stamp_ns + self.offset_ns - self.lag_ns

    def _use(self, offset_ns: int) -> None:
        """Make it the offset, and remember the last few: clocks flap."""
        if self.offset_ns not in self._known_ns:
            self._known_ns[1:] = [*self._known_ns[1:][-2:], self.offset_ns]
        self.offset_ns = offset_ns

    def _is_straggler(self, sample: Sample) -> bool:
        """Later than usual but not absurdly: accepted, unless it turns out to be a step back."""
        if not 0 < self._off_ns(sample) <= LATE_LIMIT_NS:
            return False
        if self._suspects and self._suspects_end != self.accepted:
            self._suspects = []  # a message with the usual lag came between
        if self._suspects and self._agree(self._suspects[-1], sample, SAME_NS):
            self._suspects.append(sample)
        else:
            is_behind = sample.stamp_ns <= self.last_stamp_ns
            self._suspects = [sample] if is_behind else []
        if len(self._suspects) == self._enough + 2:  # a few stragglers may agree by chance
            run, self._suspects = self._suspects, []
            self._step(run)
        else:
            self._learn_late(sample)
            self._suspects_end = self.accepted
        return True

    def _goes_on_late(self, sample: Sample) -> bool:
        """Delivery stalled for long, the stamps go on as before: late, not wrong."""
        step_ns = sample.stamp_ns - self.last_stamp_ns
        if self._off_ns(sample) < 0 or not 0 < step_ns <= 3 * self.period_ns:
            return False
        self._learn_late(sample)
        return True

    @property
    def _enough(self) -> int:
        """Messages that must agree on a step: fewer where the next one is long in coming."""
        return 2 if self.period_ns >= 50 * NS_PER_MS else 3

    def _agree(self, earlier: Sample, later: Sample, most_ns: int) -> bool:
        """Stamps and arrivals of two odd messages went on at the same pace."""
        stamp_gap_ns = later.stamp_ns - earlier.stamp_ns
        arrival_gap_ns = later.arrival_ns - earlier.arrival_ns
        if stamp_gap_ns <= 0 or 2 * arrival_gap_ns < stamp_gap_ns:
            return False
        return abs(arrival_gap_ns - stamp_gap_ns) <= most_ns

    def _is_back_to_floor(self, sample: Sample) -> bool:
        """A slow link got fast again: as early as ever under this offset, not earlier."""
        off_ns = self._off_ns(sample)
        if off_ns > 0 or self.lag_ns + off_ns < self._floor_ns - self._limit_ns:
            return False
        self._learn(sample.stamp_ns, sample.arrival_ns, self.lag_ns + off_ns, off_ns)
        return True

    def _learn_late(self, sample: Sample) -> None:
        """A slower link is learned, a burst after a stall is not: its lags mean nothing."""
        gap_ns = sample.arrival_ns - self._late_arrival_ns
        self._late_arrival_ns = sample.arrival_ns
        if 2 * gap_ns >= self.period_ns:
            off_ns = self._off_ns(sample)
            self._learn(sample.stamp_ns, sample.arrival_ns, self.lag_ns + off_ns, off_ns)
        else:
            self.accepted += 1
            self.last_stamp_ns = max(self.last_stamp_ns, sample.stamp_ns)

    def _hold(self, sample: Sample) -> int:
        """Add to the held run if it agrees with it, else begin a new run. Returns the dropped."""
        most_ns = max(AGREE_NS, 6 * self.spread_ns)
        if self.held and self._agree(self.held[-1], sample, most_ns):
            self.held.append(sample)
            return 0
        dropped = len(self.held)
        self.held = [sample]
        return dropped

    def _step(self, run: list[Sample]) -> None:
        """The run agrees: the clock stepped."""
        coarse_ns = -sum(self._off_ns(sample) for sample in run) // len(run)
        by_ns = self._on_grid(coarse_ns, run)
        self._use(self.offset_ns + by_ns)
        self._restart(run[-1])
        self._refine_limit_ns = 3 * self.spread_ns + 2 * NS_PER_MS
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
        self._events.append(ClockEvent(self.name, at_ns, kind, by_ns, self._refine_limit_ns))


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
