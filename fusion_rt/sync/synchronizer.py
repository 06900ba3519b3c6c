"""Sync step of the flow: stamped messages in, one FrameSet per reference time out.

Pure: integers only, no clock, no threads, no callbacks. Time passes only through `push` and
`advance`, and everything that was due by then happens as of its own time, in order. What a set
holds therefore depends on the stamps and arrivals alone, not on how often anyone looks.
docs/synchronizer.md tells the rules with pictures.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import SyncConfigError, UnknownStreamError
from fusion_rt.sync.frame_set import (
    ClockEvent,
    ClosedBy,
    FrameSet,
    Member,
    StreamSpec,
    StreamState,
    Tick,
)
from fusion_rt.sync.lag_model import FOREVER_NS
from fusion_rt.sync.modes import MATCHERS
from fusion_rt.sync.open_set import OpenSet
from fusion_rt.sync.reference_grid import FixedGrid, Grid, SensorGrid
from fusion_rt.sync.stream import GRACE_NS, SyncStream
from fusion_rt.sync.stream_buffer import Sample

DEFAULT_MAX_WAIT_NS = 150 * NS_PER_MS
DEFAULT_LATENESS_NS = 100 * NS_PER_MS
STALL_NS = 120 * NS_PER_MS
"""Plus the fastest period: nothing from any stream for so long is a stall of our own inbox."""
STALL_PACE_NS = 330 * NS_PER_MS
"""During a stall the output goes on at this pace, so that few references are given away."""
BLACKOUT_NS = 2 * NS_PER_S
"""A reference silent for longer is dead, stall or not."""
CATCH_UP_NS = 10 * NS_PER_S
"""After a longer sleep of the process, older ticks are not made up for."""


class Synchronizer:
    """Aligns streams to a reference stream or a fixed tick; see the module's docstring."""

    def __init__(
        self,
        streams: Sequence[StreamSpec],
        reference: str | Tick | None = None,
        max_wait_ns: int = DEFAULT_MAX_WAIT_NS,
        lateness_ns: int = DEFAULT_LATENESS_NS,
        reference_timeout_ns: int | None = None,
    ) -> None:
        """`reference`: a stream's name, a `Tick`, or None for the slowest required stream.

        `max_wait_ns`: no set waits longer, counted from its reference's arrival. `lateness_ns`: the
        most a message may come behind its successors and still be waited for. A reference message
        overdue by `reference_timeout_ns` (default `max_wait_ns`) is replaced by a tick.
        """
        _check(streams, reference, max_wait_ns, lateness_ns)
        self.clock_events: deque[ClockEvent] = deque(maxlen=256)
        """The last steps of the streams' clocks."""
        self._streams = {
            spec.name: SyncStream(spec, index, max_wait_ns, lateness_ns, self.clock_events)
            for index, spec in enumerate(streams)
        }
        self._reference: SyncStream | None = None
        timeout_ns = max_wait_ns if reference_timeout_ns is None else reference_timeout_ns
        self._grid: Grid
        if isinstance(reference, Tick):
            self._grid = FixedGrid(reference)
        else:
            self._reference = self._streams[reference or _slowest(streams)]
            self._grid = SensorGrid(self._reference, timeout_ns)
        self._others = [s for s in self._streams.values() if s is not self._reference]
        self._names = list(self._streams)
        self._required = {spec.name for spec in streams if spec.required}
        self.specs = tuple(streams)
        self.reference = reference if self._reference is None else self._reference.name
        self.max_wait_ns = max_wait_ns
        self._stall_ns = STALL_NS + min(s.period_ns for s in self._streams.values())
        self._open: list[OpenSet] = []
        self._delivered: deque[int] = deque(maxlen=8)
        self._closed_time_ns = -FOREVER_NS
        self._closed_was_tick, self._closed_opened_ns = False, FOREVER_NS
        self._closed_at_ns = self._served_ns = self._now_ns = -FOREVER_NS
        self._heard_ns = self._resumed_ns = -FOREVER_NS
        self._tick_ns = self._due_ns = FOREVER_NS

    # --- the surface ----------------------------------------------------------------------------

    def push(self, stream: str, stamp_ns: int, payload: Any, arrival_ns: int) -> list[FrameSet]:
        """Take one message; the sets that are due by its arrival, or because of it."""
        state = self._streams.get(stream)
        if state is None:
            raise UnknownStreamError(stream, list(self._streams))
        sets: list[FrameSet] = []
        if arrival_ns >= self._due_ns:
            sets = self._serve(arrival_ns)
        if arrival_ns > self._now_ns:
            self._now_ns = arrival_ns
        else:
            arrival_ns = self._now_ns
        if arrival_ns - self._heard_ns > self._stall_ns:
            self._resume(arrival_ns)
        self._heard_ns = arrival_ns
        sample = Sample(stamp_ns, payload, arrival_ns)
        if state.refuses(sample):
            return sets
        state.hear(arrival_ns)
        self._receive(state, sample)
        if self._open and state is not self._reference:
            self._settle(state, arrival_ns)
        if arrival_ns >= self._due_ns:
            sets += self._serve(arrival_ns)
        return sets

    def advance(self, now_ns: int) -> list[FrameSet]:
        """Time has passed; the sets that are due. Call with the inbox drained."""
        sets = self._serve(now_ns) if now_ns >= self._due_ns else []
        self._now_ns = max(self._now_ns, now_ns)
        return sets

    def next_deadline_ns(self) -> int | None:
        """When `advance` must be called if nothing is pushed before; None: not at all."""
        return self._due_ns if self._due_ns < FOREVER_NS else None

    def states(self) -> dict[str, StreamState]:
        """What is known of every stream, by name, as of the last push or advance."""
        waiting = sum(s.sample is not None for s in self._open)
        return {
            name: stream.state(self._now_ns, waiting if stream is self._reference else 0)
            for name, stream in self._streams.items()
        }

    # --- messages -------------------------------------------------------------------------------

    def _receive(self, state: SyncStream, sample: Sample) -> None:
        clock = state.clock
        if clock.lags.believes(sample.stamp_ns, sample.arrival_ns):
            if clock.held:
                state.quarantined += clock.drop_held()
            self._take(state, sample)
            return
        released, dropped = clock.judge(sample)
        state.quarantined += dropped
        for each in released:
            self._take(state, each)

    def _take(self, state: SyncStream, sample: Sample) -> None:
        sample.time_ns = sample.stamp_ns - state.clock.lags.offset_ns
        if state is self._reference:
            self._take_reference(state, sample)
        else:
            state.keep(sample, self._closed_time_ns)

    def _take_reference(self, state: SyncStream, sample: Sample) -> None:
        stamp_ns = sample.stamp_ns
        if stamp_ns in self._delivered or stamp_ns in [s.stamp_ns for s in self._open]:
            state.duplicate += 1
            return
        half_ns = self._grid.period_ns // 2
        behind_ns = self._closed_time_ns - sample.time_ns
        held_ns = self._now_ns - sample.arrival_ns
        if held_ns > self.max_wait_ns or behind_ns >= (-half_ns if self._closed_was_tick else 0):
            state.count_late(max(0, behind_ns))
            state.learn_reordering(sample.arrival_ns - self._closed_opened_ns)
            self._grid.heard_late(sample.time_ns)
            self._plan_tick()
            return
        self._open_reference(sample, half_ns)
        self._plan_tick()

    def _open_reference(self, sample: Sample, half_ns: int) -> None:
        time_ns, now_ns = sample.time_ns, self._now_ns
        deadline_ns = sample.arrival_ns + self.max_wait_ns
        opened = OpenSet(time_ns, sample, sample.arrival_ns, deadline_ns)
        opened.holes_ns = self._grid.take(time_ns)
        for later in self._open:
            left = [t for t in later.holes_ns if abs(t - time_ns) >= half_ns]
            if later.time_ns > time_ns:  # what it passed over before this one leaves with this one
                opened.holes_ns += [t for t in left if t < time_ns]
                left = [t for t in left if t > time_ns]
            later.holes_ns = left
        for place, later in enumerate(self._open):
            if later.sample is None and abs(later.time_ns - time_ns) < half_ns:
                self._open.pop(place)
                break
        self._insert(opened, now_ns)

    def _insert(self, opened: OpenSet, now_ns: int) -> None:
        """Put it in order of time; sets leave in that order, so those before must hurry."""
        place = len(self._open)
        while place and self._open[place - 1].time_ns > opened.time_ns:
            place -= 1
        if place < len(self._open):
            later = self._open[place]
            opened.deadline_ns = min(opened.deadline_ns, later.deadline_ns)
            if opened.sample is not None and self._reference is not None:
                self._reference.learn_reordering(now_ns - later.opened_ns)
        self._open.insert(place, opened)
        while place and self._open[place - 1].deadline_ns > opened.deadline_ns:
            place -= 1
            self._open[place].deadline_ns = opened.deadline_ns
        if place == 0 or not self._open[0].settles_ns:
            self._lead(now_ns)

    def _lead(self, now_ns: int) -> None:
        """The foremost open set is the only one that can close: see what it waits for."""
        head = self._open[0]
        head.settles_ns = [now_ns] * len(self._streams)
        for stream in self._others:
            head.settle(stream, now_ns)
        if head.holes_ns and self._reference is not None:
            filled_ns = head.opened_ns + self._reference.buffer.reorder_ns
            head.settles_ns[self._reference.index] = max(now_ns, filled_ns)
        head.schedule()
        self._plan(self._tick_ns)

    def _settle(self, state: SyncStream, now_ns: int) -> None:
        """The stream has moved on: does the foremost set still wait for it?"""
        head = self._open[0]
        if head.settles_ns[state.index] > now_ns:
            head.settle(state, now_ns)
            head.schedule()
            self._plan(self._tick_ns)

    def _plan(self, tick_ns: int) -> None:
        """When something is due next: the foremost set or the next tick."""
        self._tick_ns = self._due_ns = tick_ns
        if self._open and self._open[0].close_ns < tick_ns:
            self._due_ns = self._open[0].close_ns

    # --- time -----------------------------------------------------------------------------------

    def _serve(self, until_ns: int) -> list[FrameSet]:
        """Close and open what is due, each as of its own time."""
        sets: list[FrameSet] = []
        if until_ns - self._tick_ns > CATCH_UP_NS:
            self._grid.skip_to(until_ns - CATCH_UP_NS)
            self._plan_tick()
        while self._due_ns <= until_ns:
            due_ns = self._due_ns
            if due_ns < self._tick_ns or (self._open and self._open[0].close_ns == due_ns):
                self._served_ns = max(self._served_ns, due_ns)
                sets += self._close_head(self._served_ns)
            elif (paced_ns := self._paced(due_ns)) > due_ns:
                self._plan(paced_ns)
            else:
                self._open_tick(due_ns)
        return sets

    def _close_head(self, now_ns: int) -> list[FrameSet]:
        """The foremost set leaves, after ticks in the places of the references it passed over."""
        head = self._open.pop(0)
        sets = []
        for hole_ns in head.holes_ns:
            hole = OpenSet(hole_ns, None, head.opened_ns, head.deadline_ns)
            hole.settles_ns, hole.timed = head.settles_ns, head.timed
            sets.append(self._close(hole, now_ns))
        sets.append(self._close(head, now_ns))
        if self._open:
            self._lead(now_ns)
        else:
            self._plan(self._tick_ns)
        return sets

    def _close(self, opened: OpenSet, now_ns: int) -> FrameSet:
        time_ns, sample = opened.time_ns, opened.sample
        members: dict[str, Member] = {}
        for name, stream in self._streams.items():
            if stream is self._reference:
                members[name] = self._reference_member(stream, sample, now_ns)
            else:
                members[name] = stream.member(time_ns, now_ns)
                stream.buffer.drop_before(time_ns - stream.matcher.lookback_ns)
        self._closed_time_ns, self._closed_at_ns = time_ns, now_ns
        self._closed_was_tick, self._closed_opened_ns = sample is None, opened.opened_ns
        missing = [name for name, member in members.items() if member.quality == "missing"]
        closed_by, waited_for = self._verdict(opened, now_ns)
        return FrameSet(
            self._grid.stamp_ns(time_ns) if sample is None else sample.stamp_ns,
            members,
            "partial" if missing else "complete",
            not missing or self._required.isdisjoint(missing),
            sample is None,
            opened.opened_ns,
            now_ns,
            closed_by,
            waited_for,
        )

    def _verdict(self, opened: OpenSet, now_ns: int) -> tuple[ClosedBy, str]:
        """What closed the set, and the stream that settled last."""
        settles_ns = opened.settles_ns
        latest_ns = max(settles_ns)
        if latest_ns > now_ns:
            return "deadline", ""
        last = settles_ns.index(latest_ns)
        return "ruled out" if opened.timed >> last & 1 else "arrival", self._names[last]

    def _reference_member(self, stream: SyncStream, sample: Sample | None, now_ns: int) -> Member:
        stream.sets += stream.pushed > 0
        if sample is None:
            return Member(None, None, None, None, "missing", stream.absence(now_ns))
        stream.sets_in += 1
        stream.buffer.use(sample)
        self._delivered.append(sample.stamp_ns)
        return Member(sample.stamp_ns, sample.payload, 0, now_ns - sample.time_ns, "exact")

    def _open_tick(self, now_ns: int) -> None:
        time_ns = self._grid.next_ns()
        expected_ns = min(self._grid.expected_ns(), now_ns)  # what is usual may have changed
        deadline_ns = max(now_ns, expected_ns + self.max_wait_ns)
        self._grid.tick()
        self._served_ns = max(self._served_ns, now_ns)
        self._insert(OpenSet(time_ns, None, now_ns, deadline_ns), now_ns)
        self._plan_tick()

    def _plan_tick(self) -> None:
        grace_ns = self._resumed_ns + GRACE_NS
        self._plan(max(self._grid.opens_ns(), self._served_ns, grace_ns))

    def _paced(self, tick_ns: int) -> int:
        """When the tick may open: later than due while our own inbox may have stalled."""
        if self._reference is None or tick_ns - self._heard_ns <= self._stall_ns:
            return tick_ns
        paced_ns = self._closed_at_ns + STALL_PACE_NS
        return max(tick_ns, min(paced_ns, self._reference.heard_ns + BLACKOUT_NS))

    def _resume(self, now_ns: int) -> None:
        """The first message ever, or after everything stalled: do not blame the sensors."""
        if self._heard_ns == -FOREVER_NS:
            for stream in self._streams.values():
                stream.heard_ns = now_ns
            self._grid.start(now_ns)
            self._plan_tick()
            return
        for stream in self._streams.values():
            stream.resume(self._heard_ns, now_ns)
        self._resumed_ns = now_ns
        tick_ns = self._tick_ns
        if self._reference is not None and self._reference.is_credited:
            paced_ns = max(tick_ns, self._closed_at_ns + STALL_PACE_NS)
            tick_ns = min(max(tick_ns, now_ns + GRACE_NS), paced_ns)
        self._plan(tick_ns)
        if self._open:
            self._lead(now_ns)


def _slowest(streams: Sequence[StreamSpec]) -> str:
    """The slowest required stream, or the slowest of all where none is required."""
    required = [spec for spec in streams if spec.required] or streams
    return min(required, key=lambda spec: spec.rate_hz).name


def _check(
    streams: Sequence[StreamSpec],
    reference: str | Tick | None,
    max_wait_ns: int,
    lateness_ns: int,
) -> None:
    names = [spec.name for spec in streams]
    if not names or len(set(names)) < len(names):
        raise SyncConfigError("streams", "at least one, each name once", names)
    if isinstance(reference, str) and reference not in names:
        raise SyncConfigError("reference", f"a Tick or one of {', '.join(names)}", reference)
    if isinstance(reference, Tick) and reference.rate_hz <= 0:
        raise SyncConfigError("reference.rate_hz", "> 0", reference.rate_hz)
    for field, value in (("max_wait_ns", max_wait_ns), ("lateness_ns", lateness_ns)):
        if value < 0:
            raise SyncConfigError(field, ">= 0", value)
    for spec in streams:
        _check_stream(spec)


def _check_stream(spec: StreamSpec) -> None:
    where = f"streams.{spec.name}"
    if spec.rate_hz <= 0:
        raise SyncConfigError(f"{where}.rate_hz", "> 0", spec.rate_hz)
    if spec.tolerance_ns < 0:
        raise SyncConfigError(f"{where}.tolerance_ns", ">= 0", spec.tolerance_ns)
    if spec.mode not in MATCHERS:
        raise SyncConfigError(f"{where}.mode", f"one of {', '.join(MATCHERS)}", spec.mode)
    if spec.mode == "window" and (min(spec.window_ns) < 0 or sum(spec.window_ns) == 0):
        raise SyncConfigError(f"{where}.window_ns", "(before, after) >= 0", spec.window_ns)
