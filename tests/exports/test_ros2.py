from pathlib import Path

import numpy as np
import pytest

from fusion_rt.errors import ExportError
from fusion_rt.exports.export_log import export_ros2
from fusion_rt.imports.open import open_source
from fusion_rt.imports.source import ImportOptions
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from fusion_rt.ros.bag import open_bag
from tests.exports.drive import MOUNTING, START_NS, messages, write_drive

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="needs the extra `import`")


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with LogReader(write_drive(tmp_path / "a.mcap")) as log:
        counts = export_ros2(log, tmp_path / "bag", None, lambda _: None)
    assert counts["/detections/fused"] == 2
    return tmp_path / "bag"


def test_an_independent_reader_finds_every_message_under_its_type(bag: Path) -> None:
    with rosbag2.Reader(bag) as reader:
        found = {one.topic: (one.msgtype, one.msgcount) for one in reader.connections}
        read = sum(1 for _ in reader.messages())
    assert found == {
        "/tf_static": ("tf2_msgs/msg/TFMessage", 1),
        "/camera/front/camera_info": ("sensor_msgs/msg/CameraInfo", 1),
        "/camera/front": ("sensor_msgs/msg/Image", 1),
        "/camera/rear/compressed": ("sensor_msgs/msg/CompressedImage", 1),
        "/lidar/top": ("sensor_msgs/msg/PointCloud2", 1),
        "/audio/array/audio_info": ("audio_common_msgs/msg/AudioInfo", 1),
        "/audio/array/audio": ("audio_common_msgs/msg/AudioDataStamped", 1),
        "/gps/main": ("sensor_msgs/msg/NavSatFix", 1),
        "/detections/fused": ("vision_msgs/msg/Detection3DArray", 2),
    }
    assert read == 10


def test_what_went_out_comes_back_in_as_it_was(bag: Path) -> None:
    with open_source(bag, ImportOptions()) as source:
        back = {one.topic: one.message for one in source.messages()}
        mounting = source.mounting()
    sent = dict(messages())
    for topic, names in (
        ("camera/front", ("image", "encoding")),
        ("camera/rear", ("image", "width")),
        ("lidar/top", ("ring", "stamp_ns")),
        ("audio/array", ("samples", "rate_hz", "stamp_ns")),
        ("gps/main", ("latitude_deg", "altitude_m", "horizontal_accuracy_m", "fix")),
    ):
        assert isinstance(back[topic], (CameraFrame, LidarSweep, AudioChunk, GpsFix))
        for name in names:
            np.testing.assert_array_equal(getattr(back[topic], name), getattr(sent[topic], name))
    one, other = back["lidar/top"], sent["lidar/top"]
    assert isinstance(one, LidarSweep)
    assert isinstance(other, LidarSweep)
    np.testing.assert_allclose(one.points, other.points, atol=1e-6)
    assert mounting is not None
    assert mounting.cameras == MOUNTING.cameras
    for frame, place in MOUNTING.base_from.items():
        np.testing.assert_allclose(mounting.base_from[frame].matrix, place.matrix, atol=1e-7)


def test_boxes_are_detections_in_base(bag: Path) -> None:
    with open_bag(bag) as opened:
        rows = [
            opened.decoded(stored.topic, stored.data)
            for stored in opened.messages(["/detections/fused"])
        ]
    first, _ = rows[0].detections
    assert (rows[0].header.frame_id, rows[0].header.stamp.sec) == ("base", START_NS // 10**9)
    assert (first.results[0].hypothesis.class_id, first.bbox.size.x) == ("car", 4.5)
    turn = first.bbox.center.orientation
    assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(0.5)
    assert len(rows[1].detections) == 0


def test_only_some_topics_and_never_over_what_is_there(bag: Path) -> None:
    with LogReader(bag.parent / "a.mcap") as log:
        counts = export_ros2(log, bag.parent / "some", ["gps/main"], lambda _: None)
        assert set(counts) == {"/tf_static", "/camera/front/camera_info", "/gps/main"}
        with pytest.raises(ExportError, match="expected a new folder, it is there already"):
            export_ros2(log, bag, None, lambda _: None)
