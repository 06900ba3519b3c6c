"""What must hold of a long run under random faults; each check says what it found."""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.latency.critical_path import hops
from fusion_rt.latency.rows import AnswerRow, FrameRow, TotalsRow
from tests.soak.schedule import CLOCK_STEP_NS

MOST_SUM_ERROR_NS = NS_PER_MS // 10
MOST_GROWTH = 0.01
MOST_OFF_NS = 50 * NS_PER_MS
"""Half a period of the reference."""


@dataclass(frozen=True)
class Finding:
    what: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Sample:
    """Memory of one process at one time."""

    at_s: float
    pid: int
    name: str
    bytes: int


def answers_are_whole(rows, heard, reference, most_step_ns) -> Finding:
    """Each message of the reference stream is answered at its time, by itself or by a tick.

    Unless it came late or cannot be used. A clock that a fault has put wrong is believed to have
    stepped with the second message that says so: the first is answered, by a tick, at the time at
    which it was measured. And the answers have numbers without a hole, in order of
    time, without a pause beyond what the synchronizer takes to carry on without its reference.
    """
    answers = [row for row in rows if isinstance(row, AnswerRow)]
    numbers = [answer.number for answer in answers]
    seqs = [seq for seq, _, _ in heard]
    steps = [b - a for a, b in pairwise(stamp_ns for _, stamp_ns, _ in heard)]
    odd = [step for step in steps if not 0 < step <= most_step_ns]
    answered = sorted(answer.reference_ns for answer in answers)
    of_reference = [row for row in rows if isinstance(row, FrameRow) and row.topic == reference]
    forgotten = [
        row
        for row in of_reference
        if row.outcome in ("used", "superseded") and row.stamp_ns
        if min(_off_ns(at, answered) for at in (row.stamp_ns, _measured_ns(row))) > MOST_OFF_NS
    ]
    holds = (
        len(numbers) > 0
        and numbers == list(range(len(numbers)))
        and seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        and not odd
        and not forgotten
    )
    found = (
        f"{len(answers)} answers, {len(heard)} heard, {len(forgotten)} of {len(of_reference)} "
        f"messages of {reference} without one, {len(odd)} odd steps, "
        f"steps of {min(steps) / NS_PER_MS:.0f} to {max(steps) / NS_PER_MS:.0f} ms"
    )
    for row in forgotten[:5]:
        off_ms = _off_ns(row.stamp_ns, answered) / NS_PER_MS
        found += (
            f"\n  message {row.seq}: {row.outcome} at {row.place} ({row.cause}), {off_ms:.0f} ms"
        )
        found += f" from the nearest answer, received at {row.recv_ns / NS_PER_S:.3f} s"
    return Finding("every reference time has one answer", holds, found)


def _measured_ns(row: FrameRow) -> int:
    """Its stamp without the step that a fault gave its clock: nothing else is so far off."""
    return row.stamp_ns - round((row.stamp_ns - row.sent_ns) / CLOCK_STEP_NS) * CLOCK_STEP_NS


def _off_ns(stamp_ns, answered) -> int:
    """From the nearest time that was answered."""
    place = bisect_left(answered, stamp_ns)
    near = answered[max(place - 1, 0) : place + 1]
    return min((abs(one - stamp_ns) for one in near), default=MOST_OFF_NS + 1)


def every_frame_has_a_row(rows) -> Finding:
    """By the publishers' own sequence numbers, and by the ledger's totals."""
    seqs = defaultdict(list)
    counted = defaultdict(int)
    lost = defaultdict(int)
    for row in rows:
        if isinstance(row, FrameRow):
            counted[row.topic] += row.count
            if row.seq >= 0:
                seqs[row.topic, row.incarnation].append(row.seq)
            else:
                lost[row.topic] += row.count
    totals = {row.topic: row for row in rows if isinstance(row, TotalsRow)}
    wrong = []
    for topic, total in totals.items():
        sent = sum(max(s) - min(s) + 1 for (of, _), s in seqs.items() if of == topic)
        twice = sum(len(s) - len(set(s)) for (of, _), s in seqs.items() if of == topic)
        named = sum(len(s) for (of, _), s in seqs.items() if of == topic)
        if twice or counted[topic] != total.received + total.lost or sent > named + lost[topic]:
            wrong.append(
                f"{topic}: {sent} sent, {named} named, {lost[topic]} unseen, {twice} twice"
            )
    found = "; ".join(wrong) or f"{sum(counted.values())} frames of {len(totals)} topics"
    return Finding("every input frame is in the ledger", not wrong and len(totals) > 0, found)


def hops_sum_up(rows, heard) -> Finding:
    """Sums of hops against what the answer's own header says, as a consumer had it."""
    sent = {stamp_ns: sent_ns for _, stamp_ns, sent_ns in heard}
    errors = [
        abs(
            sum(hop.took_ns for hop in hops(member, row))
            - (sent[row.reference_ns] - member.stamp_ns)
        )
        for row in rows
        if isinstance(row, AnswerRow) and row.reference_ns in sent
        for member in row.members
    ]
    worst = max(errors, default=MOST_SUM_ERROR_NS + 1)
    found = f"{len(errors)} members, worst {worst / 1000:.1f} us"
    return Finding("hops sum to end-to-end within 0.1 ms", worst <= MOST_SUM_ERROR_NS, found)


def memory_is_flat(samples: list[Sample], seconds: float) -> Finding:
    """Of processes that lived throughout: the last quarter against the second."""
    by_process = defaultdict(list)
    for sample in samples:
        by_process[sample.pid, sample.name].append(sample)
    grown = []
    for (_, name), mine in by_process.items():
        early = [s.bytes for s in mine if seconds / 4 <= s.at_s < seconds / 2]
        late = [s.bytes for s in mine if s.at_s >= seconds * 3 / 4]
        if early and late:
            grown.append((median(late) / median(early) - 1, name))
    worst = max(grown, default=(1.0, "nothing"))
    found = ", ".join(f"{name} {100 * share:+.2f} %" for share, name in sorted(grown, reverse=True))
    return Finding("memory is flat", worst[0] <= MOST_GROWTH, found)
