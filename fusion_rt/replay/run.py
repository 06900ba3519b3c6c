"""One replay: which log, which part of it, with which faults; and what comes out of it."""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock, SettableClock
from fusion_rt.errors import LogError
from fusion_rt.faults import FaultSchedule
from fusion_rt.fusion.core import FusionCore, FusionSet
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, rig_from
from fusion_rt.messages import DetectionMember, Detections
from fusion_rt.replay.decisions import AnsweredSet, DecisionDigest, answered
from fusion_rt.replay.lockstep import lockstep
from fusion_rt.replay.source import with_faults
from fusion_rt.rig import Rig
from fusion_rt.transport.inbox import Received

_PERCENTILES = (50, 90, 99, 100)


class Slice(msgspec.Struct, frozen=True):
    """What of a log is replayed."""

    start_ns: int
    end_ns: int
    """Not included."""


class ModeChange(msgspec.Struct, frozen=True):
    """The rig's mode from one set on."""

    stamp_ns: int
    mode: str
    reasons: tuple[str, ...]


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `fusion-rt replay --json` writes."""

    log: str
    faults: tuple[str, ...]
    seed: int
    seconds: float
    digest: str
    """Over the decisions (`fusion_rt.replay.decisions`)."""
    modes: tuple[ModeChange, ...]
    latency_ms: dict[str, dict[str, float]]
    """`wait`: from a set's reference time until it was closed, in the log's time. `compute`: what
    each answer took here. By percentile."""
    speed: float
    """Seconds of log per second."""
    undecodable: dict[str, int]
    sets: tuple[AnsweredSet, ...]


def rig_of(log: LogReader) -> Rig:
    """The rig a log was recorded on; raises LogError where it says nothing of it."""
    files = {name: log.attachment(name) for name in (RIG_FILE, CALIBRATION_FILE)}
    missing = [name for name, raw in files.items() if raw is None]
    if missing:
        problem = f"expected the rig's files inside, {' and '.join(missing)} missing"
        raise LogError(str(log.path), problem, "name the rig: --rig RIG")
    return rig_from({name: raw for name, raw in files.items() if raw is not None}, log.path)


def decided(fusion_set: FusionSet) -> Detections:
    """The answer without a network: which messages, which mode, nothing detected."""
    members = tuple(
        DetectionMember(topic, one.quality, one.reason, one.stamp_ns, one.age_ns)
        for topic, one in fusion_set.frame_set.members.items()
    )
    return Detections(
        stamp_ns=fusion_set.time_ns,
        boxes=np.zeros((0, 9), np.float32),
        scores=np.zeros(0, np.float32),
        class_ids=np.zeros(0, np.uint8),
        mode=fusion_set.mode.mode,
        mode_reasons=fusion_set.mode.reasons,
        members=members,
    )


class Replay:
    """One run through a log; iterate `answers` once, then ask for `result`."""

    def __init__(
        self,
        log: LogReader,
        plan: FusionPlan,
        part: Slice,
        schedule: FaultSchedule,
        answer: Callable[[FusionSet], Detections] = decided,
    ) -> None:
        self.position_ns = part.start_ns
        """In the log: for whoever shows progress."""
        self._log = log
        self._plan = plan
        self._part = part
        self._schedule = schedule
        self._answer = answer
        self._sets: list[AnsweredSet] = []
        self._digest = DecisionDigest()
        self._waits_ns: list[int] = []
        self._computes_ns: list[int] = []
        self._wall = RigClock.starting_now()
        self._took_ns = 0

    def answers(self) -> Iterator[Detections]:
        """Every answer in order, as fast as they are asked for."""
        clock = SettableClock(self._part.start_ns)
        core = FusionCore(self._plan, self._part.start_ns)
        begun_ns = self._wall.now_ns()
        answers = lockstep(self._messages(), core, self._timed, clock, self._part.end_ns)
        for detections in answers:
            one = answered(detections)
            self._sets.append(one)
            self._digest.add(one)
            self._waits_ns.append(clock.now_ns() - one.stamp_ns)
            self._took_ns = self._wall.now_ns() - begun_ns
            yield detections

    def result(self, faults: tuple[str, ...] = ()) -> RunResult:
        seconds = (self._part.end_ns - self._part.start_ns) / NS_PER_S
        return RunResult(
            log=str(self._log.path),
            faults=faults,
            seed=self._schedule.seed,
            seconds=seconds,
            digest=self._digest.hex(),
            modes=tuple(_mode_changes(self._sets)),
            latency_ms={
                "wait": _percentiles(self._waits_ns),
                "compute": _percentiles(self._computes_ns),
            },
            speed=round(seconds * NS_PER_S / max(self._took_ns, 1), 2),
            undecodable=dict(self._log.undecodable),
            sets=tuple(self._sets),
        )

    def _messages(self) -> Iterator[Received]:
        topics = [stream.topic for stream in self._plan.streams]
        part = self._part
        recorded = self._log.messages(topics, part.start_ns, part.end_ns)
        for received in with_faults(recorded, self._schedule, part.start_ns):
            self.position_ns = received.recv_ns
            yield received

    def _timed(self, fusion_set: FusionSet) -> Detections:
        begun_ns = self._wall.now_ns()
        detections = self._answer(fusion_set)
        self._computes_ns.append(self._wall.now_ns() - begun_ns)
        return detections


def whole(log: LogReader) -> Slice:
    return Slice(log.start_ns, log.end_ns + 1)


def _mode_changes(sets: list[AnsweredSet]) -> Iterator[ModeChange]:
    mode = ""
    for one in sets:
        if one.mode != mode:
            mode = one.mode
            yield ModeChange(one.stamp_ns, mode, one.mode_reasons)


def _percentiles(values_ns: list[int]) -> dict[str, float]:
    if not values_ns:
        return {}
    found = np.percentile(values_ns, _PERCENTILES, method="higher") / NS_PER_MS
    return {f"p{p}": round(float(v), 3) for p, v in zip(_PERCENTILES, found, strict=True)}
