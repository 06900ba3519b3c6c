"""The degradation matrix: rows from what was seen of a run from outside. Pure."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import msgspec

from fusion_rt.bench.fault_cases import SILENCING, PlacedCase
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.faults import FUSE
from fusion_rt.messages import Detections, Health, Mode

_GOOD_STATES = ("alive", "recovered", "waiting")
_GRACE_NS = 300 * NS_PER_MS
"""Answers in flight as a fault begins still show the time before it."""


class AnswerSeen(msgspec.Struct, frozen=True, eq=False):
    """An answer as a consumer had it."""

    sent_ns: int
    message: Detections
    incarnation: int = 0
    """Of the process that gave it."""


class StateSeen(msgspec.Struct, frozen=True):
    """A stream or process entered a state."""

    subject: str
    state: str
    since_ns: int
    reason: str


class Seen(msgspec.Struct, frozen=True, eq=False):
    """A run from outside."""

    start_ns: int
    """Of the session: what the schedule counts from."""
    reference_hz: float
    answers: tuple[AnswerSeen, ...]
    """In order of sending."""
    states: tuple[StateSeen, ...]
    arrivals_ns: dict[str, tuple[int, ...]]
    """By topic, ascending: when its frames reached the fusion."""


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One case and what it did."""

    fault: str
    sensors: tuple[str, ...]
    detect_ms: float | None
    """Until the rig said so, of the last of the sensors to be told; None: it never did."""
    told_by: str
    """What said so first: a stream's state, or a member that is missing, and why."""
    output_rate: float
    """Answers during the fault, as a share of those due."""
    longest_gap_ms: float
    """Between two answers, during the fault and the recovery."""
    map_2m: float | None
    """During the fault; None where nothing scores it."""
    recover_ms: float | None
    """From the end of the fault until every sensor is in an answer again; None: not in its slot."""
    mode: Mode
    """The worst during the fault."""
    wait_p99_ms: float | None
    """From the reference time to the sending of the answer, during the fault."""


def rows_of(
    placed: Sequence[PlacedCase],
    seen: Seen,
    score: Callable[[Sequence[AnswerSeen]], float | None],
) -> list[FaultRow]:
    """A row per case."""
    return [_row(one, seen, score) for one in placed]


def states_of(health: Health, before: dict[str, StateSeen]) -> list[StateSeen]:
    """What changed since the last Health; `before` is brought up to date."""
    found = []
    for stream in health.streams:
        found.append(StateSeen(stream.topic, stream.state, stream.since_ns, stream.reason))
    for process in health.processes:
        name = f"node {process.node}"
        found.append(StateSeen(name, process.state, process.since_ns, process.reason))
    new = [one for one in found if _is_new(one, before.get(one.subject))]
    before.update((one.subject, one) for one in new)
    return new


def _is_new(one: StateSeen, before: StateSeen | None) -> bool:
    return before is None or (one.state, one.since_ns) != (before.state, before.since_ns)


def _row(
    one: PlacedCase, seen: Seen, score: Callable[[Sequence[AnswerSeen]], float | None]
) -> FaultRow:
    begin_ns, end_ns = seen.start_ns + one.start_ns, seen.start_ns + one.end_ns
    until_ns = seen.start_ns + one.until_ns
    shown_until_ns = max(end_ns, begin_ns + 2 * NS_PER_S) if one.case.is_instant else end_ns
    during = _between(seen.answers, begin_ns, shown_until_ns)
    settled = [answer for answer in during if answer.sent_ns >= begin_ns + _GRACE_NS]
    told = [_told(topic, one, seen, begin_ns, until_ns) for topic in one.case.sensors]
    recovered = [_recovered_ns(topic, seen, end_ns, until_ns) for topic in one.case.sensors]
    waits = sorted(answer.sent_ns - answer.message.stamp_ns for answer in settled)
    due = seen.reference_hz * (shown_until_ns - begin_ns) / NS_PER_S
    return FaultRow(
        fault=one.case.fault,
        sensors=one.case.sensors,
        detect_ms=_last_ms([ns if ns >= 0 else None for ns, _ in told]),
        told_by="; ".join(words for _, words in told if words),
        output_rate=round(len(during) / due, 3),
        longest_gap_ms=_ms(_longest_gap_ns(seen.answers, begin_ns, until_ns)),
        map_2m=score(settled),
        recover_ms=_last_ms(recovered),
        mode=_worst_mode(during),
        wait_p99_ms=_ms(waits[int(0.99 * (len(waits) - 1))]) if waits else None,
    )


def _told(topic: str, one: PlacedCase, seen: Seen, begin_ns: int, until_ns: int) -> tuple[int, str]:
    """How long after the fault it was told, and in which words; -1 when it never was."""
    subject = f"node {FUSE}" if topic == FUSE else topic
    signs = [
        (state.since_ns, f"{topic} {state.state}")
        for state in seen.states
        if state.subject == subject and state.state not in _GOOD_STATES
        and begin_ns <= state.since_ns < until_ns
    ]  # fmt: skip
    for answer in _between(seen.answers, begin_ns, until_ns):
        if (words := _complaint(answer, topic)) is not None:
            signs.append((answer.sent_ns, words))
            break
    if not signs:
        return -1, ""
    told_ns, words = min(signs)
    return told_ns - _since_ns(topic, one, seen, begin_ns), words


def _since_ns(topic: str, one: PlacedCase, seen: Seen, begin_ns: int) -> int:
    """From when the fault could be noticed."""
    if one.case.fault not in SILENCING:
        return begin_ns
    before = [ns for ns in seen.arrivals_ns.get(topic, ()) if ns <= begin_ns]
    return max(before, default=begin_ns)


def _recovered_ns(topic: str, seen: Seen, end_ns: int, until_ns: int) -> int | None:
    """Until the first answer after the fault that holds something new of this sensor, or comes from
    the next process.
    """
    before = [answer.incarnation for answer in seen.answers if answer.sent_ns < end_ns][-1:]
    for answer in _between(seen.answers, end_ns, until_ns):
        if topic == FUSE and answer.incarnation not in before:
            return answer.sent_ns - end_ns
        for member in answer.message.members:
            is_in = member.topic == topic and member.quality != "missing"
            if is_in and end_ns <= (member.stamp_ns or 0) <= answer.sent_ns:
                return answer.sent_ns - end_ns
    return None


def _complaint(answer: AnswerSeen, topic: str) -> str | None:
    """What the answer says against the topic: that it is missing, or why the mode is what it is."""
    for member in answer.message.members:
        if member.topic == topic and member.quality == "missing":
            return f"{topic} missing: {member.reason or 'no reason'}"
    against = (r for r in answer.message.mode_reasons if r.startswith(f"{topic} "))
    return next((reason.partition(":")[0] for reason in against), None)


def _between(answers: Iterable[AnswerSeen], begin_ns: int, end_ns: int) -> list[AnswerSeen]:
    return [answer for answer in answers if begin_ns <= answer.sent_ns < end_ns]


def _longest_gap_ns(answers: Sequence[AnswerSeen], begin_ns: int, until_ns: int) -> int:
    sent = [answer.sent_ns for answer in _between(answers, begin_ns, until_ns)]
    return max((b - a for a, b in pairwise([begin_ns, *sent, until_ns])), default=0)


def _worst_mode(answers: Sequence[AnswerSeen]) -> Mode:
    order: tuple[Mode, ...] = ("BLIND", "MINIMAL", "DEGRADED", "NORMAL")
    modes = {answer.message.mode for answer in answers}
    return next((mode for mode in order if mode in modes), "BLIND")


def _last_ms(durations_ns: Sequence[int | None]) -> float | None:
    """The longest; None when one of them has no end, or there are none."""
    known = [ns for ns in durations_ns if ns is not None]
    return _ms(max(known)) if known and len(known) == len(durations_ns) else None


def _ms(duration_ns: int) -> float:
    return round(duration_ns / NS_PER_MS, 1)
