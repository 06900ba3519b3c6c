from pathlib import Path

import numpy as np
import pytest

from fusion_rt.calibration_file import load_calibration
from fusion_rt.errors import ForeignLogError, LogError
from fusion_rt.imports.import_log import Arrivals, ImportReport, import_log
from fusion_rt.imports.open import open_source
from fusion_rt.imports.source import ImportOptions
from fusion_rt.imports.topic_map import parsed_map, topic_for
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import LidarSweep
from tests.imports.recordings import STAMP_NS, Ros, real
from tests.imports.test_ros import PIXELS


def imported(source: Path, output: Path, arrivals: Arrivals = "recorded") -> ImportReport:
    with open_source(source, ImportOptions()) as opened:
        return import_log(opened, source, output, arrivals=arrivals)


def test_a_log_holds_what_the_bag_held_and_says_whose_clock_it_is(tmp_path: Path) -> None:
    source = real("bags", "ros1", "embag_test.bag")
    report = imported(source, tmp_path / "a.mcap")
    assert [(t.stated, t.imported, t.reason) for t in report.topics] == [
        (5, 5, ""),
        (5, 0, "unknown type"),
        (5, 0, "unknown type"),
    ]
    assert report.missing == 0
    assert "stamps lie 20543620 s before their arrival, by another clock" in report.notes[0]
    with LogReader(tmp_path / "a.mcap") as log:
        first, *_ = messages = list(log.messages())
    assert len(messages) == 5
    assert isinstance(first.message, LidarSweep)
    assert (first.message.stamp_ns, first.recv_ns) == (1583971570015299642, 1604515190231374463)
    assert [one.header.seq for one in messages] == [0, 1, 2, 3, 4]
    imported(source, tmp_path / "b.mcap", "stamps")
    with LogReader(tmp_path / "b.mcap") as log:
        assert log.start_ns == 1583971570015299642


def test_the_calibration_stands_beside_the_log_and_in_it(tmp_path: Path) -> None:
    report = imported(real("kitti", "training"), tmp_path / "kitti.mcap")
    beside = tmp_path / "kitti.calibration.yaml"
    assert report.calibration == str(beside)
    calibration = load_calibration(beside)
    np.testing.assert_allclose(calibration.base_from["lidar_top"].translation_m, [0.76, 0, 1.73])
    with LogReader(tmp_path / "kitti.mcap") as log:
        assert log.attachment("calibration.yaml") == beside.read_bytes()
    assert any("another calibration than the first" in note for note in report.notes)


def test_an_independent_reader_finds_nothing_wrong(tmp_path: Path) -> None:
    mcap_reader = pytest.importorskip("mcap.reader")
    factory = pytest.importorskip("mcap_protobuf.decoder").DecoderFactory()
    report = imported(real("nuscenes", "n015-2018-07-24-11-22-45+0800.json"), tmp_path / "n.mcap")
    with (tmp_path / "n.mcap").open("rb") as file:
        reader = mcap_reader.make_reader(file, validate_crcs=True, decoder_factories=[factory])
        decoded = {
            channel.topic: message for _, channel, _, message in reader.iter_decoded_messages()
        }
    assert {topic.ours for topic in report.topics} <= decoded.keys()
    assert decoded["camera/front"].frame_id == "camera_front"
    assert len(decoded["lidar/top"].data) == 34688 * decoded["lidar/top"].point_stride


def test_what_is_not_in_the_log_is_counted_as_missing(tmp_path: Path) -> None:
    ros = Ros(2)
    images = [ros.image(STAMP_NS, PIXELS, encoding) for encoding in ("bgr8", "16UC3")]
    source = ros.write(
        tmp_path / "bag", {"/i": [(STAMP_NS + n, image) for n, image in enumerate(images)]}
    )
    report = imported(source, tmp_path / "a.mcap")
    assert report.missing == 1
    assert report.bad == {'/i: encoding "16UC3"': 1}


def test_a_log_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_text("precious")
    with pytest.raises(LogError, match="it is there already"):
        imported(real("kitti", "training"), tmp_path / "a.mcap")
    assert (tmp_path / "a.mcap").read_text() == "precious"


@pytest.mark.parametrize(
    ("foreign", "kind", "ours"),
    [
        ("/camera/left/image_raw", "camera", "camera/left"),
        ("/camera/image_raw/compressed", "camera", "camera/main"),
        ("/velodyne_points", "lidar", "lidar/velodyne_points"),
        ("/ns/os_cloud_node/points", "lidar", "lidar/ns_os_cloud_node"),
        ("/gps/fix", "gps", "gps/main"),
        ("/a b/ü", "lidar", "lidar/a_b"),
        ("", "lidar", "lidar/main"),
    ],
)
def test_topics_are_named_after_what_tells_them_apart(foreign: str, kind: str, ours: str) -> None:
    assert topic_for(foreign, kind, set()) == ours
    assert topic_for(foreign, kind, {ours}) == f"{ours}_2"


def test_a_map_that_cannot_be_is_refused() -> None:
    assert parsed_map(["/a=b=camera/x"]) == {"/a=b": "camera/x"}
    with pytest.raises(ForeignLogError, match='expected FOREIGN=OURS, got "/a"'):
        parsed_map(["/a"])
    with pytest.raises(Exception, match='topic "radar/x": unknown kind'):
        parsed_map(["/a=radar/x"])
    with pytest.raises(Exception, match="expected each topic once in the map, got it twice"):
        parsed_map(["/a=camera/x", "/b=camera/x"])
