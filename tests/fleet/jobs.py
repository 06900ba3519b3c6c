"""Jobs that stand in for replays: what they do is said by the name of their log."""

import os
import signal
from pathlib import Path

from fusion_rt.errors import ForeignLogError
from fusion_rt.fleet import jobs
from fusion_rt.fleet.task import Job, Row, Slice
from fusion_rt.replay.plan import DECISIONS, ReplayOptions


def open_job(model: str) -> Job:
    """`model` is a folder in which everything done leaves a line, or one that replays."""
    if model == DECISIONS:
        return jobs.open_job(None, ReplayOptions(), model)
    notes = Path(model) / "notes.txt"
    _note(notes, f"open {os.getpid()}")

    def job(part: Slice) -> Row:
        name = Path(part.log).stem
        _note(notes, f"{name} {os.getpid()}")
        attempts = notes.read_text().count(f"{name} ")
        if name.startswith("bad"):
            raise ForeignLogError(part.log, "expected a log, got something else")
        if name.startswith("bug"):
            raise ZeroDivisionError("division by zero")
        if name.startswith("kill") or (name.startswith("once") and attempts == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("hang"):
            signal.pause()
        return {"sets": len(name), "start_ns": part.start_ns or 0, "model": Path(model).name}

    return job


def _note(notes: Path, line: str) -> None:
    with notes.open("a") as file:
        file.write(line + "\n")
