"""Logs that are cut, damaged, foreign or from the future: a sentence, never a traceback."""

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from fusion_rt.errors import LogError
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.recover import recover
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import METADATA, LogWriter
from fusion_rt.rig import find_rig, load_rig
from tests.logs.messages import fix


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    return written(tmp_path / "whole.mcap", 60)


def written(path: Path, count: int) -> bytes:
    with LogWriter(path, logged_rig(load_rig(find_rig("demo"))), chunk_bytes=2000) as log:
        for number in range(count):
            log.write(fix(number))
    return path.read_bytes()


def seqs(path: Path) -> list[int]:
    with LogReader(path) as log:
        return [one.header.seq for one in log.messages(["gps/main"])]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected MCAP, the file is empty"),
        (b"hello", "expected MCAP, the file starts 68 65 6c 6c 6f"),
        (b"#ROSBAG V2.0\n", "it is a ROS 1 bag; `fusion-rt import` makes a log of it"),
        (b"SQLite format 3\0", "it is a ROS 2 bag"),
        (b"\x89MCAP1\r\n", "expected MCAP version 0, got version 1; a newer fusion_rt"),
    ],
)
def test_what_is_no_log_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.mcap").write_bytes(content)
    with pytest.raises(LogError, match=said):
        LogReader(tmp_path / "a.mcap")


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"a.mcap: cannot be read \(No such file"):
        LogReader(tmp_path / "a.mcap")
    with pytest.raises(LogError, match=r"a.mcap: cannot be read \(No such file"):
        recover(tmp_path / "a.mcap", tmp_path / "b.mcap")


def test_a_folder_without_logs_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(LogError, match=r"a folder with \.mcap files, it holds notes\.txt"):
        LogReader(tmp_path)


def test_a_log_of_a_later_format_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.add_metadata(METADATA, {"format": "2", "version": "9.1"})
        writer.finish()
    said = "expected format 1 or earlier, got 2; written by fusion_rt 9.1: update to it"
    with pytest.raises(LogError, match=said):
        LogReader(tmp_path / "a.mcap")


def test_topics_and_schemas_of_others_are_listed_and_left_out(tmp_path: Path) -> None:
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("their/Type", "ros2msg", b"int32 x")
        for topic in ("/tf", "camera/front"):
            channel = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channel, 5, b"1234", 5)
        writer.finish()
    with LogReader(tmp_path / "a.mcap") as log:
        assert list(log.messages()) == []
        streams = log.streams()
    assert "expected KIND/NAME" in streams["/tf"].problem
    said = "expected a schema of CameraFrame, got their/Type"
    assert streams["camera/front"].problem == said
    assert streams["camera/front"].messages == 1


def test_messages_that_are_not_what_their_schema_says_are_counted(tmp_path: Path) -> None:
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.PointCloud", "protobuf", b"")
        channel = writer.register_channel("lidar/top", "protobuf", schema)
        for number in range(3):
            writer.add_message(channel, number, bytes([0xFF, number]), 5)
        writer.finish()
    with LogReader(tmp_path / "a.mcap") as log:
        assert list(log.messages()) == []
        assert log.undecodable == {"lidar/top": 3}


def test_an_unfinished_log_reads_up_to_its_end(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    with LogReader(tmp_path / "cut.mcap") as log:
        assert not log.is_finished
        assert len(log.damages) == 1
        assert "ends inside the record at byte" in log.damages[0]
    found = seqs(tmp_path / "cut.mcap")
    assert found == list(range(len(found)))
    assert len(found) > 15


@given(at=st.floats(0, 1))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_log_cut_anywhere_is_recovered_to_its_last_whole_message(
    at: float, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    cut, target = folder / "cut.mcap", folder / "new.mcap"
    cut.write_bytes(whole[: 8 + int(at * (len(whole) - 9))])
    recovered = recover(cut, target)
    assert not recovered.is_whole
    found = seqs(target)
    assert found == list(range(len(found)))
    assert found == seqs(cut)
    assert recovered.messages.get("gps/main", 0) == len(found)
    with LogReader(target, check_crc=True) as log:
        assert log.is_finished
        assert log.damages == []


@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=30))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_never_ends_in_another_error(
    flips: list[tuple[float, int]], whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(whole)
    for at, value in flips:
        damaged[int(at * (len(whole) - 1))] ^= value
    path = tmp_path_factory.mktemp("garbage") / "a.mcap"
    path.write_bytes(damaged)
    try:
        recover(path, path.with_name("b.mcap"))
        with LogReader(path) as log:
            read = list(log.messages())
    except LogError:
        return
    assert len(read) <= 60


def test_a_chunk_with_a_wrong_checksum_is_left_out_and_said(tmp_path: Path, whole: bytes) -> None:
    at = whole.index(b"gps_main", len(whole) // 3)  # inside some chunk's message
    (tmp_path / "a.mcap").write_bytes(whole[:at] + b"XXX" + whole[at + 3 :])
    recovered = recover(tmp_path / "a.mcap", tmp_path / "b.mcap")
    assert len(recovered.damages) == 1
    assert "its checksum is another" in recovered.damages[0]
    lost = 60 - recovered.messages["gps/main"]
    assert 0 < lost < 20
    assert recovered.missing == {"gps/main": lost}


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD])
def test_a_chunk_that_does_not_decompress_is_left_out(
    tmp_path: Path, compression: CompressionType
) -> None:
    stream = io.BytesIO()
    writer = Writer(stream, compression=compression)
    writer.start()
    channel = writer.register_channel("x", "json", 0)
    writer.add_message(channel, 1, b"a" * 500, 1)
    writer.finish()
    raw = bytearray(stream.getvalue())
    at = raw.index(b"lz4" if compression is CompressionType.LZ4 else b"zstd") + 20
    raw[at : at + 8] = b"\xff" * 8
    (tmp_path / "a.mcap").write_bytes(raw)
    recovered = recover(tmp_path / "a.mcap", tmp_path / "b.mcap")
    assert any("cannot be decompressed" in damage for damage in recovered.damages)
    assert recovered.messages == {}


def test_a_whole_log_is_said_to_be_whole(tmp_path: Path, whole: bytes) -> None:
    assert whole
    recovered = recover(tmp_path / "whole.mcap", tmp_path / "copy.mcap")
    assert recovered.is_whole
    assert recovered.missing == {}
    assert recovered.messages["gps/main"] == 60
    assert seqs(tmp_path / "copy.mcap") == list(range(60))
    with LogReader(tmp_path / "copy.mcap") as log:
        assert log.about["rig"] == "demo"
