"""Sync step: one stream inside the synchronizer, and when a set need not wait for it any longer."""

from collections import deque

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sync.frame_set import (
    ClockEvent,
    Member,
    Reason,
    StreamCounts,
    StreamSpec,
    StreamState,
)
from fusion_rt.sync.modes import MATCHERS, Matcher
from fusion_rt.sync.stream_buffer import Sample, StreamBuffer
from fusion_rt.sync.stream_clock import StreamClock

LEAST_SILENCE_NS = 60 * NS_PER_MS
SILENCE_MARGIN_NS = 20 * NS_PER_MS
GRACE_NS = 50 * NS_PER_MS
"""After a stall of everything, this long passes before a message is called lost."""


class SyncStream:
    """Clock, buffer, matcher and account of one stream."""

    __slots__ = (
        "_late_by_ns",
        "_silence_ns",
        "_widest_ns",
        "buffer",
        "clock",
        "duplicate",
        "first_heard_ns",
        "heard_ns",
        "index",
        "is_credited",
        "late",
        "lateness_ns",
        "matcher",
        "miss_ns",
        "name",
        "period_ns",
        "pushed",
        "quarantined",
        "refused_ns",
        "refused_stamp_ns",
        "resumed_ns",
        "sets",
        "sets_in",
        "spec",
    )

    def __init__(
        self,
        spec: StreamSpec,
        index: int,
        max_wait_ns: int,
        lateness_ns: int,
        events: deque[ClockEvent],
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.index = index
        self.lateness_ns = lateness_ns
        self.period_ns = round(NS_PER_S / spec.rate_hz)
        self.matcher: Matcher = MATCHERS[spec.mode](spec, self.period_ns)
        self.clock = StreamClock(spec.name, self.period_ns, spec.offset_ns, spec.delay_ns, events)
        kept_ns = max(self.matcher.lookback_ns, self.period_ns) + max_wait_ns + lateness_ns
        kept_ns += max(0, self.matcher.ahead_ns)
        self.buffer = StreamBuffer(kept_ns, max(32, 4 * kept_ns // self.period_ns))
        self._silence_ns = max(3 * self.period_ns, LEAST_SILENCE_NS) + SILENCE_MARGIN_NS
        self._widest_ns = 0
        self.heard_ns = self.refused_ns = self.refused_stamp_ns = 0
        self.first_heard_ns: int | None = None
        self.resumed_ns = 0
        self.is_credited = False
        self.pushed = self.duplicate = self.late = self.quarantined = 0
        self._late_by_ns = 0
        self.sets = self.sets_in = self.miss_ns = 0

    def hear(self, arrival_ns: int) -> None:
        """Something arrived, whatever it is worth: the stream is alive."""
        gap_ns = arrival_ns - self.heard_ns
        if gap_ns > self._widest_ns:
            if gap_ns < 2 * self._silence_ns:  # longer is an outage, not a habit
                self._widest_ns = gap_ns
        else:
            self._widest_ns -= self._widest_ns >> 8
        self.heard_ns = arrival_ns
        self.is_credited = False
        if not self.pushed:
            self.first_heard_ns = arrival_ns
        self.pushed += 1

    def refuses(self, sample: Sample) -> bool:
        """Whether it comes too late for any use; the stream is as good as silent then."""
        max_age_ns, lags = self.spec.max_age_ns, self.clock.lags
        if max_age_ns is None:
            return False
        late_ns = sample.arrival_ns - sample.stamp_ns + lags.offset_ns - max_age_ns
        if late_ns <= 0 or late_ns + max_age_ns <= lags.lag_ns:
            return False
        if not (self.clock.goes_on(sample) or self._follows_refused(sample)):
            return False
        lags.last_stamp_ns = max(lags.last_stamp_ns, sample.stamp_ns)
        self.pushed += 1
        self.refused_ns, self.refused_stamp_ns = sample.arrival_ns, sample.stamp_ns
        self.count_late(late_ns)
        return True

    def _follows_refused(self, sample: Sample) -> bool:
        """Whether it is the rest of what came too late, behind messages that are in time again."""
        step_ns = sample.stamp_ns - self.refused_stamp_ns
        is_recent = sample.arrival_ns - self.refused_ns < self._silence_ns
        return is_recent and 0 < step_ns <= 3 * self.period_ns

    def silent_from_ns(self) -> int:
        """When the stream counts as silent if nothing more arrives."""
        habit_ns = self._widest_ns * 3 // 2 + SILENCE_MARGIN_NS
        return self.heard_ns + (habit_ns if habit_ns > self._silence_ns else self._silence_ns)

    def resume(self, silent_from_ns: int, now_ns: int) -> None:
        """Everything had stalled from `silent_from_ns` until now: count its silence anew, once."""
        self.resumed_ns = now_ns
        if not self.is_credited and self.silent_from_ns() >= silent_from_ns:
            self.is_credited = True
            self.heard_ns = now_ns

    def keep(self, sample: Sample, closed_ns: int) -> None:
        """Buffer it unless every set that could use it is closed."""
        behind_ns = closed_ns - self.matcher.lookback_ns - sample.time_ns
        if behind_ns > 0:
            self.count_late(behind_ns)
        elif not self.buffer.add(sample, self.lateness_ns):
            self.duplicate += 1

    def learn_reordering(self, late_ns: int) -> None:
        """A message came `late_ns` after one that was measured later."""
        buffer = self.buffer
        buffer.reorder_ns = max(buffer.reorder_ns, min(late_ns, self.lateness_ns))

    def count_late(self, behind_ns: int) -> None:
        self.late += 1
        self._late_by_ns = max(self._late_by_ns, behind_ns)

    # --- settling -------------------------------------------------------------------------------

    def settles_at(self, reference_ns: int, deadline_ns: int, now_ns: int) -> int:
        """When a set at `reference_ns` stops waiting for this stream if nothing more arrives.

        At or before `now_ns`: it is settled. What arrives later is still used if the set is open.
        """
        newest_ns = self.buffer.newest_ns
        silent_ns = self.silent_from_ns()
        if newest_ns is None or silent_ns <= now_ns:
            return silent_ns
        behind_ns = reference_ns + self.matcher.ahead_ns - newest_ns
        if behind_ns <= 0:
            return self._hole_filled_at(reference_ns) if self.buffer.reorder_ns else now_ns
        if self.matcher.is_proven(behind_ns, self.clock.lags.gap_ns):
            return now_ns
        lost_ns = self._lost_at(newest_ns, behind_ns, deadline_ns)
        if not lost_ns:
            return now_ns
        graced_ns = self.resumed_ns + GRACE_NS
        lost_ns = lost_ns if lost_ns > graced_ns else graced_ns
        return lost_ns if lost_ns < silent_ns else silent_ns

    def _hole_filled_at(self, reference_ns: int) -> int:
        """Messages overtake each other here: one missing next to the reference may still come."""
        buffer = self.buffer
        after = buffer.before(reference_ns) + 1
        if after == 0 or after == len(buffer.times):
            return 0
        before_ns, after_ns = buffer.times[after - 1], buffer.times[after]
        if 2 * (after_ns - before_ns) < 3 * self.period_ns:
            return 0
        # The latest so far is not the latest there can be.
        return buffer.samples[after].arrival_ns + buffer.reorder_ns * 5 // 4 + GRACE_NS // 5

    def _lost_at(self, newest_ns: int, behind_ns: int, deadline_ns: int) -> int:
        """Latest usual arrival of the message waited for; 0 when none can come in time."""
        lags = self.clock.lags
        period_ns = lags.gap_ns if lags.gap_ns > self.period_ns else self.period_ns
        most = (deadline_ns - lags.least_lag_ns - newest_ns) // period_ns
        step = self.matcher.wanted_step(behind_ns, period_ns, most)
        if step < 1:
            return 0
        return newest_ns + step * period_ns + lags.late_lag_ns

    # --- what is told ---------------------------------------------------------------------------

    def member(self, reference_ns: int, now_ns: int) -> Member:
        """The stream's part in a set that closes now."""
        self.sets += self.pushed > 0
        self.buffer.forget_reordering()
        member = self.matcher.pick(self.buffer, reference_ns, now_ns)
        if member is None:
            return Member(None, None, None, None, "missing", self._reason(reference_ns, now_ns))
        self.sets_in += 1
        return member

    def _reason(self, reference_ns: int, now_ns: int) -> Reason:
        if (nearest := self.buffer.nearest(reference_ns)) is not None:
            self.miss_ns += (nearest.time_ns - reference_ns - self.miss_ns) >> 3
        absence = self.absence(now_ns)
        if absence == "not arrived" and self._has_passed(reference_ns):
            return "outside tolerance"
        return absence

    def absence(self, now_ns: int) -> Reason:
        """Why there is no message, as far as its arrivals tell."""
        if not self.clock.lags.accepted:
            return "never seen"
        if self.refused_ns > self.heard_ns and now_ns - self.refused_ns < self._silence_ns:
            return "too late"
        return "silent" if self.silent_from_ns() <= now_ns else "not arrived"

    def _has_passed(self, reference_ns: int) -> bool:
        newest_ns = self.buffer.newest_ns
        return newest_ns is not None and newest_ns >= reference_ns + self.matcher.ahead_ns

    def counts(self, pending: int = 0) -> StreamCounts:
        """The account; `pending` messages stand in open sets."""
        buffer = self.buffer
        return StreamCounts(
            pushed=self.pushed,
            used=buffer.used,
            unused=buffer.unused,
            duplicate=self.duplicate,
            late=self.late,
            quarantined=self.quarantined + len(self.clock.held),
            overflow=buffer.overflow,
            buffered=buffer.buffered() + pending,
            late_by_ns=self._late_by_ns,
        )

    def state(self, now_ns: int, pending: int = 0) -> StreamState:
        clock = self.clock
        heard_for_ns = self.heard_ns - (self.first_heard_ns or self.heard_ns)
        return StreamState(
            name=self.name,
            counts=self.counts(pending),
            held=len(self.buffer.samples) + pending + len(clock.held),
            rate_hz=(self.pushed - 1) * NS_PER_S / heard_for_ns if heard_for_ns else 0.0,
            silence_ns=now_ns - self.heard_ns if self.pushed else 0,
            is_alive=clock.lags.accepted > 0 and now_ns < self.silent_from_ns(),
            lag_ns=clock.lags.lag_ns,
            jitter_ns=clock.lags.spread_ns,
            learned_offset_ns=clock.learned_ns,
            is_clock_trusted=clock.is_trusted,
            gap_ns=clock.lags.gap_ns,
            reorder_ns=self.buffer.reorder_ns,
            sets=self.sets,
            sets_in=self.sets_in,
            miss_ns=self.miss_ns,
        )
