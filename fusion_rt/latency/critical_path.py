"""Where an answer's time went: hops of each member, the critical path, and whom to blame. Pure."""

import msgspec

from fusion_rt.clock import NS_PER_MS
from fusion_rt.latency.rows import AnswerRow, MemberRow, Stage


class Hop(msgspec.Struct, frozen=True):
    """One stage of a member's way; the next begins where it ends."""

    stage: Stage
    start_ns: int
    end_ns: int

    @property
    def took_ns(self) -> int:
        return self.end_ns - self.start_ns


def hops(member: MemberRow, answer: AnswerRow) -> tuple[Hop, ...]:
    """From the member's stamp to the publishing of the answer, without a gap.

    The synchronizer decides on headers: a member may still have been encoding when the set was
    closed. `sync` is the wait until it was closed and all were encoded, `dispatch` what the fusion
    took to begin then.
    """
    all_ready_ns = max(one.ready_ns for one in (member, *answer.members))
    marks: tuple[tuple[Stage, int], ...] = (
        ("sensor", member.sent_ns),
        ("transport", member.recv_ns),
        ("queue", member.taken_ns),
        ("encode", member.ready_ns),
        ("sync", max(all_ready_ns, answer.closed_ns)),
        ("dispatch", answer.started_ns),
        ("fuse", answer.fused_ns),
        ("publish", answer.published_ns),
    )
    found, start_ns = [], member.stamp_ns
    for stage, end_ns in marks:
        found.append(Hop(stage, start_ns, end_ns))
        start_ns = end_ns
    return tuple(found)


def last_ready(answer: AnswerRow) -> MemberRow | None:
    """The member that could be fused last: the others had to wait for it. None without members."""
    return max(answer.members, key=lambda member: member.ready_ns, default=None)


def last_arrived(answer: AnswerRow) -> MemberRow | None:
    """The member that was received last."""
    return max(answer.members, key=lambda member: member.recv_ns, default=None)


def quantities(answer: AnswerRow) -> dict[str, int]:
    """The answer's times by the names of budgets; without members only its age is known.

    `answer_age`: published minus the reference time. `end_to_end`: published minus the stamp of the
    oldest member, `end_to_end_newest` of the newest. `reaction`: published minus the receipt of the
    member that arrived last.
    """
    found = {"answer_age": answer.published_ns - answer.reference_ns}
    if answer.members:
        stamps = [member.stamp_ns for member in answer.members]
        found["end_to_end"] = answer.published_ns - min(stamps)
        found["end_to_end_newest"] = answer.published_ns - max(stamps)
        found["reaction"] = answer.published_ns - max(m.recv_ns for m in answer.members)
    return found


def blame(answer: AnswerRow, usual_ns: dict[tuple[str, str], int]) -> str:
    """One sentence: which sensor was last, and which stage took longer than it usually does.

    `usual_ns` is the median of each (topic, stage); stages without one count from 0.
    """
    member = last_ready(answer)
    if member is None:
        return "no member arrived"
    if answer.closed_ns > member.ready_ns:
        waited = f"waited {_ms(answer.closed_ns - member.ready_ns)} after {member.topic}"
        whom = answer.waited_for if answer.closed_by != "deadline" else _absent(answer)
        return f"{waited} for {whom} ({answer.closed_by})"
    worst = max(hops(member, answer), key=lambda hop: _excess(hop, member.topic, usual_ns))
    usual = usual_ns.get((member.topic, worst.stage))
    beside = f", usually {_ms(usual)}" if usual is not None else ""
    return f"{member.topic} was last; {worst.stage} took {_ms(worst.took_ns)}{beside}"


def _excess(hop: Hop, topic: str, usual_ns: dict[tuple[str, str], int]) -> int:
    return hop.took_ns - usual_ns.get((topic, hop.stage), 0)


def _absent(answer: AnswerRow) -> str:
    return ", ".join(topic for topic, _ in answer.missing) or "a stream that came after all"


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / NS_PER_MS:.1f} ms"
