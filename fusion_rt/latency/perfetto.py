"""A run as a trace for the Perfetto viewer (ui.perfetto.dev): Chrome's JSON trace format.

A process per node, a track per sensor, and one for the fusion. A frame that took part in an answer
is one slice from its stamp to its sending on its sensor's track, and one on its lane's track in the
fusing process, with its stages inside; arrows lead from a frame to its answer. Frames that fell by
the wayside, modes, faults and alarms are there too. Slices of one track that overlap (a frame that
queues while the one before is encoded) are laid on further rows of that track, so that they nest.

Format: "Trace Event Format", the Chromium project; times are microseconds from the first row.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from fusion_rt.latency.critical_path import hops, last_ready
from fusion_rt.latency.rows import AnswerRow, FrameRow, MemberRow
from fusion_rt.latency.summary import Run

FUSION_PID = 1
_FIRST_SENSOR_PID = 10
_MODES_TID, _ALARMS_TID, _ANSWERS_TID = 1, 2, 100
_FIRST_LANE_TID = 200
_TIDS_PER_TRACK = 100
Event = dict[str, Any]


class _Slice(msgspec.Struct, frozen=True):
    """A stretch of time on a track, with those inside it, which do not overlap one another."""

    name: str
    begin_ns: int
    end_ns: int
    args: dict[str, Any] = {}
    inside: tuple["_Slice", ...] = ()
    leads_to: int | None = None
    """Number of the arrow that begins at its end."""
    comes_from: tuple[int, ...] = ()
    """Numbers of the arrows that end at its begin."""


def perfetto_trace(run: Run) -> bytes:
    """The trace file's content."""
    origin_ns = _origin_ns(run)
    events = [*_process(FUSION_PID, "fusion"), *_answers(run), *_marks(run)]
    for row, topic in enumerate(run.info.topics):
        members = [
            (answer, member)
            for answer in run.answers
            for member in answer.members
            if member.topic == topic and member.is_new
        ]
        dropped = [f for f in run.frames if f.topic == topic and f.outcome != "used"]
        events += _process(_FIRST_SENSOR_PID + row, f"node {topic}")
        sensor = [
            _Slice(f"frame {member.seq}", member.stamp_ns, member.sent_ns) for _, member in members
        ]
        events += _track(_FIRST_SENSOR_PID + row, 1, "measure and send", sensor)
        lane = [_lane_slice(answer, member, row) for answer, member in members]
        lane += [slice_ for frame in dropped if (slice_ := _dropped_slice(frame))]
        events += _track(FUSION_PID, _FIRST_LANE_TID + row * _TIDS_PER_TRACK, f"lane {topic}", lane)
    for event in events:
        if "ts" in event:
            event["ts"] = (event["ts"] - origin_ns) / 1000
    trace = {
        "displayTimeUnit": "ms",
        "otherData": {"rig": run.info.rig, "model": run.info.model, "origin_ns": str(origin_ns)},
        "traceEvents": events,
    }
    return msgspec.json.encode(trace)


def _origin_ns(run: Run) -> int:
    stamps = [member.stamp_ns for answer in run.answers for member in answer.members]
    begun = [answer.opened_ns for answer in run.answers]
    noted = [note.at_ns for note in run.notes] + [f.stamp_ns for f in run.frames if f.stamp_ns]
    return min([*stamps, *begun, *noted], default=run.info.started_ns)


def _arrow(answer: AnswerRow, topic: int) -> int:
    """Of the member of a topic, counted in the order of the run's topics."""
    return answer.number * 256 + topic


def _lane_slice(answer: AnswerRow, member: MemberRow, topic: int) -> _Slice:
    """From sending to encoded, its stages inside."""
    stages = tuple(
        _Slice(hop.stage, hop.start_ns, hop.end_ns)
        for hop in hops(member, answer)
        if hop.stage in ("transport", "queue", "encode")
    )
    args = {"answer": answer.number, "stamp_ns": str(member.stamp_ns)}
    return _Slice(
        f"frame {member.seq}",
        member.sent_ns,
        member.ready_ns,
        args,
        stages,
        leads_to=_arrow(answer, topic),
    )


def _dropped_slice(frame: FrameRow) -> _Slice | None:
    """Of a frame that was seen; what was lost on the way has no time of its own."""
    if not frame.recv_ns:
        return None
    end_ns = max(frame.ready_ns, frame.taken_ns, frame.recv_ns)
    args = {"where": frame.place, "cause": frame.cause}
    return _Slice(f"{frame.outcome} {frame.seq}", frame.sent_ns, end_ns, args)


def _answers(run: Run) -> Iterator[Event]:
    slices = []
    for answer in run.answers:
        new = {member.topic for member in answer.members if member.is_new}
        arrows = [_arrow(answer, n) for n, topic in enumerate(run.info.topics) if topic in new]
        last = last_ready(answer)
        ready_ns = max(answer.closed_ns, last.ready_ns if last else 0)
        inside = (
            _Slice("sync", answer.opened_ns, max(ready_ns, answer.opened_ns)),
            _Slice("dispatch", ready_ns, answer.started_ns),
            _Slice("fuse", answer.started_ns, answer.fused_ns, comes_from=tuple(arrows)),
            _Slice("publish", answer.fused_ns, answer.published_ns),
        )
        args = {
            "mode": answer.mode,
            "boxes": answer.boxes,
            "closed by": answer.closed_by,
            "waited for": answer.waited_for,
            "missing": ", ".join(f"{topic}: {reason}" for topic, reason in answer.missing),
            "reference_ns": str(answer.reference_ns),
        }
        slices.append(
            _Slice(f"answer {answer.number}", answer.opened_ns, answer.published_ns, args, inside)
        )
    yield from _track(FUSION_PID, _ANSWERS_TID, "answers", slices)


def _marks(run: Run) -> Iterator[Event]:
    """Modes, faults and alarms."""
    modes = []
    for mode, group in groupby(run.answers, key=lambda answer: answer.mode):
        of_mode = list(group)
        modes.append(_Slice(mode, of_mode[0].published_ns, of_mode[-1].published_ns))
    yield from _track(FUSION_PID, _MODES_TID, "mode", modes)
    yield _named(FUSION_PID, _ALARMS_TID, "thread_name", "alarms, faults")
    for alarm in run.alarms:
        yield _instant(alarm.text, alarm.at_ns)
    for note in run.notes:
        yield _instant(f"{note.subject}: {note.text}", note.at_ns)


def _track(pid: int, tid: int, name: str, slices: Iterable[_Slice]) -> Iterator[Event]:
    """The slices on as many rows as they need not to cross."""
    rows: list[tuple[int, int]] = []  # when each row is free again, and which it is
    used = 0
    for one in sorted(slices, key=lambda one: (one.begin_ns, -one.end_ns)):
        if rows and rows[0][0] <= one.begin_ns:
            row = heapq.heappop(rows)[1]
        else:
            row = used % _TIDS_PER_TRACK
            used += 1
            yield _named(pid, tid + row, "thread_name", name if row == 0 else f"{name} ({row})")
        heapq.heappush(rows, (max(one.end_ns, one.begin_ns), row))
        yield from _complete(one, pid, tid + row)


def _complete(one: _Slice, pid: int, tid: int) -> Iterator[Event]:
    """A slice as a complete event, those inside cut to it; clocks that disagree end none early."""
    begin_ns, end_ns = one.begin_ns, max(one.begin_ns, one.end_ns)
    yield {
        "ph": "X",
        "name": one.name,
        "cat": "fusion_rt",
        "pid": pid,
        "tid": tid,
        "ts": begin_ns,
        "dur": (end_ns - begin_ns) / 1000,
        "args": one.args,
    }
    if one.leads_to is not None:  # an arrow binds to the slice it begins in
        yield _flow("s", one.leads_to, pid, tid, max(begin_ns, end_ns - 1))
    for arrow in one.comes_from:
        yield _flow("f", arrow, pid, tid, begin_ns)
    for part in one.inside:
        cut = msgspec.structs.replace(
            part,
            begin_ns=min(max(part.begin_ns, begin_ns), end_ns),
            end_ns=min(max(part.end_ns, begin_ns), end_ns),
        )
        yield from _complete(cut, pid, tid)


def _flow(phase: str, number: int, pid: int, tid: int, at_ns: int) -> Event:
    event: Event = {
        "ph": phase,
        "name": "member",
        "cat": "member",
        "id": number,
        "pid": pid,
        "tid": tid,
        "ts": at_ns,
    }
    return event | {"bp": "e"} if phase == "f" else event


def _instant(text: str, at_ns: int) -> Event:
    return {
        "ph": "i",
        "s": "g",
        "name": text,
        "cat": "fusion_rt",
        "pid": FUSION_PID,
        "tid": _ALARMS_TID,
        "ts": at_ns,
    }


def _process(pid: int, name: str) -> Iterator[Event]:
    yield _named(pid, 0, "process_name", name)


def _named(pid: int, tid: int, what: str, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}
