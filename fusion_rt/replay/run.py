"""One replay: which log, which part of it, with which faults; and what comes out of it."""

import statistics
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.faults import FaultSchedule
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Detections
from fusion_rt.replay.ahead import DecodedAhead, read_ahead
from fusion_rt.replay.decisions import AnsweredSet, DecisionDigest, answered
from fusion_rt.replay.lockstep import Fusion, lockstep
from fusion_rt.replay.source import with_arrivals, with_faults
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
    model: str = ""
    """Its directory; empty: only decisions were made."""
    seconds: float
    digest: str
    """Over the decisions (`fusion_rt.replay.decisions`)."""
    modes: tuple[ModeChange, ...]
    wait_ms: dict[str, float]
    """From a set's reference time until it was closed, in the log's time, by percentile."""
    speed: float
    """Seconds of log per second."""
    undecodable: dict[str, int]
    sets: tuple[AnsweredSet, ...]


class Replay:
    """One run through a log; iterate `answers` once, then ask for `result`."""

    def __init__(
        self,
        log: LogReader,
        plan: FusionPlan,
        fusion: Fusion,
        part: Slice,
        schedule: FaultSchedule,
        rows: Path | None = None,
    ) -> None:
        """`fusion` is of that plan, has started at the part's start and seen nothing yet.

        `rows`: of the ledger of the recorded run, for its own times of receipt.
        """
        self.position_ns = part.start_ns
        """In the log: for whoever shows progress."""
        self._log = log
        self._plan = plan
        self._fusion = fusion
        self._part = part
        self._schedule = schedule
        self._rows = rows
        self._sets: list[AnsweredSet] = []
        self._digest = DecisionDigest()
        self._wall = RigClock.starting_now()
        self._took_ns = 0

    def answers(self) -> Generator[Detections, None, None]:
        """Every answer in order, as fast as they are asked for. Close it to end before the log."""
        begun_ns = self._wall.now_ns()
        with closing(self._fed()) as messages:
            for detections in lockstep(self._noted(messages), self._fusion, self._part.end_ns):
                one = answered(detections)
                self._sets.append(one)
                self._digest.add(one)
                self._took_ns = self._wall.now_ns() - begun_ns
                yield detections
        self._took_ns = self._wall.now_ns() - begun_ns

    def result(self, faults: tuple[str, ...] = ()) -> RunResult:
        """What came of it so far; `faults` are only noted."""
        seconds = (self._part.end_ns - self._part.start_ns) / NS_PER_S
        took_ns = max(self._took_ns, 1)
        return RunResult(
            log=str(self._log.path),
            faults=faults,
            seed=self._schedule.seed,
            model=self._plan.model,
            seconds=seconds,
            digest=self._digest.hex(),
            modes=tuple(_mode_changes(self._sets)),
            wait_ms=_percentiles([wait for one in self._sets if (wait := _wait_ns(one))]),
            speed=round(seconds * NS_PER_S / took_ns, 2),
            undecodable=dict(self._log.undecodable),
            sets=tuple(self._sets),
        )

    def _fed(self) -> Generator[Received, None, None]:
        """What the fusion gets; with networks to wait for, read ahead of it."""
        if self._plan.model:
            return read_ahead(self._messages(), DecodedAhead(self._plan))
        return self._messages()

    def _noted(self, messages: Iterator[Received]) -> Iterator[Received]:
        for received in messages:
            self.position_ns = received.recv_ns
            yield received

    def _messages(self) -> Generator[Received, None, None]:
        part = self._part
        topics = [stream.topic for stream in self._plan.streams]
        recorded = self._log.messages(topics, part.start_ns, part.end_ns)
        if self._rows is not None:
            recorded = with_arrivals(recorded, self._rows)
        yield from with_faults(recorded, self._schedule, part.start_ns)


def whole(log: LogReader) -> Slice:
    return Slice(log.start_ns, log.end_ns + 1)


def _mode_changes(sets: list[AnsweredSet]) -> Iterator[ModeChange]:
    mode = ""
    for one in sets:
        if one.mode != mode:
            mode = one.mode
            yield ModeChange(one.stamp_ns, mode, one.mode_reasons)


def _wait_ns(one: AnsweredSet) -> int | None:
    """Ages are from the same moment for all members, up to what their clocks are off."""
    closed = [m.stamp_ns + m.age_ns for m in one.members if m.stamp_ns and m.age_ns is not None]
    return round(statistics.median(closed)) - one.stamp_ns if closed else None


def _percentiles(values_ns: list[int]) -> dict[str, float]:
    if not values_ns:
        return {}
    found = np.percentile(values_ns, _PERCENTILES, method="higher") / NS_PER_MS
    return {f"p{p}": round(float(v), 3) for p, v in zip(_PERCENTILES, found, strict=True)}
