"""Faults on purpose, acted out: what a schedule makes of the messages of one topic. Pure.

Content is changed in copies of the messages; the stream that comes in is not touched.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec
import numpy as np

from fusion_rt.faults import Fault, FaultSchedule
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message

M = TypeVar("M", bound=Message)


class Timed(msgspec.Struct, Generic[M], frozen=True):
    """A message and when it leaves."""

    due_ns: int
    message: M


class Injector(Generic[M]):
    """Does to the messages of one topic what a schedule says. No clock, no threads, no waiting."""

    def __init__(
        self, schedule: FaultSchedule, topic: str, start_ns: int, born_ns: int | None = None
    ) -> None:
        """`start_ns`: of the run. `born_ns`: of this process, which a kill before it did not hit;
        the start of the run when not given."""
        self._start_ns = start_ns
        self._born_ns = start_ns if born_ns is None else born_ns
        self._faults = schedule.for_topic(topic)
        self._stages: list[_Stage[M]] = [
            _Stage(fault, np.random.default_rng([schedule.seed, index, *topic.encode()]))
            for index, fault in enumerate(self._faults)
        ]

    def push(self, message: M, at_ns: int) -> list[Timed[M]]:
        """What becomes of a message that would leave at `at_ns`: none, one or more, in order."""
        now = [Timed(at_ns, message)]
        for stage in self._stages:
            now = [after for before in now for after in stage.push(before, self._start_ns)]
        return now

    def is_killed(self, at_ns: int) -> bool:
        """Whether the process must have died by `at_ns`."""
        return any(self._kills(fault, at_ns) for fault in self._faults if fault.kind == "kill")

    def _kills(self, fault: Fault, at_ns: int) -> bool:
        if fault.end_ns == fault.start_ns:  # once, whoever was born before it
            killed_ns = self._start_ns + fault.start_ns
            return self._born_ns < killed_ns <= at_ns
        return fault.is_on(at_ns - self._start_ns)


class _Stage(Generic[M]):
    """One fault at work, with what it remembers of the messages so far."""

    def __init__(self, fault: Fault, rng: np.random.Generator) -> None:
        self._fault = fault
        self._rng = rng
        self._last: M | None = None
        self._held: Timed[M] | None = None
        self._kept = 0.0
        self._act: Callable[[Timed[M], int], Sequence[Timed[M]]] = getattr(self, f"_{fault.kind}")

    def push(self, timed: Timed[M], start_ns: int) -> Iterator[Timed[M]]:
        after_ns = timed.due_ns - start_ns
        if self._fault.is_on(after_ns):
            yield from self._act(timed, after_ns)
            return
        self._last = None
        yield timed
        if self._held is not None:
            yield msgspec.structs.replace(self._held, due_ns=timed.due_ns)
            self._held = None

    def _drop(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return () if self._rng.random() < self._fault.amount else (timed,)

    def _delay(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (_later(timed, round(self._fault.amount)),)

    def _jitter(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (_later(timed, round(self._rng.random() * self._fault.amount)),)

    def _freeze(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        if self._last is None:
            self._last = _detached(timed.message)
        return (Timed(timed.due_ns, _as_if_new(self._last, timed.message)),)

    def _corrupt(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (Timed(timed.due_ns, _impossible(timed.message)),)

    def _garbage(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (Timed(timed.due_ns, _noise(timed.message, self._rng)),)

    def _clock(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (_restamped(timed, round(self._fault.amount)),)

    def _drift(self, timed: Timed[M], after_ns: int) -> Sequence[Timed[M]]:
        return (_restamped(timed, round(self._fault.amount * (after_ns - self._fault.start_ns))),)

    def _duplicate(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (timed, timed)

    def _reorder(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        if self._held is None:
            self._held = Timed(timed.due_ns, _detached(timed.message))
            return ()
        held, self._held = self._held, None
        return (timed, msgspec.structs.replace(held, due_ns=timed.due_ns))

    def _flap(self, timed: Timed[M], after_ns: int) -> Sequence[Timed[M]]:
        is_away = (after_ns - self._fault.start_ns) // round(self._fault.amount) % 2 == 0
        return () if is_away else (timed,)

    def _rate(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        before, self._kept = self._kept, self._kept + self._fault.amount
        return (timed,) if math.floor(self._kept) > math.floor(before) else ()

    def _kill(self, timed: Timed[M], _after_ns: int) -> Sequence[Timed[M]]:
        return (timed,)  # see Injector.is_killed


def _later(timed: Timed[M], by_ns: int) -> Timed[M]:
    return Timed(timed.due_ns + by_ns, _detached(timed.message))


def _restamped(timed: Timed[M], by_ns: int) -> Timed[M]:
    stamp_ns = max(0, timed.message.stamp_ns + by_ns)
    return Timed(timed.due_ns, msgspec.structs.replace(timed.message, stamp_ns=stamp_ns))


def _detached(message: M) -> M:
    """With arrays of its own: a loaned one is gone once the message was due."""
    arrays = {
        name: value.copy()
        for name in message.__struct_fields__
        if isinstance(value := getattr(message, name), np.ndarray)
    }
    return msgspec.structs.replace(message, **arrays)


def _as_if_new(old: M, new: M) -> M:
    """Old content under a new stamp; a receiver that hangs repeats its last fix, stamp and all."""
    if isinstance(new, GpsFix):
        return old
    changed: dict[str, int] = {"stamp_ns": new.stamp_ns}
    if isinstance(new, AudioChunk):
        changed["first_sample"] = new.first_sample
    return msgspec.structs.replace(old, **changed)


def _impossible(message: M) -> M:
    """What `problem()` refuses: a part that is missing, a place that is not on Earth."""
    changed: dict[str, object]
    match message:
        case CameraFrame():
            changed = {"image": message.image[:0]}
        case LidarSweep():
            changed = {"points": message.points[:, :3].copy(), "ring": None}
        case AudioChunk():
            changed = {"rate_hz": 0}
        case _:
            changed = {"latitude_deg": 1000.0}
    return msgspec.structs.replace(message, **changed)


def _noise(message: M, rng: np.random.Generator) -> M:
    """Of the right shape and type, and nothing that a sensor could have seen."""
    changed: dict[str, object]
    match message:
        case CameraFrame():
            image = rng.integers(0, 256, message.image.shape, np.uint8)
            if message.encoding == "jpeg":
                image[:2] = message.image[:2]  # what says that it is one
            changed = {"image": image}
        case LidarSweep():
            points = rng.uniform(-1e4, 1e4, message.points.shape).astype(np.float32)
            points[::7, 0] = np.nan
            changed = {"points": points}
        case AudioChunk():
            loud = rng.uniform(-1, 1, message.samples.shape)
            scale = 32_767 if message.samples.dtype == np.int16 else 1
            changed = {"samples": (loud * scale).astype(message.samples.dtype)}
        case _:
            place = rng.uniform((-90, -180), (90, 180))
            changed = {"latitude_deg": float(place[0]), "longitude_deg": float(place[1])}
    return msgspec.structs.replace(message, **changed)
