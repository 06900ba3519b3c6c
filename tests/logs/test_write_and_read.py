"""What was written is what is read: every message type, every time, in order of receipt."""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.records import Footer
from mcap.stream_reader import StreamReader
from mcap_protobuf.decoder import DecoderFactory

from fusion_rt.errors import LogError
from fusion_rt.logs.entry import Aside, entry
from fusion_rt.logs.mcap_file import Compression
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, logged_rig
from fusion_rt.logs.schemas import FORMATS, format_for
from fusion_rt.logs.write import OWN, LogWriter
from fusion_rt.messages import CameraFrame, Message
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.topics import KINDS
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.wire import Header
from tests.logs.drives import drive
from tests.logs.messages import MESSAGES, TOPICS, Same, entries, fix


@given(message=MESSAGES)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_message_comes_back_the_same(message: Message) -> None:
    kind = format_for(message)
    read, _ = kind.decode(memoryview(kind.encode(message, "frame", Aside())))
    assert Same(read) == message


@given(written=st.lists(entries(), max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_log_gives_back_what_was_received_in_total_order(
    written: list[Received], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "drive.mcap"
    with LogWriter(path) as log:
        for received in written:
            log.write(received)
    expected = sorted(written, key=_order)
    with LogReader(path) as log:
        read = list(log.messages())
        assert not log.undecodable
    assert [Same(one) for one in read] == expected


def test_every_kind_of_topic_that_is_logged_has_a_schema() -> None:
    logged = {row.message for row in KINDS.values() if row.is_logged}
    assert logged >= set(TOPICS)
    assert len(FORMATS) == len(logged) + 1  # pictures have two
    assert {f"fusion_rt.{name}" for name in ("Detections", "Health")} <= FORMATS.keys()


def test_the_rig_and_its_calibration_are_inside(tmp_path: Path) -> None:
    rig = load_rig(find_rig("demo"))
    with LogWriter(tmp_path / "a.mcap", logged_rig(rig)) as log:
        log.write(fix(1))
    with LogReader(tmp_path / "a.mcap") as log:
        assert log.about["rig"] == "demo"
        assert log.about["rig_digest"] == rig.digest
        assert log.attachment(RIG_FILE) == rig.raw
        assert log.attachment(CALIBRATION_FILE) == rig.calibration.raw
        assert log.attachment("other") is None


def test_a_log_without_messages_still_says_what_it_is(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "a.mcap", logged_rig(load_rig(find_rig("demo")))):
        pass
    with LogReader(tmp_path / "a.mcap") as log:
        assert list(log.messages()) == []
        assert log.about["rig"] == "demo"
        assert log.is_finished


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_compressed_logs_read_alike(tmp_path: Path, compression: str) -> None:
    with LogWriter(tmp_path / "a.mcap", compression=compression, chunk_bytes=500) as log:
        for number in range(50):
            log.write(fix(number))
    with LogReader(tmp_path / "a.mcap") as log:
        assert [one.header.seq for one in log.messages()] == list(range(50))


def test_a_restarted_publisher_keeps_its_own_incarnation(tmp_path: Path) -> None:
    first, second = fix(5), fix(6)
    second.header = _with(second, incarnation=2, seq=0)
    with LogWriter(tmp_path / "a.mcap") as log:
        log.write(first)
        log.write(second)
    with LogReader(tmp_path / "a.mcap") as log:
        read = [(one.header.incarnation, one.header.seq) for one in log.messages()]
        assert read == [(1, 5), (2, 0)]
        assert log.streams()["gps/main"].messages == 2


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"precious")
    with pytest.raises(LogError, match="expected a new file, it is there already; name another"):
        LogWriter(tmp_path / "a.mcap")
    assert (tmp_path / "a.mcap").read_bytes() == b"precious"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot be written \(No such file or directory\)"):
        LogWriter(tmp_path / "missing" / "a.mcap")


@given(message=MESSAGES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_an_independent_reader_decodes_it(
    message: Message, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "drive.mcap"
    with LogWriter(path, logged_rig(load_rig(find_rig("demo")))) as log:
        log.write(_received(message))
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        channels = {channel.topic for _, channel, _ in reader.iter_messages()}
        protobuf = [topic for topic in channels if not topic.startswith(("detections", "health"))]
        assert list(reader.iter_decoded_messages(topics=protobuf))
    assert TOPICS[type(message)] in channels


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_an_independent_reader_finds_every_message_by_the_summary(
    tmp_path: Path, compression: Compression
) -> None:
    path = tmp_path / "drive.mcap"
    messages = [_large(one) if number % 7 == 0 else one for number, one in enumerate(drive(2))]
    with LogWriter(path, logged_rig(load_rig(find_rig("demo"))), compression=compression) as log:
        for number, one in enumerate(messages):
            log.write(one)
            if number % 50 == 0:
                log.flush()
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        ours = [
            message.sequence
            for _, channel, message in reader.iter_messages()
            if not channel.topic.startswith(OWN)
        ]
    assert ours == [one.header.seq for one in messages]
    assert summary is not None
    assert summary.statistics is not None
    counts: Counter[str] = Counter()
    for number, count in summary.statistics.channel_message_counts.items():
        counts[summary.channels[number].topic] += count
    sent = Counter(one.header.topic for one in messages)
    assert {topic: counts[topic] for topic in counts if not topic.startswith(OWN)} == sent
    assert summary.statistics.chunk_count == len(summary.chunk_indexes) > 4
    assert {each.name for each in summary.attachment_indexes} == {RIG_FILE, CALIBRATION_FILE}
    with path.open("rb") as file:  # from the front, every checksum compared
        assert isinstance([*StreamReader(file, validate_crcs=True).records][-1], Footer)


def _large(received: Received) -> Received:
    """More than what is copied into a chunk's small pieces."""
    image = np.random.default_rng(received.header.seq).integers(0, 256, (240, 320, 3), np.uint8)
    stamp_ns = received.message.stamp_ns
    frame = CameraFrame(stamp_ns=stamp_ns, encoding="bgr8", width=320, height=240, image=image)
    header = msgspec.structs.replace(received.header, topic="camera/front")
    return Received(header, received.recv_ns, frame)


def _received(message: Message) -> Received:
    times = {"sent_ns": message.stamp_ns, "recv_ns": message.stamp_ns}
    return entry(TOPICS[type(message)], message, seq=0, **times)


def _order(received: Received) -> tuple[int, str, int]:
    header = received.header
    return received.recv_ns, header.topic, header.seq & 0xFFFFFFFF


def _with(received: Received, **changes: int) -> Header:
    return msgspec.structs.replace(received.header, **changes)
