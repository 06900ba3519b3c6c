"""Sync step: what one stream's stamps are worth. Offset, steps, bad stamps, a clock set late.

A message whose lag is far off the usual is held back until others agree (the clock stepped) or
disagree (a bad stamp). Everything here follows from the stamps and arrivals alone, so a replay
learns the same.
"""

from collections import deque

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sync.frame_set import ClockEvent, ClockEventKind
from fusion_rt.sync.lag_model import LagModel
from fusion_rt.sync.stream_buffer import Sample

LATE_LIMIT_NS = NS_PER_S // 2
"""A lag above the usual by more than this is not a straggler."""
AGREE_NS = 60 * NS_PER_MS
SAME_NS = 20 * NS_PER_MS
PLAUSIBLE_LAG_NS = (-50 * NS_PER_MS, 2 * NS_PER_S)
PEER_STEP_NS = 5 * NS_PER_S
"""For so long after one stream's step the others may follow it on one message."""
YOUNG = 5
"""With fewer accepted messages than this, a step means that the first stamps were wrong."""


class StreamClock:
    """Offset of one stream's clock: found, followed, and told where it changed."""

    __slots__ = (
        "_calibrated_ns",
        "_delay_ns",
        "_events",
        "_known_ns",
        "_late_arrival_ns",
        "_name",
        "_period_ns",
        "_suspects",
        "_suspects_end",
        "held",
        "is_trusted",
        "lags",
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
        self._name = name
        self._period_ns = period_ns
        self._calibrated_ns = offset_ns
        self._delay_ns = min(period_ns, AGREE_NS) if delay_ns is None else delay_ns
        self._events = events
        self._known_ns = [offset_ns]
        self._suspects: list[Sample] = []
        self._suspects_end = 0
        self._late_arrival_ns = 0
        self.held: list[Sample] = []
        self.is_trusted = True
        self.lags = LagModel(period_ns, offset_ns, self._delay_ns)

    @property
    def learned_ns(self) -> int:
        """Offset found on top of the calibrated one."""
        return self.lags.offset_ns - self._calibrated_ns

    def judge(self, sample: Sample) -> tuple[list[Sample], int]:
        """Samples to accept now, oldest first, and how many held ones were dropped for good."""
        if self.lags.accepted and (self._is_back_to_floor(sample) or self._is_straggler(sample)):
            return [sample], 0
        offset_ns = self._fitting_offset(sample)
        if offset_ns is not None:
            return self._switch(offset_ns, sample)
        if self.lags.accepted and self._goes_on_late(sample):
            return [sample], 0
        dropped = self._hold(sample)
        if len(self.held) < self._enough:
            return [], dropped
        released, self.held = self.held, []
        if self.lags.accepted < YOUNG or not self.is_trusted:
            self._align_by_arrival(released)
        else:
            self._step(released)
        return released, dropped

    def goes_on(self, sample: Sample) -> bool:
        """Whether its stamp is the next one of a clock that runs as before, however late it is."""
        lags = self.lags
        step_ns = sample.stamp_ns - lags.last_stamp_ns
        if not (lags.accepted and self.is_trusted and 0 < step_ns <= 3 * self._period_ns):
            return False
        return not self._has_suspects

    @property
    def _has_suspects(self) -> bool:
        """Messages that may be a step back; one of the usual lag after them shows they are not."""
        return bool(self._suspects) and self._suspects_end == self.lags.accepted

    def drop_held(self) -> int:
        """Forget what is held: a normal message came, so those were bad stamps."""
        dropped, self.held = len(self.held), []
        return dropped

    def _align_by_arrival(self, run: list[Sample]) -> None:
        """The stamps agree with each other but with no clock: take the usual delay as given."""
        before_ns = self.lags.offset_ns
        raw_ns = sum(sample.arrival_ns - sample.stamp_ns for sample in run) // len(run)
        if _is_plausible(raw_ns + self._calibrated_ns):
            self.lags.offset_ns, self.is_trusted = self._calibrated_ns, True
        else:
            self.lags.offset_ns, self.is_trusted = self._delay_ns - raw_ns, False
        self.lags.lag_ns = raw_ns + self.lags.offset_ns
        self.lags.base_ns = None
        self.lags.restart(run[-1].stamp_ns, run[-1].arrival_ns)
        kind: ClockEventKind = "returned" if self.is_trusted else "aligned by arrival"
        self._tell(kind, self.lags.offset_ns - before_ns, run[-1].arrival_ns)

    def _fitting_offset(self, sample: Sample) -> int | None:
        """An offset known from before, or from a peer, under which the lag is a usual one."""
        raw_ns = sample.arrival_ns - sample.stamp_ns
        if not (self.lags.accepted and self.is_trusted):
            untrusted = (self._calibrated_ns, *self._peer_offsets(sample.arrival_ns))
            return next((o for o in untrusted if _is_plausible(raw_ns + o)), None)
        tolerance_ns = max(AGREE_NS, 6 * self.lags.spread_ns)
        for offset_ns in (*self._known_ns, *self._peer_offsets(sample.arrival_ns)):
            off_ns = raw_ns + offset_ns - self.lags.lag_ns
            if offset_ns != self.lags.offset_ns and abs(off_ns) <= tolerance_ns:
                return offset_ns
        return None

    def _peer_offsets(self, now_ns: int) -> list[int]:
        """The offset after the same step as a peer's: fresh, or from the start."""
        return [
            self.lags.offset_ns + event.by_ns
            for event in reversed(self._events)
            if event.stream != self._name
            and (now_ns - event.at_ns < PEER_STEP_NS or not self.lags.accepted)
        ]

    def _switch(self, offset_ns: int, sample: Sample) -> tuple[list[Sample], int]:
        """Go on under another offset; held messages that fit it are released as well."""
        before_ns, was_trusted = self.lags.offset_ns, self.lags.accepted > 0 and self.is_trusted
        is_known = offset_ns in self._known_ns
        self._use(offset_ns)
        self.lags.restart(sample.stamp_ns, sample.arrival_ns)
        if was_trusted:
            # A peer's estimate keeps the streams aligned, each then finds its own small rest.
            self.lags.refine_limit_ns = 0 if is_known else self._events[-1].doubt_ns
        else:
            self.lags.lag_ns = sample.arrival_ns - sample.stamp_ns + offset_ns
            self.lags.base_ns = None
            self.is_trusted = offset_ns == self._calibrated_ns
        if offset_ns != before_ns:
            stepped: ClockEventKind = "stepped" if was_trusted else "aligned by arrival"
            kind = "returned" if is_known else stepped
            self._tell(kind, offset_ns - before_ns, sample.arrival_ns)
        held, self.held = self.held, []
        fitting = [s for s in held if abs(self._off_ns(s)) <= self.lags.limit_ns]
        return [*fitting, sample], len(held) - len(fitting)

    def _off_ns(self, sample: Sample) -> int:
        return sample.arrival_ns - sample.stamp_ns + self.lags.offset_ns - self.lags.lag_ns

    def _use(self, offset_ns: int) -> None:
        """Make it the offset, and remember the last few: clocks flap."""
        if self.lags.offset_ns not in self._known_ns:
            self._known_ns[1:] = [*self._known_ns[1:][-2:], self.lags.offset_ns]
        self.lags.offset_ns = offset_ns

    def _is_straggler(self, sample: Sample) -> bool:
        """Later than usual but not absurdly: accepted, unless it turns out to be a step back."""
        if not 0 < self._off_ns(sample) <= LATE_LIMIT_NS:
            return False
        if not self._has_suspects:
            self._suspects = []
        if self._suspects and self._agree(self._suspects[-1], sample, SAME_NS):
            self._suspects.append(sample)
        else:
            is_behind = sample.stamp_ns <= self.lags.last_stamp_ns
            self._suspects = [sample] if is_behind else []
        if len(self._suspects) == self._enough + 2:  # a few stragglers may agree by chance
            run, self._suspects = self._suspects, []
            self._step(run)
        else:
            self._learn_late(sample)
            self._suspects_end = self.lags.accepted
        return True

    def _goes_on_late(self, sample: Sample) -> bool:
        """Delivery stalled for long, the stamps go on as before: late, not wrong."""
        step_ns = sample.stamp_ns - self.lags.last_stamp_ns
        if self._off_ns(sample) < 0 or not 0 < step_ns <= 3 * self._period_ns:
            return False
        self._learn_late(sample)
        return True

    @property
    def _enough(self) -> int:
        """Messages that must agree on a step: fewer where the next one is long in coming."""
        return 2 if self._period_ns >= 50 * NS_PER_MS else 3

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
        if off_ns > 0 or self.lags.lag_ns + off_ns < self.lags.floor_ns - self.lags.limit_ns:
            return False
        self.lags.learn(sample.stamp_ns, sample.arrival_ns, self.lags.lag_ns + off_ns, off_ns)
        return True

    def _learn_late(self, sample: Sample) -> None:
        """A slower link is learned, a burst after a stall is not: its lags mean nothing."""
        gap_ns = sample.arrival_ns - self._late_arrival_ns
        self._late_arrival_ns = sample.arrival_ns
        if 2 * gap_ns >= self._period_ns:
            off_ns = self._off_ns(sample)
            self.lags.learn(sample.stamp_ns, sample.arrival_ns, self.lags.lag_ns + off_ns, off_ns)
        else:
            self.lags.accepted += 1
            self.lags.last_stamp_ns = max(self.lags.last_stamp_ns, sample.stamp_ns)

    def _hold(self, sample: Sample) -> int:
        """Add to the held run if it agrees with it, else begin a new run. Returns the dropped."""
        most_ns = max(AGREE_NS, 6 * self.lags.spread_ns)
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
        self._use(self.lags.offset_ns + by_ns)
        self.lags.restart(run[-1].stamp_ns, run[-1].arrival_ns)
        self.lags.refine_limit_ns = 3 * self.lags.spread_ns + 2 * NS_PER_MS
        self._tell("stepped", by_ns, run[-1].arrival_ns)

    def _on_grid(self, coarse_ns: int, run: list[Sample]) -> int:
        """Refine a step by the period: a sensor that kept its pace kept its phase."""
        period_ns = self._period_ns
        before = _grid_anchor(list(self.lags.stamps), period_ns)
        after = _grid_anchor([sample.stamp_ns for sample in run], period_ns)
        if before is None or after is None:
            return coarse_ns
        gap_ns = after - before - coarse_ns
        by_ns = coarse_ns + _centred(gap_ns, period_ns)
        snap_ns = min(period_ns // 3, 3 * self.lags.spread_ns + 2 * NS_PER_MS)
        near = abs(by_ns - coarse_ns) <= snap_ns and gap_ns <= 50 * period_ns
        return by_ns if near else coarse_ns

    def _tell(self, kind: ClockEventKind, by_ns: int, at_ns: int) -> None:
        self._events.append(ClockEvent(self._name, at_ns, kind, by_ns, self.lags.refine_limit_ns))


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
