"""The ledger: what became of every input frame, and where every answer's time went. Pure.

The loop that fuses calls it; nothing here looks at a clock, a socket or a file. The door:

    ledger = Ledger(tolerances_ns, options, sink=writer.put)
    frame = ledger.arrived(header, recv_ns)            # each header that the inbox hands out
    frame.taken_ns = clock.now_ns()                    # its lane begins with it (any thread)
    frame.ready_ns = clock.now_ns()                    # it is encoded (any thread)
    ledger.dropped(frame, "superseded", "queue", at_ns=now)          # a newer one took its place
    ledger.dropped(frame, "failed", "encode", cause=str(error), at_ns=now)
    alarms = ledger.answered(times, members={topic: [frame, ...]}, missing={topic: reason})
    ledger.count_inbox(topic, inbox.drops, now)        # after each round of reading
    ledger.close(now)

Give every frame that a member is made of (the chunks of an audio window, both fixes around the
reference), each time it is used; a frame is accounted by its first use. `times` holds the
synchronizer's and the fusion's times. `alarms` are for the log; they are also written as rows.

Every frame ends in exactly one outcome: used, superseded (a newer or nearer one was taken), late
(it would have been taken had it come before its answer was closed), lost, failed, or in_flight when
the ledger closes. `account(topic)` sums to what was received and lost, at any time.
Use it from one thread; only `taken_ns` and `ready_ns` may be set by another.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.latency.alarms import watches_of
from fusion_rt.latency.budgets import LatencyOptions
from fusion_rt.latency.critical_path import blame, hops, quantities
from fusion_rt.latency.frame import Frame, TracedHeader, member_row, place_at, whereabouts
from fusion_rt.latency.histogram import Histogram
from fusion_rt.latency.rows import (
    AlarmRow,
    AnswerRow,
    AnyRow,
    FrameRow,
    NoteRow,
    Outcome,
    Place,
    TotalsRow,
)
from fusion_rt.messages import Mode
from fusion_rt.sync.frame_set import ClosedBy, FrameSet

PATIENCE_NS = 5 * NS_PER_S
"""A frame that no answer took for so long will not be taken: far beyond any tolerance or hold."""
MOST_PENDING = 1024
"""Frames of one topic whose fate is open; with more, the oldest is given up."""
_REMEMBERED_ANSWERS = 64
_UNSEEN: dict[str, tuple[Outcome, Place]] = {
    "lost": ("lost", "transport"),
    "superseded": ("superseded", "inbox"),
    "overflow": ("superseded", "inbox"),
    "stale": ("late", "inbox"),
}
"""Transport's drops of frames that never reached us, by cause. The others befall a frame that was
handed out: `dropped` tells of them."""


class AnswerTimes(msgspec.Struct, frozen=True, kw_only=True):
    """When an answer was decided, computed and sent, and what it was."""

    reference_ns: int
    opened_ns: int
    closed_ns: int
    started_ns: int
    """Fusion began; a member may have been encoded after the set was closed."""
    fused_ns: int
    published_ns: int
    closed_by: ClosedBy = "arrival"
    waited_for: str = ""
    mode: Mode = "NORMAL"
    boxes: int = 0
    failure: str = ""
    """Why there is an empty answer although there were members."""


def answer_times(
    closed: FrameSet,
    *,
    started_ns: int,
    fused_ns: int,
    published_ns: int,
    mode: Mode = "NORMAL",
    boxes: int = 0,
    failure: str = "",
) -> AnswerTimes:
    """With what the synchronizer's set knows of itself."""
    return AnswerTimes(
        reference_ns=closed.reference_ns,
        opened_ns=closed.opened_ns,
        closed_ns=closed.closed_ns,
        closed_by=closed.closed_by,
        waited_for=closed.waited_for,
        started_ns=started_ns,
        fused_ns=fused_ns,
        published_ns=published_ns,
        mode=mode,
        boxes=boxes,
        failure=failure,
    )


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where every frame of one topic is: `outcomes` sum to `received` + `lost`."""

    received: int
    """That reached this process, also those its own inbox dropped."""
    lost: int
    """That the sequence numbers say were sent, and that never came."""
    outcomes: dict[Outcome, int]


class _Choice(msgspec.Struct, frozen=True):
    """What an answer took of one stream: a frame that is nearer, and comes later, is late."""

    reference_ns: int
    closed_ns: int
    error_ns: int
    """How far off the taken one was; the tolerance where none was taken."""


class _Stream:
    """The ledger's books for one topic."""

    def __init__(self, tolerance_ns: int) -> None:
        self.tolerance_ns = tolerance_ns
        self.arrived = 0
        self.unseen: Counter[str] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.pending: deque[Frame] = deque()
        self.choices: deque[_Choice] = deque(maxlen=_REMEMBERED_ANSWERS)


class Ledger:
    """See the module's docstring. Bounded memory whatever comes."""

    def __init__(
        self,
        tolerances_ns: Mapping[str, int],
        options: LatencyOptions | None = None,
        sink: Callable[[AnyRow], None] | None = None,
        first_answer: int = 0,
    ) -> None:
        """`tolerances_ns`: by topic, how far a member may lie from the reference time; 0 for a
        stream that is taken as it is at hand: no frame of it is late. `first_answer`: the number
        of the next one, where a process before this one has answered in the same run."""
        options = options or LatencyOptions()
        self.answers = first_answer
        """Of this run so far."""
        self.whole: dict[str, Histogram] = {}
        """By quantity (`fusion_rt.latency.critical_path.quantities`)."""
        self.stages: dict[tuple[str, str], Histogram] = {}
        """By topic and stage; of members that are new."""
        self.alarms = watches_of(options.budgets, options.window_ns, options.misses)
        self._streams = {topic: _Stream(ns) for topic, ns in tolerances_ns.items()}
        self._sink: Callable[[AnyRow], None] = sink or _nowhere

    def arrived(self, header: TracedHeader, recv_ns: int) -> Frame:
        """A frame was handed out by the inbox; keep the token with it."""
        frame = Frame(
            topic=header.topic,
            incarnation=header.incarnation,
            seq=header.seq,
            stamp_ns=header.stamp_ns,
            sent_ns=header.sent_ns,
            recv_ns=recv_ns,
            trace=header.trace,
        )
        stream = self._streams[header.topic]
        stream.arrived += 1
        stream.pending.append(frame)
        if len(stream.pending) > MOST_PENDING:
            self._give_up(stream, stream.pending[0], recv_ns)
            self._sweep(stream)
        return frame

    def dropped(
        self, frame: Frame, outcome: Outcome, place: Place, *, at_ns: int, cause: str = ""
    ) -> None:
        """The frame goes no further. Told twice, or of a used frame, the first stands."""
        if frame.outcome is None:
            self._settle(self._streams[frame.topic], frame, outcome, place, at_ns, cause)

    def count_inbox(self, topic: str, drops: Mapping[str, int], at_ns: int) -> None:
        """Take over what the inbox dropped since the last time, from its running counters."""
        stream = self._streams[topic]
        for cause, (outcome, place) in _UNSEEN.items():
            count = drops.get(cause, 0) - stream.unseen[cause]
            if count <= 0:
                continue
            stream.unseen[cause] += count
            stream.outcomes[outcome] += count
            self._sink(
                FrameRow(
                    topic=topic,
                    outcome=outcome,
                    place=place,
                    cause=cause,
                    count=count,
                    at_ns=at_ns,
                )
            )

    def answered(
        self,
        times: AnswerTimes,
        members: Mapping[str, Sequence[Frame]],
        missing: Mapping[str, str] | None = None,
    ) -> list[AlarmRow]:
        """An answer was published; returns the alarms that it raised or ended."""
        row = AnswerRow(
            number=self.answers,
            members=tuple(member_row(frames) for frames in members.values() if frames),
            missing=tuple((missing or {}).items()),
            **msgspec.structs.asdict(times),
        )
        self.answers += 1
        for topic, stream in self._streams.items():
            self._settle_stream(stream, members.get(topic, ()), row)
        self._sink(row)
        return self._measure(row)

    def note(self, row: NoteRow) -> None:
        """Something for the reader of the report: a state, a mode, a fault."""
        self._sink(row)

    def account(self, topic: str) -> Account:
        """The books of one topic as they stand."""
        stream = self._streams[topic]
        open_frames = sum(frame.outcome is None for frame in stream.pending)
        lost = stream.unseen["lost"]
        outcomes = dict(stream.outcomes)
        if open_frames:
            outcomes["in_flight"] = outcomes.get("in_flight", 0) + open_frames
        received = stream.arrived + sum(stream.unseen.values()) - lost
        return Account(received=received, lost=lost, outcomes=outcomes)

    def close(self, at_ns: int) -> None:
        """Write a row for what is still open, and the totals."""
        for topic, stream in self._streams.items():
            for frame in stream.pending:
                if frame.outcome is None:
                    self._settle(stream, frame, "in_flight", whereabouts(frame), at_ns)
            stream.pending.clear()
            account = self.account(topic)
            outcomes = {str(outcome): count for outcome, count in account.outcomes.items()}
            self._sink(
                TotalsRow(
                    topic=topic, received=account.received, lost=account.lost, outcomes=outcomes
                )
            )

    def usual_ns(self) -> dict[tuple[str, str], int]:
        """The median of each topic's stages so far."""
        return {key: histogram.percentile_ns(50) or 0 for key, histogram in self.stages.items()}

    def _settle_stream(self, stream: _Stream, frames: Sequence[Frame], row: AnswerRow) -> None:
        """Those taken are used; those that stand behind them can no longer be taken."""
        for frame in frames:
            if frame.outcome is not None:
                continue
            outcome: Outcome = "failed" if row.failure else "used"
            self._settle(stream, frame, outcome, "fuse", row.published_ns, row.failure, row.number)
        error_ns = min(
            (abs(frame.stamp_ns - row.reference_ns) for frame in frames),
            default=stream.tolerance_ns,
        )
        stream.choices.append(_Choice(row.reference_ns, row.closed_ns, error_ns))
        floor_ns = min((frame.stamp_ns for frame in frames), default=0)
        oldest_ns = row.published_ns - PATIENCE_NS
        for frame in stream.pending:
            # Settled or not is asked first: a used frame below the floor is the floor's own.
            if frame.outcome is None and (frame.stamp_ns < floor_ns or frame.recv_ns < oldest_ns):
                self._give_up(stream, frame, row.published_ns)
        self._sweep(stream)

    def _give_up(self, stream: _Stream, frame: Frame, at_ns: int) -> None:
        if frame.outcome is not None:
            return
        missed = _missed_answer(stream, frame)
        if missed is None:
            self._settle(stream, frame, "superseded", whereabouts(frame), at_ns, "nearer one")
        else:
            self._settle(stream, frame, "late", place_at(frame, missed.closed_ns), at_ns)

    def _sweep(self, stream: _Stream) -> None:
        """Forget the settled ones; those in the middle wait for the ones before them."""
        while stream.pending and stream.pending[0].outcome is not None:
            stream.pending.popleft()

    def _settle(
        self,
        stream: _Stream,
        frame: Frame,
        outcome: Outcome,
        place: Place,
        at_ns: int,
        cause: str = "",
        answer: int = -1,
    ) -> None:
        frame.outcome = outcome
        stream.outcomes[outcome] += 1
        self._sink(
            FrameRow(
                topic=frame.topic,
                outcome=outcome,
                place=place,
                cause=cause,
                at_ns=at_ns,
                answer=answer,
                incarnation=frame.incarnation,
                seq=frame.seq,
                stamp_ns=frame.stamp_ns,
                sent_ns=frame.sent_ns,
                recv_ns=frame.recv_ns,
                taken_ns=frame.taken_ns,
                ready_ns=frame.ready_ns,
            )
        )

    def _measure(self, row: AnswerRow) -> list[AlarmRow]:
        values = quantities(row)
        for name, value_ns in values.items():
            self.whole.setdefault(name, Histogram()).add(value_ns)
        for member in row.members:
            if not member.is_new:
                continue
            for hop in hops(member, row):
                key = member.topic, hop.stage
                self.stages.setdefault(key, Histogram()).add(hop.took_ns)
                values[f"{hop.stage} {member.topic}"] = hop.took_ns
                values[hop.stage] = max(values.get(hop.stage, 0), hop.took_ns)
        return [
            alarm for name, watch in self.alarms.items() for alarm in self._watch(name, values, row)
        ]

    def _watch(self, name: str, values: Mapping[str, int], row: AnswerRow) -> list[AlarmRow]:
        value_ns = values.get(name)
        if value_ns is None:  # that stream is missing, or brought nothing new
            return []
        alarms = self.alarms[name].add(
            value_ns, row.published_ns, row.number, lambda: blame(row, self.usual_ns())
        )
        for alarm in alarms:
            self._sink(alarm)
        return alarms


def _nowhere(_row: AnyRow) -> None:
    """Where rows go when nobody keeps them."""


def _missed_answer(stream: _Stream, frame: Frame) -> _Choice | None:
    """The answer that the frame would have been in, had it come before that was closed."""
    nearest = min(
        stream.choices, key=lambda choice: abs(choice.reference_ns - frame.stamp_ns), default=None
    )
    if nearest is None:
        return None
    off_ns = abs(nearest.reference_ns - frame.stamp_ns)
    is_better = off_ns <= stream.tolerance_ns and off_ns < nearest.error_ns
    return nearest if is_better and frame.recv_ns > nearest.closed_ns else None
