"""Keeps what a replay detected as a log, so that two replays can be compared later."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fusion_rt.fleet.task import Slice
from fusion_rt.logs.entry import entry
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import Detections
from fusion_rt.replay.decisions import DETECTIONS
from fusion_rt.replay.run import Slice as Part
from fusion_rt.replay.run import whole


def part_of(log: LogReader, part: Slice) -> Part:
    """The slice, its open ends filled in from the log."""
    all_of_it = whole(log)
    start_ns = all_of_it.start_ns if part.start_ns is None else part.start_ns
    end_ns = all_of_it.end_ns if part.end_ns is None else part.end_ns
    return Part(start_ns, end_ns)


def keep(answers: Iterable[Detections], runs: Path | None, model: str, part: Slice) -> str | None:
    """Write them, and say where; None where runs are not kept. A retry writes its log anew."""
    if runs is None:
        return None
    path = runs / _file_name(model) / f"{_file_name(str(part))}.mcap"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with LogWriter(path, compression="lz4") as writer:
        for number, one in enumerate(answers):
            at_ns = one.stamp_ns
            writer.write(entry(DETECTIONS, one, seq=number, sent_ns=at_ns, recv_ns=at_ns))
    return str(path)


def _file_name(text: str) -> str:
    """Readable, and told apart also where the ends of two paths are alike."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{Path(text.split(' ')[0]).stem}-{digest}"
