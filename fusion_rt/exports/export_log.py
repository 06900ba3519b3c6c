"""Reads a log once per export and writes it for somebody else's tool."""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from fusion_rt.exports.detections import write_detections
from fusion_rt.exports.mounts import mounts_of
from fusion_rt.exports.rerun import RerunWriter
from fusion_rt.exports.ros2 import RosBagWriter
from fusion_rt.logs.read import LogReader
from fusion_rt.transport.inbox import Received

Progress = Callable[[int], None]


def export_detections(log: LogReader, path: Path, progress: Progress) -> int:
    """The sets written."""
    topics = [topic for topic in log.streams() if topic.startswith("detections/")]
    return write_detections(_told(log.messages(topics), progress), path)


def export_ros2(
    log: LogReader, folder: Path, topics: Collection[str] | None, progress: Progress
) -> dict[str, int]:
    """Messages written, by topic of the bag."""
    mounts = mounts_of(log)
    with RosBagWriter(folder, mounts.frame_of) as writer:
        writer.write_rig(mounts.base_from, mounts.cameras, log.start_ns)
        for received in _told(log.messages(topics), progress):
            writer.write(received)
    return writer.counts


def export_rerun(
    log: LogReader, path: Path, topics: Collection[str] | None, progress: Progress
) -> dict[str, int]:
    """Messages written, by topic of the log."""
    mounts = mounts_of(log)
    with RerunWriter(path) as writer:
        writer.write_rig(mounts.base_from, mounts.cameras, mounts.frames)
        for received in _told(log.messages(topics), progress):
            writer.write(received)
    return writer.counts


def _told(messages: Iterable[Received], progress: Progress) -> Iterator[Received]:
    for received in messages:
        yield received
        progress(1)
