"""One input frame on its way through the fusion, as the ledger sees it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from fusion_rt.latency.rows import MemberRow, Outcome, Place


class TracedHeader(Protocol):
    """What the ledger reads of a message: the transport's header has it, and so can a test's."""

    @property
    def topic(self) -> str: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def stamp_ns(self) -> int: ...
    @property
    def sent_ns(self) -> int: ...
    @property
    def trace(self) -> tuple[tuple[str, int], ...]: ...


class Frame(msgspec.Struct, eq=False, kw_only=True):
    """One input frame on its way; goes along with it as a token."""

    topic: str
    incarnation: int
    seq: int
    stamp_ns: int
    sent_ns: int
    recv_ns: int
    trace: tuple[tuple[str, int], ...] = ()
    taken_ns: int = 0
    ready_ns: int = 0
    outcome: Outcome | None = None
    """None while it is open."""


def member_row(frames: Sequence[Frame]) -> MemberRow:
    """The last to be ready of those that a member is made of: the others waited for it."""
    frame = max(frames, key=lambda frame: (frame.ready_ns, frame.recv_ns))
    return MemberRow(
        topic=frame.topic,
        seq=frame.seq,
        stamp_ns=frame.stamp_ns,
        sent_ns=frame.sent_ns,
        recv_ns=frame.recv_ns,
        taken_ns=frame.taken_ns or frame.recv_ns,
        ready_ns=frame.ready_ns or frame.taken_ns or frame.recv_ns,
        is_new=frame.outcome is None,
        trace=frame.trace,
    )


def place_at(frame: Frame, at_ns: int) -> Place:
    """Where a frame that had not come yet was at that time."""
    return "sensor" if frame.sent_ns > at_ns else "transport"


def whereabouts(frame: Frame) -> Place:
    """How far it has come."""
    if frame.ready_ns:
        return "sync"
    return "encode" if frame.taken_ns else "queue"
