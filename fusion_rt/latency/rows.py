"""What the ledger writes: a row per input frame, per answer, per alarm and per remark.

Rows are msgpack arrays with the type's tag first, so that any msgpack library reads them. Times are
rig time in nanoseconds; 0 where a step was not reached.
"""

from typing import Literal

import msgspec

from fusion_rt.messages import Mode
from fusion_rt.sync.frame_set import ClosedBy

Outcome = Literal["used", "superseded", "late", "lost", "failed", "in_flight"]
OUTCOMES: tuple[Outcome, ...] = ("used", "superseded", "late", "lost", "failed", "in_flight")
Place = Literal["sensor", "transport", "inbox", "queue", "encode", "sync", "fuse", "publish"]
STAGES = ("sensor", "transport", "queue", "encode", "sync", "dispatch", "fuse", "publish")
"""What a member's time is made of: consecutive, and their sum is its end-to-end time."""
Stage = Literal["sensor", "transport", "queue", "encode", "sync", "dispatch", "fuse", "publish"]


class Row(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What all rows share."""


class FrameRow(Row, frozen=True, array_like=True, kw_only=True, tag="frame"):
    """What became of one input frame, or of `count` of them that shared a fate unseen."""

    topic: str
    outcome: Outcome
    place: Place
    """Where it ended; for a late one, where it was when its answer was closed."""
    cause: str = ""
    """In the words of who dropped it: a transport drop, a lane's error."""
    count: int = 1
    at_ns: int
    """When its fate was known."""
    answer: int = -1
    """Number of the first answer it is in; -1: none."""
    incarnation: int = 0
    seq: int = -1
    """-1: unknown, it never got here."""
    stamp_ns: int = 0
    sent_ns: int = 0
    recv_ns: int = 0
    taken_ns: int = 0
    """When its lane began with it."""
    ready_ns: int = 0
    """When it was encoded."""


class MemberRow(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The frame that a stream contributed last to an answer."""

    topic: str
    seq: int
    stamp_ns: int
    sent_ns: int
    recv_ns: int
    taken_ns: int
    ready_ns: int
    is_new: bool
    """In no answer before this one."""
    trace: tuple[tuple[str, int], ...] = ()
    """Marks of the sensor's own node, between stamp and sent."""


class AnswerRow(Row, frozen=True, array_like=True, kw_only=True, tag="answer"):
    """One reference time and its answer."""

    number: int
    """Counts the answers of this run from 0, also across a restart of the process."""
    reference_ns: int
    opened_ns: int
    closed_ns: int
    """The synchronizer's decision; a member may have been encoded after it."""
    started_ns: int
    """Fusion began: every member was ready."""
    fused_ns: int
    published_ns: int
    """As the message of the answer says when it was sent."""
    closed_by: ClosedBy
    waited_for: str
    """The stream that settled last; empty for the deadline."""
    members: tuple[MemberRow, ...]
    missing: tuple[tuple[str, str], ...] = ()
    """Stream and reason."""
    mode: Mode = "NORMAL"
    boxes: int = 0
    failure: str = ""
    """Why the answer is empty although there were members."""


class AlarmRow(Row, frozen=True, array_like=True, kw_only=True, tag="alarm"):
    """A latency budget that began, or ceased, to be broken."""

    budget: str
    kind: Literal["percentile", "misses"]
    is_raised: bool
    """False: it is kept again."""
    at_ns: int
    value_ns: int
    limit_ns: int
    answer: int
    text: str
    """One sentence with the blame."""


class NoteRow(Row, frozen=True, array_like=True, kw_only=True, tag="note"):
    """Something else that a reader of the report should see at its time."""

    at_ns: int
    subject: str
    """A topic, a node, or "rig"."""
    kind: Literal["state", "mode", "fault", "process"]
    text: str
    end_ns: int = 0
    """Of what lasts; 0 for an instant."""


class TotalsRow(Row, frozen=True, array_like=True, kw_only=True, tag="totals"):
    """The account of one topic when the ledger was closed; see `Account`."""

    topic: str
    received: int
    lost: int
    outcomes: dict[str, int]


AnyRow = FrameRow | AnswerRow | AlarmRow | NoteRow | TotalsRow


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's rows belong to; `run.json` beside them."""

    version: int = 1
    rig: str
    started_ns: int
    topics: tuple[str, ...]
    rates_hz: dict[str, float] = {}
    """Stated, by topic."""
    budgets: dict[str, dict[str, float]] = {}
    """Milliseconds by percentile, by budget."""
    model: str = ""
    machine: str = ""
