"""Writes a foreign recording as a log of ours and accounts for every message of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.errors import ForeignLogError
from fusion_rt.imports.calibration_text import text_of, too_far
from fusion_rt.imports.rig_text import rig_of
from fusion_rt.imports.source import ForeignTopic, Imported, Mounting, Source
from fusion_rt.logs.entry import entry
from fusion_rt.logs.mcap_file import Compression
from fusion_rt.logs.write import LogWriter
from fusion_rt.transport.inbox import Received

Arrivals = Literal["recorded", "stamps"]
"""When a message of the log arrived: as the recording has it, or the moment it was measured."""
_SUSPICIOUS_NS = 10 * NS_PER_S
"""Stamps farther than this from their arrival are of another clock."""


class TopicReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stream."""

    name: str
    type: str
    ours: str
    stated: int
    """Messages by the recording's own account."""
    imported: int
    reason: str
    """Why it was not imported; empty when it was."""


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a whole recording."""

    source: str
    format: str
    output: str
    calibration: str
    """The file that was written beside the log; empty when the recording says nothing."""
    topics: tuple[TopicReport, ...]
    bad: dict[str, int]
    """Messages that could not be imported, as `TOPIC: cause`."""
    notes: tuple[str, ...]
    """What to know before relying on the log, one sentence each."""

    @property
    def missing(self) -> int:
        """Messages that the recording states, on imported topics, and that are not in the log."""
        return sum(abs(t.stated - t.imported) for t in self.topics if t.ours)


def import_log(
    source: Source,
    path: Path,
    output: Path,
    *,
    arrivals: Arrivals = "recorded",
    compression: Compression = "lz4",
    progress: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Write `source`, opened from `path`, to `output`; `progress` is told of each message.

    Raises ForeignLogError where the recording is damaged; the log then holds what came before.
    """
    mounting = source.mounting()
    rig, rig_notes = rig_of(source, output)
    counts: Counter[str] = Counter()
    lags_ns: dict[str, int] = {}
    about = {"imported_from": path.name, "imported_as": source.format}
    with LogWriter(output, rig, compression=compression, notes=about) as writer:
        for one in _read(source, path):
            recv_ns = one.message.stamp_ns if arrivals == "stamps" else one.recv_ns
            lags_ns.setdefault(one.topic, recv_ns - one.message.stamp_ns)
            writer.write(_received(one, counts[one.topic], recv_ns))
            counts[one.topic] += 1
            progress(1)
    return ImportReport(
        source=str(path),
        format=source.format,
        output=str(output),
        calibration=_beside(output, mounting),
        topics=tuple(_topic_report(topic, counts) for topic in source.topics),
        bad=dict(source.counters),
        notes=(*_clock_notes(lags_ns), *_mounting_notes(mounting), *rig_notes),
    )


def _received(one: Imported, seq: int, recv_ns: int) -> Received:
    """Nobody else's recording says when a message was sent."""
    topic, message = one.topic, one.message
    return entry(topic, message, seq=seq, sent_ns=recv_ns, recv_ns=recv_ns, node="import")


def _beside(output: Path, mounting: Mounting | None) -> str:
    """Write the calibration to use in a rig of one's own; empty when there is none."""
    if mounting is None:
        return ""
    path = output.with_suffix(".calibration.yaml")
    path.write_bytes(text_of(mounting))
    return str(path)


def _topic_report(topic: ForeignTopic, counts: Counter[str]) -> TopicReport:
    return TopicReport(
        name=topic.name,
        type=topic.type,
        ours=topic.ours,
        stated=topic.count,
        imported=counts[topic.ours] if topic.ours else 0,
        reason=topic.reason,
    )


def _read(source: Source, path: Path) -> Iterator[Imported]:
    """What is wrong with the recording told apart from what is wrong with the log."""
    messages = source.messages()
    while True:
        try:
            one = next(messages)
        except StopIteration:
            return
        except OSError as error:
            raise ForeignLogError(str(path), f"reading failed: {error.strerror}") from error
        yield one


def _clock_notes(lags_ns: dict[str, int]) -> Iterator[str]:
    for topic, lag_ns in sorted(lags_ns.items()):
        if abs(lag_ns) > _SUSPICIOUS_NS:
            side = "before" if lag_ns > 0 else "after"
            yield (
                f"{topic}: stamps lie {abs(lag_ns) / NS_PER_S:.0f} s {side} their arrival, by "
                "another clock; --arrivals stamps takes them for the arrivals"
            )


def _mounting_notes(mounting: Mounting | None) -> Iterator[str]:
    if mounting is None:
        yield "no calibration: the recording does not say where its sensors sit"
        return
    yield from mounting.left_out
    for frame in too_far(mounting):
        yield f"{frame}: lies more than 100 m from base, left out of the calibration"
