"""Slices of time and of topics, several parts, and what a reader need not load."""

import os
from pathlib import Path

import pytest
from mcap.writer import CompressionType, Writer

from fusion_rt.logs.read import LogReader
from fusion_rt.logs.write import LogWriter
from tests.logs.messages import fix

PERIOD_NS = 100_000_000


def write(path: Path, numbers: range, topic: str = "gps/main") -> None:
    with LogWriter(path, chunk_bytes=2000) as log:
        for number in numbers:
            log.write(fix(number, topic=topic))


def test_a_slice_holds_its_start_and_not_its_end(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", range(100))
    start_ns, end_ns = fix(30).recv_ns, fix(50).recv_ns
    with LogReader(tmp_path / "a.mcap") as log:
        read = [one.header.seq for one in log.messages(None, start_ns, end_ns)]
        assert (log.start_ns, log.end_ns) == (fix(0).recv_ns, fix(99).recv_ns)
    assert read == list(range(30, 50))


def test_seeking_reads_nothing_of_what_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.mcap", range(200))
    loaded: list[int] = []
    with LogReader(tmp_path / "a.mcap") as log:
        read = log._read
        monkeypatch.setattr(log, "_read", lambda f, c: loaded.append(c.start_ns) or read(f, c))
        first = next(log.messages(start_ns=fix(150).recv_ns))
    assert first.header.seq == 150
    assert len(loaded) <= 2


def test_only_the_topics_asked_for_come(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "a.mcap") as log:
        for number in range(10):
            log.write(fix(number))
            log.write(fix(number, topic="gps/rear"))
    with LogReader(tmp_path / "a.mcap") as log:
        read = [one.header.topic for one in log.messages(["gps/rear", "lidar/none"])]
    assert read == ["gps/rear"] * 10


def test_the_parts_in_a_folder_are_one_log(tmp_path: Path) -> None:
    write(tmp_path / "run.000.mcap", range(20))
    write(tmp_path / "run.001.mcap", range(20, 40))
    write(tmp_path / "run.002.mcap", range(35, 45), "gps/rear")
    with LogReader(tmp_path) as log:
        read = [(one.header.topic, one.header.seq) for one in log.messages()]
        assert log.streams()["gps/main"].messages == 40
        assert [path.name for path in log.paths][-1] == "run.002.mcap"
    times = [number * PERIOD_NS for _, number in read]
    assert times == sorted(times)
    assert len(read) == 50
    assert read[35:37] == [("gps/main", 35), ("gps/rear", 35)]


@pytest.mark.parametrize("is_mixed", [False, True])
def test_messages_outside_of_chunks_are_found(tmp_path: Path, is_mixed: bool) -> None:
    """Valid, and no summary tells where they lie."""
    write(tmp_path / "a.mcap", range(3))
    with LogReader(tmp_path / "a.mcap") as log, (tmp_path / "b.mcap").open("wb") as file:
        writer = Writer(file, use_chunking=is_mixed, compression=CompressionType.NONE)
        _copy(log, writer)
        if is_mixed:
            writer.flush()
            writer._Writer__chunk_builder = None  # type: ignore[attr-defined]
            raw = next(log._raw({"gps/main"}, None, None))
            writer.add_message(1, 99, bytes(raw.message.data), 99, 99)
        writer.finish()
    with LogReader(tmp_path / "b.mcap") as log:
        read = sorted(one.header.seq for one in log.messages())
    assert read == [0, 1, 2] + [99] * is_mixed


def test_times_that_run_backwards_in_the_file_are_put_in_order(tmp_path: Path) -> None:
    numbers = [5, 3, 9, 1, 8, 2, 7, 4, 6, 0]
    with LogWriter(tmp_path / "a.mcap", chunk_bytes=600) as log:
        for number in numbers:
            log.write(fix(number))
    with LogReader(tmp_path / "a.mcap") as log:
        assert [one.header.seq for one in log.messages()] == sorted(numbers)


def test_a_log_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", range(100))
    with LogReader(tmp_path / "a.mcap") as log:
        os.truncate(tmp_path / "a.mcap", 4000)
        read = [one.header.seq for one in log.messages()]
        assert read == list(range(len(read)))
        assert log.unreadable
        assert "too early" in log.unreadable[0]


def _copy(log: LogReader, writer: Writer) -> None:
    index = log._files[0].index
    writer.start()
    channel = next(c for c in index.channels.values() if c.topic == "gps/main")
    schema = index.schemas[channel.schema_id]
    number = writer.register_schema(schema.name, schema.encoding, schema.data)
    writer.register_channel(channel.topic, channel.message_encoding, number, channel.metadata)
    for raw in log._raw({"gps/main"}, None, None):
        writer.add_message(1, raw.log_ns, bytes(raw.message.data), raw.log_ns, raw.seq)
