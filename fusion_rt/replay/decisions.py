"""The decisions of a run, their digest, and the first one in which two runs differ.

A decision is which messages answered for which time, and the rig's mode: the same for the same
arrivals, bit by bit. What networks make of them agrees within a tolerance.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec
import numpy as np

from fusion_rt.errors import LogError
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import DetectionMember, Detections

DETECTIONS = "detections/fused"
_CONTEXT = 2


class Box(msgspec.Struct, frozen=True, array_like=True):
    """One detection, as a run's JSON keeps it."""

    class_id: int
    score: float
    box: tuple[float, ...]
    """messages.BOX_COLUMNS."""


class AnsweredSet(msgspec.Struct, frozen=True, kw_only=True):
    """One reference time of a run: the decision, and what was detected."""

    stamp_ns: int
    mode: str
    mode_reasons: tuple[str, ...] = ()
    members: tuple[DetectionMember, ...] = ()
    failure: str = ""
    boxes: tuple[Box, ...] = ()

    @property
    def decision(self) -> tuple[object, ...]:
        """What must be the same; ages and reasons tell of when it was looked at."""
        members = tuple((one.topic, one.quality, one.stamp_ns) for one in self.members)
        return self.stamp_ns, self.mode, members


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where two runs part."""

    number: int
    """Of the set, from 0."""
    what: str
    """`set`, `member`, `mode`, `detection`, or `end`: one of them is shorter."""
    sentence: str
    before: tuple[AnsweredSet, ...]
    """The last sets that both have."""


def answered(detections: Detections) -> AnsweredSet:
    rows = zip(detections.class_ids, detections.scores, detections.boxes, strict=True)
    return AnsweredSet(
        stamp_ns=detections.stamp_ns,
        mode=detections.mode,
        mode_reasons=detections.mode_reasons,
        members=detections.members,
        failure=getattr(detections, "failure", ""),
        boxes=tuple(Box(int(c), float(s), tuple(b.tolist())) for c, s, b in rows),
    )


class DecisionDigest:
    """SHA-256 over the decisions of a run, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, one: AnsweredSet) -> None:
        self._hash.update(msgspec.msgpack.encode(one.decision))

    def hex(self) -> str:
        return self._hash.hexdigest()


def digest_of(sets: Iterable[AnsweredSet]) -> str:
    digest = DecisionDigest()
    for one in sets:
        digest.add(one)
    return digest.hex()


class _Run(msgspec.Struct):
    """What of a run's JSON is compared (`fusion_rt.replay.run.RunResult`)."""

    sets: tuple[AnsweredSet, ...]


def read_run(path: Path) -> Iterator[AnsweredSet]:
    """The sets of a run: its JSON, or a log that holds its detections. Raises LogError."""
    if path.suffix == ".json":
        try:
            yield from msgspec.json.decode(path.read_bytes(), type=_Run).sets
        except OSError as error:
            raise LogError(str(path), f"cannot be read ({error.strerror})") from error
        except (msgspec.MsgspecError, ValueError) as error:
            way_out = "make one with `fusion-rt replay LOG --json FILE`"
            raise LogError(str(path), f"expected the JSON of a run ({error})", way_out) from error
        return
    with LogReader(path) as log:
        if DETECTIONS not in log.streams():
            problem = f"expected a log with {DETECTIONS}, it has {', '.join(log.streams())}"
            raise LogError(str(path), problem, "replay it first: `fusion-rt replay LOG --json F`")
        for received in log.messages([DETECTIONS]):
            if isinstance(received.message, Detections):
                yield answered(received.message)


def first_difference(
    run_a: Iterable[AnsweredSet], run_b: Iterable[AnsweredSet], tolerance: float
) -> Difference | None:
    """`tolerance` holds for every number of a detection; None when the runs agree."""
    before: list[AnsweredSet] = []
    for number, (a, b) in enumerate(zip_longest(run_a, run_b)):
        found = _difference(a, b, tolerance)
        if found is not None:
            what, sentence = found
            context = tuple(before[-_CONTEXT:])
            return Difference(number=number, what=what, sentence=sentence, before=context)
        before = [*before[1 - _CONTEXT :], a]
    return None


def _difference(
    a: AnsweredSet | None, b: AnsweredSet | None, tolerance: float
) -> tuple[str, str] | None:
    if a is None or b is None:
        return "end", f"{'A' if a is None else 'B'} has no further set, the other one goes on"
    if a.stamp_ns != b.stamp_ns:
        by_ms = (b.stamp_ns - a.stamp_ns) / 1e6
        return "set", f"reference time {a.stamp_ns} in A, {b.stamp_ns} in B, {by_ms:+.3f} ms"
    if (member := _member_difference(a, b)) is not None:
        return "member", member
    if a.mode != b.mode:
        return "mode", f"{_mode(a)} in A, {_mode(b)} in B"
    if (detection := _detection_difference(a, b, tolerance)) is not None:
        return "detection", detection
    return None


def _member_difference(a: AnsweredSet, b: AnsweredSet) -> str | None:
    ours, theirs = ({one.topic: one for one in side.members} for side in (a, b))
    for topic in sorted(ours.keys() | theirs.keys()):
        x, y = ours.get(topic), theirs.get(topic)
        if x is None or y is None or (x.quality, x.stamp_ns) != (y.quality, y.stamp_ns):
            return f"{topic}: {_member(x)} in A, {_member(y)} in B"
    return None


def _member(one: DetectionMember | None) -> str:
    if one is None:
        return "not asked for"
    if one.stamp_ns is None:
        return f"{one.quality} ({one.reason})"
    return f"{one.quality} of {one.stamp_ns}"


def _mode(one: AnsweredSet) -> str:
    return f"{one.mode} ({'; '.join(one.mode_reasons)})" if one.mode_reasons else one.mode


def _detection_difference(a: AnsweredSet, b: AnsweredSet, tolerance: float) -> str | None:
    if a.failure != b.failure:
        return f'failure "{a.failure}" in A, "{b.failure}" in B'
    if len(a.boxes) != len(b.boxes):
        return f"{len(a.boxes)} detections in A, {len(b.boxes)} in B"
    for number, (x, y) in enumerate(zip(a.boxes, b.boxes, strict=True)):
        if x.class_id != y.class_id:
            return f"detection {number}: class {x.class_id} in A, {y.class_id} in B"
        values = np.array((x.score, *x.box)), np.array((y.score, *y.box))
        off = float(np.max(np.abs(values[0] - values[1])))
        if not off <= tolerance and not np.array_equal(*values, equal_nan=True):
            return f"detection {number}: {off:g} apart, expected at most {tolerance:g}"
    return None
