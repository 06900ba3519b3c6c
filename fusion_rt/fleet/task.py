"""What a fleet of replays is made of: one task per model and slice of a log, one outcome each."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from fusion_rt.errors import FusionError

Value = str | int | float | bool | None
Row = dict[str, Value]
"""What came of one slice: flat, so that a table can hold it."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A log, or the part of one between two arrivals."""

    log: str
    start_ns: int | None = None
    end_ns: int | None = None
    """Not itself part of the slice."""

    def __str__(self) -> str:
        if self.start_ns is None and self.end_ns is None:
            return self.log
        return f"{self.log} [{self.start_ns}, {self.end_ns})"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One replay to be done."""

    slice: Slice
    model: str
    """As the job opens it: a folder, or a name."""


Job = Callable[[Slice], Row]
"""Replays one slice. A FusionError says that it cannot be done and is not tried again."""
OpenJob = Callable[[str], Job]
"""Loads the model of that name, once per worker; must survive pickling."""
Verdict = Literal["done", "refused", "failed"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one task."""

    task: Task
    verdict: Verdict
    row: Row = {}
    reason: str = ""
    """Why there is no row."""
    attempts: int = 1
    worker: str = ""
    """HOST:PID that gave the answer; empty when none did."""


def slices_of(log: str, start_ns: int, end_ns: int, length_ns: int | None) -> list[Slice]:
    """A log in parts of `length_ns`, the last of which may be shorter; None: as a whole."""
    if length_ns is None or end_ns - start_ns <= length_ns:
        return [Slice(log=log)]
    starts = range(start_ns, end_ns, length_ns)
    return [Slice(log=log, start_ns=at, end_ns=min(at + length_ns, end_ns)) for at in starts]


def tasks_for(slices: Iterable[Slice], models: Iterable[str]) -> list[Task]:
    """Every model on every slice; those of one model follow each other, it is loaded once."""
    parts = list(slices)
    return [Task(slice=part, model=model) for model in models for part in parts]


class Workshop:
    """What one worker keeps: the models it has loaded."""

    def __init__(self, open_job: OpenJob) -> None:
        self._open_job = open_job
        self._jobs: dict[str, Job] = {}

    def do(self, task: Task) -> tuple[Verdict, Row, str]:
        """The verdict, a row when it is done, else the reason; lets all but FusionError through."""
        try:
            if task.model not in self._jobs:
                self._jobs[task.model] = self._open_job(task.model)
            return "done", self._jobs[task.model](task.slice), ""
        except FusionError as error:
            return "refused", {}, str(error)


def failures(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Those that brought nothing."""
    return (outcome for outcome in outcomes if outcome.verdict != "done")
