"""Reads packets from ROS 2 bags, sqlite3 and MCAP, without ROS."""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from fusion_rt.packets.datagram import Datagram, RecordingError
from fusion_rt.packets.ros_messages import PACKET_TYPES, packets_in
from fusion_rt.ros.storage import StorageError, Stored, open_storage

CORRUPT_MESSAGES = "corrupt_messages"
"""Counter of recorded messages that are not what their type says."""


def read_bag(path: Path, topic: str | None, counters: Counter[str]) -> Iterator[Datagram]:
    """The packets of one topic of a .db3 or .mcap file, in the order of their arrival."""
    try:
        with open_storage(path) as storage:
            types = {name: stored.type for name, stored in storage.topics.items()}
            name = chosen_topic(path, types, topic)
            yield from _packets(types[name], storage.messages([name]), counters)
    except StorageError as error:
        raise RecordingError(str(error)) from error


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


def _packets(kind: str, rows: Iterator[Stored], counters: Counter[str]) -> Iterator[Datagram]:
    for _, stamp_ns, data in rows:
        try:
            yield from packets_in(kind, data, stamp_ns)
        except (ValueError, TypeError, struct.error):
            counters[CORRUPT_MESSAGES] += 1
