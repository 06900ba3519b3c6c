"""What goes into the synchronizer besides messages, and what comes out of it.

Sync step of the flow: a `StreamSpec` per stream in, one `FrameSet` per reference time out.
"""

from typing import Any, Literal

import msgspec

Mode = Literal["nearest", "at_hand", "latest_before", "interpolate", "window"]
Quality = Literal["exact", "nearest", "interpolated", "held", "missing"]
Reason = Literal["", "never seen", "silent", "too late", "not arrived", "outside tolerance"]
ClosedBy = Literal["arrival", "ruled out", "deadline"]
ClockEventKind = Literal["stepped", "aligned by arrival", "returned"]


class StreamSpec(msgspec.Struct, frozen=True):
    """How one stream is matched to the reference."""

    name: str
    rate_hz: float
    """Nominal; a slower actual rate is learned."""
    tolerance_ns: int
    """Farthest a member may lie from the reference time. `interpolate`, `latest_before`: how long
    a value may be held."""
    offset_ns: int = 0
    """Calibrated clock offset: how far this stream's stamps run ahead of rig time; subtracted."""
    required: bool = False
    """Without it a set is not usable; it still comes out."""
    mode: Mode = "nearest"
    window_ns: tuple[int, int] = (0, 0)
    """`window` only: this long before and after the reference time."""
    delay_ns: int | None = None
    """Least transport delay, if known: aligns a stream whose clock is wrong from the start.
    Default: one period, at most 60 ms."""
    max_age_ns: int | None = None
    """Older than this at arrival is of no use: such messages are late, nothing waits for them, and
    a reference that brings no others is carried on without them. None: a slower link is followed,
    however slow."""


class Tick(msgspec.Struct, frozen=True):
    """A fixed tick as reference: times `phase_ns` + n / `rate_hz` in rig time."""

    rate_hz: float
    phase_ns: int = 0


class Part(msgspec.Struct, frozen=True):
    """One message behind an interpolated or windowed member."""

    stamp_ns: int
    """As pushed."""
    payload: Any
    error_ns: int
    """Its time minus the reference time, clocks corrected."""


class Member(msgspec.Struct, frozen=True):
    """What one stream contributes to a set. A missing member has a reason and no payload."""

    stamp_ns: int | None
    """As pushed; of the message nearest to the reference where there are several."""
    payload: Any
    error_ns: int | None
    """Its time minus the reference time, clocks corrected."""
    age_ns: int | None
    """Closing of the set minus its time, clocks corrected."""
    quality: Quality
    reason: Reason = ""
    parts: tuple[Part, ...] = ()
    """`interpolated`: the two around the reference; `held`: the last two; window: its chunks."""

    @property
    def is_missing(self) -> bool:
        return self.quality == "missing"


class FrameSet(msgspec.Struct, frozen=True):
    """The one answer for one reference time."""

    reference_ns: int
    """The reference message's stamp as pushed, or the tick's time in the same clock."""
    members: dict[str, Member]
    """Every stream of the synchronizer, the reference stream included."""
    status: Literal["complete", "partial"]
    """`complete`: no member is missing."""
    is_usable: bool
    """Every required stream is in."""
    is_tick: bool
    """No reference message stands behind it."""
    opened_ns: int
    closed_ns: int
    closed_by: ClosedBy
    """`arrival` of a message, a stream `ruled out` by time (lost or silent), or the `deadline`."""
    waited_for: str
    """The stream that settled last; empty for the deadline."""


class ClockEvent(msgspec.Struct, frozen=True):
    """A stream's clock changed by more than drift, or could not be believed at the start."""

    stream: str
    at_ns: int
    """Arrival that decided it."""
    kind: ClockEventKind
    by_ns: int
    """Change of the learned offset."""
    doubt_ns: int = 0
    """How far off that may be until more messages have refined it."""


class StreamCounts(msgspec.Struct, frozen=True):
    """Where every pushed message of one stream is: the other fields sum to `pushed`."""

    pushed: int
    used: int
    unused: int
    duplicate: int
    late: int
    quarantined: int
    overflow: int
    buffered: int
    late_by_ns: int = 0
    """The latest of the late: how far behind the oldest time still open."""


class StreamState(msgspec.Struct, frozen=True):
    """What the synchronizer knows of one stream."""

    name: str
    counts: StreamCounts
    held: int
    """Messages kept for sets to come, used before or not."""
    is_alive: bool
    rate_hz: float
    """Mean rate of arrival since the first message."""
    silence_ns: int
    """Since the last arrival; 0 before the first."""
    lag_ns: int
    """Usual arrival minus stamp, clocks corrected."""
    jitter_ns: int
    """Mean deviation of the lag."""
    learned_offset_ns: int
    """Found clock offset on top of the calibrated one."""
    is_clock_trusted: bool
    """False: the stamps were implausible from the start, alignment is by arrival."""
    gap_ns: int
    """Least stamp gap seen lately."""
    reorder_ns: int
    """How late messages come behind their successors, lately."""
    sets: int
    """Sets closed since the stream was first heard; in how many of them it was in."""
    sets_in: int
    miss_ns: int
    """Mean time of the nearest message minus the reference, over sets it was not in."""
