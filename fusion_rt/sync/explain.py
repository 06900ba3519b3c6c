"""Sync step: why a set is partial and why a stream is never in, in words with the numbers.

Used by `fusion-rt doctor` and Health.
"""

from typing import Literal

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sync.frame_set import FrameSet, Member, StreamSpec, StreamState
from fusion_rt.sync.synchronizer import Synchronizer

Cause = Literal[
    "never seen",
    "silent",
    "clock off",
    "clock stepped",
    "too slow",
    "tolerance too small",
    "wrong rate",
    "bad stamps",
    "late",
    "overflow",
]
RATE_ERROR = 0.15
"""A measured rate this far from the declared one is worth a word."""
NOTABLE_SHARE = 0.01


class Finding(msgspec.Struct, frozen=True):
    """One reason why a stream does less than it should."""

    stream: str
    cause: Cause
    text: str
    """A sentence with the numbers and the way out."""


def explain_set(frame_set: FrameSet) -> list[str]:
    """One sentence per missing member; empty for a complete set."""
    waited_ms = _ms(frame_set.closed_ns - frame_set.opened_ns)
    how = {
        "arrival": f"closed after {waited_ms} ms by a message of {frame_set.waited_for}",
        "ruled out": f"closed after {waited_ms} ms: {frame_set.waited_for} was waited for in vain",
        "deadline": f"closed by the deadline after {waited_ms} ms",
    }[frame_set.closed_by]
    return [
        f"{name}: {_absence(member)}; set {frame_set.reference_ns} {how}"
        for name, member in frame_set.members.items()
        if member.is_missing
    ]


def _absence(member: Member) -> str:
    return {
        "never seen": "no believable message since the start",
        "silent": "silent, not waited for",
        "too late": "what comes of it is older than may be, not waited for",
        "not arrived": "its message did not arrive in time",
        "outside tolerance": "its nearest message lies outside the tolerance",
    }.get(member.reason, "missing")


def explain_streams(sync: Synchronizer) -> list[Finding]:
    """What keeps streams out of the sets so far, most telling first; empty when all is well."""
    states = sync.states()
    reference = states.get(sync.reference) if isinstance(sync.reference, str) else None
    findings: list[Finding] = []
    for spec in sync.specs:
        state = states[spec.name]
        if absence := _never_or_silent(spec, state):
            findings.append(absence)
            continue
        findings += _clock(spec, state)
        findings += _rate(spec, state)
        findings += _losses(spec, state)
        if reference is not None and state is not reference:
            findings += _timing(spec, state, reference, sync.max_wait_ns)
    return findings


def _never_or_silent(spec: StreamSpec, state: StreamState) -> Finding | None:
    counts = state.counts
    if counts.pushed == 0:
        text = f"{spec.name}: nothing has arrived; is the node running and the topic's name right?"
        return Finding(spec.name, "never seen", text)
    if not state.is_alive and state.silence_ns > 0:
        text = (
            f"{spec.name}: silent for {state.silence_ns / NS_PER_S:.1f} s after {counts.pushed} "
            "messages; sets go on without it and wait no time for it"
        )
        return Finding(spec.name, "silent", text)
    return None


def _clock(spec: StreamSpec, state: StreamState) -> list[Finding]:
    if not state.is_clock_trusted:
        text = (
            f"{spec.name}: its stamps are {_seconds(state.learned_offset_ns)} off rig time since "
            "the start; aligned by arrival, true to its transport delay at best: set its clock, "
            "or give delay_ns"
        )
        return [Finding(spec.name, "clock off", text)]
    if abs(state.learned_offset_ns) > NS_PER_S // 10:
        text = (
            f"{spec.name}: its clock stepped, {_seconds(state.learned_offset_ns)} by now; "
            "corrected, but set the clock"
        )
        return [Finding(spec.name, "clock stepped", text)]
    return []


def _rate(spec: StreamSpec, state: StreamState) -> list[Finding]:
    if state.counts.pushed < 20 or abs(state.rate_hz / spec.rate_hz - 1) <= RATE_ERROR:
        return []
    text = (
        f"{spec.name}: declared {spec.rate_hz:g} Hz, arrives at {state.rate_hz:.1f} Hz; "
        "waiting and silence are judged by the declared rate: correct it, or look for losses"
    )
    return [Finding(spec.name, "wrong rate", text)]


def _losses(spec: StreamSpec, state: StreamState) -> list[Finding]:
    counts = state.counts
    texts: tuple[tuple[Cause, int, str], ...] = (
        ("bad stamps", counts.quarantined, "carried stamps that fit no clock"),
        ("late", counts.late, f"came up to {_ms(counts.late_by_ns)} ms after their sets had left"),
        ("overflow", counts.overflow, "were pushed out of a full buffer: declare the true rate"),
    )
    return [
        Finding(spec.name, cause, f"{spec.name}: {count} of {counts.pushed} messages {text}")
        for cause, count, text in texts
        if count > NOTABLE_SHARE * counts.pushed
    ]


def _timing(
    spec: StreamSpec, state: StreamState, reference: StreamState, max_wait_ns: int
) -> list[Finding]:
    """Out of most sets although alive: is it the transport delay, or the tolerance?"""
    if state.sets < 20 or state.sets_in > 0.8 * state.sets:
        return []
    share = f"in {state.sets_in} of {state.sets} sets"
    newest_at_close_ns = state.lag_ns - reference.lag_ns - max_wait_ns
    if newest_at_close_ns > spec.tolerance_ns:
        wait_ns = state.lag_ns - reference.lag_ns - spec.tolerance_ns
        text = (
            f"{spec.name}: {share}; its messages are {_ms(state.lag_ns)} ms old on arrival, the "
            f"reference's {_ms(reference.lag_ns)} ms, and a set waits {_ms(max_wait_ns)} ms: "
            f"max_wait_ns of at least {_ms(wait_ns)} ms or a tolerance of "
            f"{_ms(newest_at_close_ns)} ms would let it in"
        )
        return [Finding(spec.name, "too slow", text)]
    half_ns = round(NS_PER_S / spec.rate_hz) // 2
    text = (
        f"{spec.name}: {share}; where it was missing its nearest message lay "
        f"{_ms(state.miss_ns)} ms off, the tolerance is {_ms(spec.tolerance_ns)} ms and half its "
        f"period {_ms(half_ns)} ms"
    )
    return [Finding(spec.name, "tolerance too small", text)]


def _ms(value_ns: int) -> str:
    return f"{value_ns / NS_PER_MS:.0f}"


def _seconds(value_ns: int) -> str:
    return f"{value_ns / NS_PER_S:+.3f} s"
