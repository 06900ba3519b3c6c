import sqlite3
import struct
from collections import Counter
from pathlib import Path

import pytest

from fusion_rt.packets.datagram import Datagram, RecordingError
from fusion_rt.packets.recording import read_recording
from fusion_rt.packets.ros_messages import PACKET_TYPES, packets_in
from tests.lidar_recordings import recorded

VELODYNE = "velodyne_msgs/msg/VelodyneScan"
PANDAR = "pandar_msgs/msg/PandarScan"
NEBULA = "nebula_msgs/msg/NebulaPackets"
OUSTER = "ouster_sensor_msgs/msg/PacketMsg"
STAMP_NS = 5_000_000_006


def cdr(kind: str, payloads: list[bytes], order: str = "<") -> bytes:
    """A message with these packets, stamped a millisecond apart."""
    body = bytearray()

    def uint32(value: int) -> None:
        body.extend(bytes(-len(body) % 4))
        body.extend(struct.pack(order + "I", value))

    if kind == OUSTER:
        uint32(len(payloads[0]))
        body += payloads[0]
        return bytes((0, order == "<", 0, 0)) + bytes(body)
    for value in (5, 6, 6):  # stamp, length of the frame's name
        uint32(value)
    body += b"lidar\0"
    uint32(len(payloads))
    for n, payload in enumerate(payloads):
        uint32(5)
        uint32(6 + n * 1_000_000)
        if kind == NEBULA:
            uint32(len(payload))
        body += payload.ljust({VELODYNE: 1206, PANDAR: 1500}.get(kind, 0), b"\0")
        if kind == PANDAR:
            uint32(len(payload))
    return bytes((0, order == "<", 0, 0)) + bytes(body)


def sqlite_bag(path: Path, topics: dict[str, tuple[str, list[bytes]]]) -> Path:
    with sqlite3.connect(path) as bag:
        bag.execute("CREATE TABLE topics(id INTEGER, name TEXT, type TEXT)")
        bag.execute(
            "CREATE TABLE messages(id INTEGER, topic_id INTEGER, timestamp INTEGER, data BLOB)"
        )
        for identity, (name, (kind, messages)) in enumerate(topics.items()):
            bag.execute("INSERT INTO topics VALUES(?, ?, ?)", (identity, name, kind))
            for n, message in enumerate(messages):
                row = (n, identity, STAMP_NS + n * 100_000_000, message)
                bag.execute("INSERT INTO messages VALUES(?, ?, ?, ?)", row)
    bag.close()
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", sorted(PACKET_TYPES))
def test_packets_of_every_known_message_are_found(kind: str, order: str) -> None:
    size = 1206 if kind == VELODYNE else 77
    payloads = [bytes((n,)) * size for n in range(1 if kind.endswith("PacketMsg") else 3)]
    found = list(
        packets_in(
            kind, cdr(OUSTER if kind.endswith("PacketMsg") else kind, payloads, order), STAMP_NS
        )
    )
    assert [packet.payload for packet in found] == payloads
    assert [packet.stamp_ns for packet in found] == [
        STAMP_NS + n * 1_000_000 for n in range(len(payloads))
    ]


def test_a_message_that_is_cut_off_costs_its_rest_and_is_counted(tmp_path: Path) -> None:
    whole = cdr(VELODYNE, [b"\1" * 1206] * 2)
    path = sqlite_bag(tmp_path / "a.db3", {"/packets": (VELODYNE, [whole, whole[:-1], b"", whole])})
    counters: Counter[str] = Counter()
    assert len(list(read_recording(path, None, counters))) == 2 + 1 + 0 + 2
    assert counters == {"corrupt_messages": 2}


def test_a_topic_is_chosen_where_there_are_several(tmp_path: Path) -> None:
    one, other = cdr(VELODYNE, [b"\1" * 1206]), cdr(VELODYNE, [b"\2" * 1206])
    path = sqlite_bag(
        tmp_path / "a.db3",
        {"/left": (VELODYNE, [one]), "/right": (VELODYNE, [other]), "/tf": ("tf2_msgs/msg/TF", [])},
    )
    (packet,) = read_recording(path, "/right", Counter())
    assert packet == Datagram(STAMP_NS, b"\2" * 1206)
    there = r"topics: /left \(velodyne_msgs/msg/VelodyneScan\), /right .*, /tf"
    with pytest.raises(RecordingError, match=f"expected one topic with packets, got 2; {there}"):
        next(read_recording(path, None, Counter()))
    with pytest.raises(RecordingError, match=f"expected packets on /tf; {there}"):
        next(read_recording(path, "/tf", Counter()))


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    for name in ("bag_1.db3", "bag_0.db3"):
        message = cdr(VELODYNE, [name[4].encode() * 1206])
        sqlite_bag(tmp_path / name, {"/packets": (VELODYNE, [message])})
    found = [packet.payload[:1] for packet in read_recording(tmp_path, None, Counter())]
    assert found == [b"0", b"1"]


def test_a_folder_without_a_bag_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RecordingError, match=r"expected a bag .*, it holds notes.txt"):
        next(read_recording(tmp_path, None, Counter()))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drive.bag"
    path.write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(RecordingError, match=r"expected pcap, .*, it starts 23 52 4f 53"):
        next(read_recording(path, None, Counter()))


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db3"
    path.write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(RecordingError, match=r"a.db3: expected a ROS 2 bag; "):
        next(read_recording(path, None, Counter()))


def test_an_mcap_file_holds_the_same_packets(tmp_path: Path) -> None:
    writer_module = pytest.importorskip("mcap.writer")
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = writer_module.Writer(file)
        writer.start()
        schema = writer.register_schema(VELODYNE, "ros2msg", b"")
        channel = writer.register_channel("/packets", "cdr", schema)
        message = cdr(VELODYNE, [b"\1" * 1206] * 3)
        writer.add_message(channel, STAMP_NS, message, STAMP_NS)
        writer.finish()
    found = list(read_recording(path, None, Counter()))
    assert [packet.payload for packet in found] == [b"\1" * 1206] * 3
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match=r"a.mcap: expected a whole MCAP file; "):
        next(read_recording(path, None, Counter()))


def test_a_recorded_bag_gives_every_packet_once() -> None:
    path = recorded("nebula", "xt32", "1673400677802009732")
    packets = list(read_recording(path, None, Counter()))
    assert len(packets) == 2000
    assert {len(packet.payload) for packet in packets} == {1080}
    stamps = [packet.stamp_ns for packet in packets]
    assert stamps == sorted(stamps)
