"""Reads packets from ROS 2 bags, sqlite3 and MCAP, without ROS."""

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from fusion_rt.drivers.port import from_extra
from fusion_rt.packets.datagram import Datagram, RecordingError
from fusion_rt.packets.ros_messages import PACKET_TYPES, packets_in

SQLITE_MAGIC = b"SQLite format 3\0"
MCAP_MAGIC = b"\x89MCAP0\r\n"
CORRUPT_MESSAGES = "corrupt_messages"
"""Counter of recorded messages that are not what their type says."""

_Recorded = tuple[int, bytes]  # stamp_ns, CDR


def read_sqlite(path: Path, topic: str | None, counters: Counter[str]) -> Iterator[Datagram]:
    """The packets of one topic of a .db3 file, in the order of their stamps."""
    with_uri = f"file:{path.absolute().as_posix().replace('?', '%3f').replace('#', '%23')}"
    database = sqlite3.connect(f"{with_uri}?mode=ro&immutable=1", uri=True)
    try:
        topics = {
            name: (kind, identity)
            for identity, name, kind in database.execute("SELECT id, name, type FROM topics")
        }
        name = chosen_topic(path, {name: kind for name, (kind, _) in topics.items()}, topic)
        kind, identity = topics[name]
        rows: Iterator[_Recorded] = database.execute(
            "SELECT timestamp, data FROM messages WHERE topic_id = ? ORDER BY timestamp, id",
            (identity,),
        )
        yield from _packets(kind, rows, counters)
    except sqlite3.DatabaseError as error:
        raise RecordingError(f"{path}: expected a ROS 2 bag; {error}") from error
    finally:
        database.close()


def read_mcap(path: Path, topic: str | None, counters: Counter[str]) -> Iterator[Datagram]:
    """The packets of one topic of an .mcap file, in the order of their log times."""
    with from_extra("sensors"):
        from mcap.exceptions import McapError
        from mcap.reader import make_reader
    with path.open("rb") as file:
        try:
            reader = make_reader(file)
            summary = reader.get_summary()
            if summary is None:
                raise RecordingError(f"{path}: expected a finished MCAP file, it has no summary")
            topics = {
                channel.topic: summary.schemas[channel.schema_id].name
                for channel in summary.channels.values()
                if channel.schema_id in summary.schemas
            }
            name = chosen_topic(path, topics, topic)
            messages = reader.iter_messages(topics=[name])
            rows = ((message.log_time, message.data) for _, _, message in messages)
            yield from _packets(topics[name], rows, counters)
        except McapError as error:
            raise RecordingError(f"{path}: expected a whole MCAP file; {error}") from error


def chosen_topic(path: Path, topics: Mapping[str, str], wanted: str | None) -> str:
    """`wanted`, or the only topic with packets; raises RecordingError that names what there is."""
    with_packets = sorted(name for name, kind in topics.items() if kind in PACKET_TYPES)
    there = ", ".join(f"{name} ({kind})" for name, kind in sorted(topics.items())) or "none"
    if wanted is not None:
        if wanted in with_packets:
            return wanted
        raise RecordingError(f"{path}: expected packets on {wanted}; topics: {there}")
    if len(with_packets) != 1:
        count = len(with_packets)
        raise RecordingError(
            f"{path}: expected one topic with packets, got {count}; topics: {there}"
        )
    return with_packets[0]


def _packets(kind: str, rows: Iterator[_Recorded], counters: Counter[str]) -> Iterator[Datagram]:
    for stamp_ns, data in rows:
        try:
            yield from packets_in(kind, bytes(data), stamp_ns)
        except (ValueError, TypeError, struct.error):
            counters[CORRUPT_MESSAGES] += 1
