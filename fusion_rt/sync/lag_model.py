"""Sync step: the lag of one stream's messages, arrival minus stamp, and what follows from it.

The lag has a floor, the transport delay, and a spread above it. A floor that moves slowly is a
drifting clock and is followed; one that moves at once is a link that changed and is not.
"""

from collections import deque

from fusion_rt.clock import NS_PER_MS, NS_PER_S

FOREVER_NS = 1 << 62
ODD_NS = 100 * NS_PER_MS
"""A lag farther than this from the usual one is looked at twice."""
BUCKET_NS = 2 * NS_PER_S
DRIFT_PER_S = 2000
"""Drift is followed up to 1 / 2000 = 0.5 ms a second."""
LEAST_PATIENCE_NS = 30 * NS_PER_MS
MOST_PATIENCE_NS = 200 * NS_PER_MS
"""Beyond the usual lag, before a message counts as lost."""


class LagModel:
    """Lag, spread, least gap and drift of one stream, learned message by message."""

    __slots__ = (
        "_bucket_end_ns",
        "_bucket_ns",
        "_drift_ns",
        "_error_ns",
        "_gap_ns",
        "_lateness_ns",
        "_least_ns",
        "_most_ns",
        "_period_ns",
        "_previous_ns",
        "_settling",
        "_wobble_ns",
        "accepted",
        "base_ns",
        "floor_ns",
        "gap_ns",
        "lag_ns",
        "last_stamp_ns",
        "limit_ns",
        "offset_ns",
        "refine_limit_ns",
        "spread_ns",
        "stamps",
    )

    def __init__(self, period_ns: int, offset_ns: int, delay_ns: int) -> None:
        self._period_ns = period_ns
        self.offset_ns = offset_ns
        """How far the stamps run ahead of rig time, calibrated and learned together."""
        self.accepted = 0
        self.gap_ns = period_ns - (period_ns >> 4)
        """Least gap of stamps lately; at first, a little less than the rate says."""
        self.lag_ns = delay_ns
        """The usual lag, of corrected stamps; until one is known the declared delay."""
        self.spread_ns = 10 * NS_PER_MS
        """Mean deviation from it."""
        self.limit_ns = ODD_NS
        self.floor_ns = FOREVER_NS
        """Least lag ever under this offset."""
        self.base_ns: int | None = None
        """Least lag of a stretch of time when the clock was right: drift is measured from it."""
        self.refine_limit_ns = 0
        """After a step: as much of it may still be wrong. 0: nothing to refine."""
        self.last_stamp_ns = 0
        self.stamps: deque[int] = deque(maxlen=8)
        self._previous_ns = self._least_ns = self._gap_ns = FOREVER_NS
        self._most_ns = -FOREVER_NS
        self._lateness_ns = 0
        self._bucket_ns = max(BUCKET_NS, 10 * period_ns)
        self._bucket_end_ns = 0
        self._wobble_ns = NS_PER_MS // 4
        self._drift_ns = self._error_ns = self._settling = 0

    def believes(self, stamp_ns: int, arrival_ns: int) -> bool:
        """Whether the stamp fits what is known; if so it is learned from."""
        lag_ns = arrival_ns - stamp_ns + self.offset_ns
        off_ns = lag_ns - self.lag_ns
        if not (self.accepted and -self.limit_ns <= off_ns <= self.limit_ns):
            return False
        self.learn(stamp_ns, arrival_ns, lag_ns, off_ns)
        return True

    def learn(self, stamp_ns: int, arrival_ns: int, lag_ns: int, off_ns: int) -> None:
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
            self.stamps.append(stamp_ns)
            if gap_ns < self._gap_ns:
                self._gap_ns = gap_ns
                if gap_ns < self.gap_ns:
                    self.gap_ns = gap_ns
        self.accepted += 1
        if arrival_ns >= self._bucket_end_ns:
            self._turn_bucket(arrival_ns)

    # The next two are asked for every stream of every set: comparisons cost half of min and max.

    @property
    def least_lag_ns(self) -> int:
        least_ns = self._least_ns if self._least_ns < self._previous_ns else self._previous_ns
        return least_ns if least_ns < self.lag_ns else self.lag_ns

    @property
    def late_lag_ns(self) -> int:
        """A message with more lag than this is not expected any more."""
        most_ns = self._most_ns - self.lag_ns
        if most_ns < self._lateness_ns:
            most_ns = self._lateness_ns
        usual_ns = 6 * self.spread_ns
        patience_ns = (usual_ns if usual_ns > most_ns else most_ns) + usual_ns // 3 + 2 * NS_PER_MS
        if patience_ns > MOST_PATIENCE_NS:
            patience_ns = MOST_PATIENCE_NS
        elif patience_ns < LEAST_PATIENCE_NS:
            patience_ns = LEAST_PATIENCE_NS
        return self.lag_ns + patience_ns

    def restart(self, stamp_ns: int, arrival_ns: int) -> None:
        """Begin to learn lags anew under another offset: the usual lag and gap still hold."""
        self.accepted = max(self.accepted, 1)
        self.last_stamp_ns = stamp_ns
        self.stamps.clear()
        self.floor_ns = FOREVER_NS
        self._error_ns = self.refine_limit_ns = self._drift_ns = 0
        self._previous_ns = FOREVER_NS
        self._least_ns, self._most_ns = FOREVER_NS, -FOREVER_NS
        self._bucket_end_ns = arrival_ns + self._bucket_ns

    # --- drift ----------------------------------------------------------------------------------

    def _turn_bucket(self, arrival_ns: int) -> None:
        least_ns, previous_ns = self._least_ns, self._previous_ns
        outage_ns = arrival_ns - self._bucket_end_ns
        self._lateness_ns -= self._lateness_ns >> 3
        self._lateness_ns = max(self._lateness_ns, self._most_ns - self.lag_ns)
        self._previous_ns = least_ns
        if self._gap_ns < FOREVER_NS:
            self.gap_ns = self._gap_ns
        self._least_ns = self._gap_ns = FOREVER_NS
        self._most_ns = -FOREVER_NS
        # The more jitter, the more messages it takes for one to come without any.
        patience = 1 + min(3, self.spread_ns // (7 * NS_PER_MS))
        self._bucket_end_ns = arrival_ns + patience * self._bucket_ns
        self.limit_ns = max(ODD_NS, 6 * self.spread_ns)
        self.floor_ns = min(self.floor_ns, least_ns)
        if outage_ns > self._bucket_ns:  # the clock drifted on; lags before and after do not mix
            self.offset_ns -= self._drift_ns * outage_ns // self._bucket_ns
            self.refine_limit_ns = outage_ns // DRIFT_PER_S + 3 * NS_PER_MS
            self._previous_ns = FOREVER_NS
            return
        change_ns = least_ns - previous_ns if previous_ns < FOREVER_NS else 0
        if self.base_ns is None:
            self.base_ns = least_ns
            self._settling = min(6, self.spread_ns // (2 * NS_PER_MS))
        elif self._settling > 0:  # the more jitter, the longer until the floor has been seen
            self._settling -= 1
            self.base_ns = min(self.base_ns, least_ns)
        elif self.refine_limit_ns:
            self._refine(least_ns - self.base_ns)
        elif abs(change_ns) > 3 * NS_PER_MS + self.spread_ns:
            self.base_ns += change_ns  # too fast for a drift: the link changed, not the clock
        else:
            self._wobble_ns += (abs(change_ns) - self._wobble_ns) >> 2
            self._follow(least_ns - self.base_ns)

    def _refine(self, error_ns: int) -> None:
        """After a step: its size was taken from a few jittering messages, now there are more."""
        limit_ns, self.refine_limit_ns = self.refine_limit_ns, 0
        if abs(error_ns) > limit_ns:
            self.base_ns = None  # more than jitter explains: the link changed as well
        elif abs(error_ns) > self._deaf_ns:
            self._shift(-error_ns)

    def _follow(self, error_ns: int) -> None:
        """Move the offset by what two stretches of time agree on and at the rate found so far."""
        before_ns, self._error_ns = self._error_ns, error_ns
        agreed_ns, most_ns = 0, self._bucket_ns // DRIFT_PER_S
        if (error_ns > 0) == (before_ns > 0):
            agreed_ns = min(error_ns, before_ns, key=abs)
        if abs(agreed_ns) > self._deaf_ns:
            drift_ns = self._drift_ns + (agreed_ns >> 1) - (self._drift_ns >> 2)
            self._drift_ns = max(-most_ns, min(most_ns, drift_ns))
        else:
            agreed_ns = 0
        self._shift(-max(-most_ns, min(most_ns, agreed_ns + self._drift_ns)))

    @property
    def _deaf_ns(self) -> int:
        """Less than this is noise of the least lag."""
        return NS_PER_MS // 4 + max(self._wobble_ns // 2, self.spread_ns // 8)

    def _shift(self, by_ns: int) -> None:
        """Change the offset and all that was learned under the old one."""
        self.offset_ns += by_ns
        self.lag_ns += by_ns
        self._error_ns += by_ns
        self.floor_ns += by_ns
        self._previous_ns += by_ns
