"""Scores a synchronizer against the truth of a scenario.

An ideal set belongs to every measurement of the reference, lost or not. A stream is possible in it
when one of its messages lies inside the tolerance, carries no nonsense stamp and arrives before the
budget is spent; an ideal set is complete when every possible stream is in with a message that truly
lies inside the tolerance.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from benchmarks.sync_scenarios import MS, Event, S, Scenario
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import FrameSet, StreamSpec

BUDGET_NS = 150 * MS


class Aligner(Protocol):
    """What is scored: ours, or a peer behind the same three calls."""

    def push(self, stream: str, stamp_ns: int, payload: Any, arrival_ns: int) -> list[FrameSet]: ...
    def advance(self, now_ns: int) -> list[FrameSet]: ...
    def next_deadline_ns(self) -> int | None: ...


Emitted = list[tuple[int, FrameSet]]


def synchronizer_for(scenario: Scenario) -> Synchronizer:
    """As an integrator would write it down: rates and tolerances, nothing learned beforehand."""
    specs = [
        StreamSpec(
            name=name,
            rate_hz=rate,
            tolerance_ns=scenario.tolerances_ns[name],
            delay_ns=scenario.delays_ns.get(name),
        )
        for name, rate in scenario.rates_hz.items()
    ]
    return Synchronizer(streams=specs, reference=scenario.reference, max_wait_ns=BUDGET_NS)


def drive(aligner: Aligner, events: list[Event], timer_ns: int = 0) -> Emitted:
    """Feed the events, waking at every deadline, or every `timer_ns` only. When each set came."""
    emitted: Emitted = []
    wake_ns = events[0].arrival_ns if events else 0
    for event in events:
        wake_ns = _wake_until(aligner, event.arrival_ns, timer_ns, wake_ns, emitted)
        sets = aligner.push(event.stream, event.stamp_ns, event, event.arrival_ns)
        emitted += [(event.arrival_ns, frame_set) for frame_set in sets]
    if events:
        end_ns = events[-1].arrival_ns + S // 2
        _wake_until(aligner, end_ns, timer_ns, wake_ns, emitted)
        emitted += [(end_ns, frame_set) for frame_set in aligner.advance(end_ns)]
    return emitted


def _wake_until(
    aligner: Aligner, until_ns: int, timer_ns: int, wake_ns: int, emitted: Emitted
) -> int:
    if timer_ns:
        while wake_ns < until_ns:
            emitted += [(wake_ns, frame_set) for frame_set in aligner.advance(wake_ns)]
            wake_ns += timer_ns
        return wake_ns
    while (due_ns := aligner.next_deadline_ns()) is not None and due_ns <= until_ns:
        emitted += [(due_ns, frame_set) for frame_set in aligner.advance(due_ns)]
    return wake_ns


@dataclass
class Score:
    """Shares in percent of the ideal sets, times in milliseconds."""

    kind: str = ""
    seed: int = 0
    ideal: int = 0
    coverage: float = 0.0
    complete: float = 0.0
    mispaired: int = 0
    over_budget: int = 0
    repeated: int = 0
    disorder: int = 0
    silence_ms: float = 0.0
    recovery_ms: float = 0.0
    waits_ms: list[float] = field(default_factory=list)
    added_ms: list[float] = field(default_factory=list)
    incomplete: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class _Ideal:
    event: Event
    possible: list[str]
    time_ns: int
    """True time the set stands for: the measurement's, or that of the tick in its place."""
    came: FrameSet | None = None
    at_ns: int = 0
    is_complete: bool = False


def score(scenario: Scenario, emitted: Emitted) -> Score:
    result = Score(scenario.kind, scenario.seed)
    by_stream = _by_stream(scenario)
    ideals = _ideals(scenario, by_stream)
    _match(scenario, ideals, emitted, result)
    for ideal in ideals:
        if ideal.came is not None and ideal.came.is_tick:
            ideal.time_ns = _true_tick_ns(scenario, ideal.came)
            ideal.possible = _possible(scenario, by_stream, ideal.event, ideal.time_ns)
    result.ideal = len(ideals)
    for ideal in ideals:
        _judge(scenario, ideal, result)
    came = [ideal for ideal in ideals if ideal.came is not None]
    result.coverage = 100 * len(came) / len(ideals)
    result.complete = 100 * sum(ideal.is_complete for ideal in ideals) / len(ideals)
    result.silence_ms = _longest_silence_ms(scenario, emitted)
    result.recovery_ms = max((_recovery_ms(ideals, at) for at in scenario.marks_ns), default=0.0)
    return result


def _by_stream(scenario: Scenario) -> dict[str, list[Event]]:
    by_stream: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(scenario.arrivals(), key=lambda e: e.true_ns):
        if not event.bad_stamp:
            by_stream[event.stream].append(event)
    return by_stream


def _ideals(scenario: Scenario, by_stream: dict[str, list[Event]]) -> list[_Ideal]:
    references: dict[int, Event] = {}
    for event in scenario.events:
        if event.stream == scenario.reference:
            known = references.setdefault(event.ident, event)
            if not event.lost and event.arrival_ns < known.arrival_ns:
                references[event.ident] = event
    arrived = scenario.arrivals()
    first_ns, last_ns = arrived[0].arrival_ns, arrived[-1].arrival_ns - S // 2
    return [
        _Ideal(event, _possible(scenario, by_stream, event, event.true_ns), event.true_ns)
        for event in sorted(references.values(), key=lambda e: e.true_ns)
        if first_ns <= event.true_ns <= last_ns
    ]


def _possible(
    scenario: Scenario, by_stream: dict[str, list[Event]], ref: Event, time_ns: int
) -> list[str]:
    deadline_ns = ref.arrival_ns + BUDGET_NS
    possible = [] if ref.lost or ref.bad_stamp else [scenario.reference]
    for name, tolerance_ns in scenario.tolerances_ns.items():
        events = by_stream[name]
        first = bisect_left(events, time_ns - tolerance_ns + MS, key=lambda e: e.true_ns)
        for event in events[
            first : first + 2 + 2 * round(tolerance_ns * scenario.rates_hz[name] / S)
        ]:
            inside = abs(event.true_ns - time_ns) <= tolerance_ns - MS
            if name != scenario.reference and inside and event.arrival_ns <= deadline_ns:
                possible.append(name)
                break
    return possible


def _match(scenario: Scenario, ideals: list[_Ideal], emitted: Emitted, result: Score) -> None:
    """Which ideal each set stands for: by its reference message, or a tick's place in time."""
    by_ident = {ideal.event.ident: ideal for ideal in ideals}
    true_ns = [ideal.event.true_ns for ideal in ideals]
    half_ns = round(S / scenario.rates_hz[scenario.reference] / 2)
    newest_ns = 0
    for at_ns, frame_set in emitted:
        member = frame_set.members[scenario.reference]
        if member.payload is None:
            tick_ns = _true_tick_ns(scenario, frame_set)
            place = bisect_left(true_ns, tick_ns - half_ns)
            ideal = ideals[place] if place < len(ideals) else None
            if ideal is None or abs(ideal.event.true_ns - tick_ns) > half_ns or ideal.came:
                continue
        else:
            result.disorder += member.payload.true_ns <= newest_ns
            newest_ns = max(newest_ns, member.payload.true_ns)
            ideal = by_ident.get(member.payload.ident)
            if ideal is None:
                continue
            if ideal.came is not None and not ideal.came.is_tick:
                result.repeated += 1
                continue
        ideal.came, ideal.at_ns = frame_set, at_ns


def _true_tick_ns(scenario: Scenario, frame_set: FrameSet) -> int:
    """A tick speaks the reference's clock: undo what that clock was off by then."""
    near = [
        event
        for event in scenario.events
        if event.stream == scenario.reference
        and not event.bad_stamp
        and abs(event.arrival_ns - frame_set.closed_ns) < 3 * S // 2
    ]
    if not near:
        return frame_set.reference_ns
    nearest = min(near, key=lambda e: abs(e.stamp_ns - frame_set.reference_ns))
    return frame_set.reference_ns - (nearest.stamp_ns - nearest.true_ns)


def _judge(scenario: Scenario, ideal: _Ideal, result: Score) -> None:
    if ideal.came is None:
        result.incomplete.append((ideal.event.true_ns, "no set"))
        return
    reference = ideal.event
    inside = set()
    last_ns = 0 if ideal.came.is_tick else reference.arrival_ns
    for name, member in ideal.came.members.items():
        if member.payload is None:
            continue
        is_in = abs(member.payload.true_ns - ideal.time_ns) <= scenario.tolerances_ns[name]
        inside |= {name} if is_in else set()
        result.mispaired += not is_in
        last_ns = max(last_ns, member.payload.arrival_ns)
    absent = [name for name in ideal.possible if name not in inside]
    ideal.is_complete = not absent
    if absent:
        result.incomplete.append((reference.true_ns, ",".join(absent)))
    if last_ns:
        result.added_ms.append((ideal.at_ns - last_ns) / MS)
    if not ideal.came.is_tick:
        wait_ns = ideal.at_ns - reference.arrival_ns
        result.waits_ms.append(wait_ns / MS)
        result.over_budget += wait_ns > BUDGET_NS


def _longest_silence_ms(scenario: Scenario, emitted: Emitted) -> float:
    end_ns = scenario.arrivals()[-1].arrival_ns
    times = [at_ns for at_ns, _ in emitted if at_ns <= end_ns]
    return max((b - a for a, b in pairwise(times)), default=0) / MS


def _recovery_ms(ideals: list[_Ideal], mark_ns: int) -> float:
    """From the first reference after the mark to the first one that is complete again."""
    after = [ideal for ideal in ideals if ideal.event.true_ns >= mark_ns]
    whole = [ideal for ideal in after if ideal.is_complete]
    if not whole:
        return float("inf") if after else 0.0
    return (whole[0].event.true_ns - after[0].event.true_ns) / MS
