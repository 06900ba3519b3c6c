"""MCAP's own conformance vectors: every valid file is read whole, with its summary and without."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fusion_rt.logs.index import Index, index_of, read_attachment, read_metadata
from fusion_rt.logs.records import chunk_records, messages_in

VECTORS = Path(__file__).parents[3] / "shared/data/mcap_conformance"
FILES = sorted(VECTORS.rglob("*.mcap"))

pytestmark = pytest.mark.skipif(not FILES, reason=f"{VECTORS} is not here")


@pytest.mark.parametrize("by_summary", [True, False])
def test_every_vector_is_read_as_expected(by_summary: bool) -> None:
    """One test for all: there are hundreds, and the first that differs is named."""
    for path in FILES:
        fd = os.open(path, os.O_RDONLY)
        try:
            index = index_of(fd, path, check_crc=not by_summary)
            read = _content(fd, index)
        finally:
            os.close(fd)
        assert index.damages == [], path.name
        assert index.is_finished, path.name
        assert read == _expected(path.with_suffix(".json")), path.name
    assert len(FILES) == 248


def _content(fd: int, index: Index) -> dict[str, list[Any]]:
    messages = [
        (raw.channel_id, raw.seq, raw.log_ns, raw.publish_ns, bytes(raw.data))
        for chunk in index.chunks
        for raw in messages_in(chunk_records(fd, chunk, check_crc=True))
    ]
    attachments = [read_attachment(fd, place) for place in index.attachments]
    metadata = [read_metadata(fd, place) for place in index.metadata]
    assert sum(index.counts.values()) == len(messages)
    return {
        "Message": messages,
        "Schema": [(s.id, s.name, s.encoding, s.data) for s in index.schemas.values()],
        "Channel": [
            (c.id, c.topic, c.message_encoding, c.schema_id, c.metadata)
            for c in index.channels.values()
        ],
        "Attachment": [
            (a.create_time, a.log_time, a.name, a.media_type, a.data) for a in attachments
        ],
        "Metadata": [(m.name, m.metadata) for m in metadata],
    }


FIELDS = {
    "Message": ("channel_id", "sequence", "log_time", "publish_time", "data"),
    "Schema": ("id", "name", "encoding", "data"),
    "Channel": ("id", "topic", "message_encoding", "schema_id", "metadata"),
    "Attachment": ("create_time", "log_time", "name", "media_type", "data"),
    "Metadata": ("name", "metadata"),
}


def _expected(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {kind: [] for kind in FIELDS}
    for record in json.loads(path.read_text())["records"]:
        if record["type"] == "DataEnd":  # the summary only repeats
            break
        if record["type"] in FIELDS:
            fields = {name: _value(name, value) for name, value in record["fields"]}
            found[record["type"]].append(tuple(fields[name] for name in FIELDS[record["type"]]))
    return found


def _value(name: str, value: Any) -> Any:
    if name == "data":
        return bytes(int(byte) for byte in value)
    is_text = name in ("name", "topic", "encoding", "message_encoding", "media_type", "metadata")
    return value if is_text else int(value)
