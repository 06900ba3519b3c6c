from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_rt.calibration_file import load_calibration
from fusion_rt.errors import ForeignLogError
from fusion_rt.geometry import Fisheye
from fusion_rt.imports.calibration_text import text_of
from fusion_rt.imports.open import open_source
from fusion_rt.imports.ros_audio import SoundFormat
from fusion_rt.imports.source import Imported, ImportOptions
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from tests.imports.recordings import STAMP_NS, Ros, real

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (6, 8, 3), dtype=np.uint8)
XYZI = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])


def imported(path: Path, **options: Any) -> list[Imported]:
    with open_source(path, ImportOptions(**options)) as source:
        messages = list(source.messages())
        assert not source.counters
    return messages


@pytest.fixture(params=["ros1", "mcap", "sqlite3"])
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Ros, Path]:
    """One of the three ways in which a bag is stored."""
    is_old = request.param == "ros1"
    return Ros(1 if is_old else 2), tmp_path / ("drive.bag" if is_old else f"drive_{request.param}")


def test_every_kind_of_sensor_of_every_kind_of_bag(bag: tuple[Ros, Path]) -> None:
    ros, path = bag
    points = np.array([(1, 2, 3, 10), (4, 5, 6, 200)], XYZI)
    stamp_ns, recv_ns = STAMP_NS + 5, STAMP_NS + 1_000_000
    sound = np.arange(8, dtype="<i2")
    ros.write(
        path,
        {
            "/camera/left/image_raw": [(recv_ns, ros.image(stamp_ns, PIXELS, "bgr8"))],
            "/camera/right/compressed": [(recv_ns + 1, ros.compressed(stamp_ns, PIXELS, ".jpg"))],
            "/velodyne_points": [(recv_ns + 2, ros.cloud(stamp_ns, points))],
            "/gps/fix": [(recv_ns + 3, ros.navsat(stamp_ns))],
            "/mic/audio": [
                (
                    recv_ns + 4,
                    ros.make(
                        "audio_common_msgs/msg/AudioData",
                        data=np.frombuffer(sound.tobytes(), np.uint8),
                    ),
                )
            ],
        },
    )
    found = {one.topic: one for one in imported(path, sound=SoundFormat(channels=2, rate_hz=16000))}
    assert [one.recv_ns - recv_ns for one in found.values()] == [0, 1, 2, 3, 4]
    left, right = found["camera/left"].message, found["camera/right"].message
    assert isinstance(left, CameraFrame)
    assert isinstance(right, CameraFrame)
    np.testing.assert_array_equal(left.image, PIXELS)
    assert (left.encoding, left.stamp_ns) == ("bgr8", stamp_ns)
    assert (right.encoding, right.width, right.height) == ("jpeg", 8, 6)
    sweep = found["lidar/velodyne_points"].message
    assert isinstance(sweep, LidarSweep)
    np.testing.assert_allclose(sweep.points[:, :4], [[1, 2, 3, 10 / 255], [4, 5, 6, 200 / 255]])
    fix = found["gps/main"].message
    assert isinstance(fix, GpsFix)
    assert (fix.fix, fix.latitude_deg, fix.altitude_m) == ("3d", 49.0, 115.0)
    assert (fix.horizontal_accuracy_m, fix.vertical_accuracy_m) == (2, 3)
    chunk = found["audio/mic"].message
    assert isinstance(chunk, AudioChunk)
    np.testing.assert_array_equal(chunk.samples, sound.reshape(4, 2))
    assert chunk.stamp_ns == recv_ns + 4 - 4 * 10**9 // 16000


def test_recordings_of_the_same_talker_in_two_storages_are_listed_alike() -> None:
    for storage in ("mcap", "sqlite3"):
        path = real("bags", "ros2", storage, "talker")
        with (
            pytest.raises(ForeignLogError, match=r"/topic \(std_msgs/msg/String\): unknown type"),
            open_source(path, ImportOptions()),
        ):
            pass


def test_messages_of_another_serialization_are_refused() -> None:
    for storage in ("mcap", "sqlite3"):
        path = real("bags", "ros2", storage, "wrong_rmw_test")
        with (
            pytest.raises(ForeignLogError, match="serialized as wrong_format, expected cdr"),
            open_source(path, ImportOptions()),
        ):
            pass


def test_a_real_bag_gives_the_clouds_its_test_suite_knows() -> None:
    path = real("bags", "ros1", "embag_test.bag")
    with open_source(path, ImportOptions()) as source:
        counts = {topic.name: (topic.count, topic.reason) for topic in source.topics}
        messages = list(source.messages())
    assert counts == {
        "/luminar_pointcloud": (5, ""),
        "/base_scan": (5, "unknown type"),
        "/base_pose_ground_truth": (5, "unknown type"),
    }
    assert {one.topic for one in messages} == {"lidar/luminar_pointcloud"}
    sweeps = [one.message for one in messages if isinstance(one.message, LidarSweep)]
    assert [len(sweep.points) for sweep in sweeps] == [35707, 36055, 36267, 36457, 36336]
    assert sweeps[0].stamp_ns == 1583971570015299642
    assert messages[0].recv_ns == 1604515190231374463
    np.testing.assert_array_equal(
        sweeps[0].points[0, :3], np.array([38.327442, 41.320637, 2.6648622], np.float32)
    )


@pytest.mark.parametrize(
    ("encoding", "pixels", "ours"),
    [
        ("rgb8", PIXELS, "rgb8"),
        ("mono8", PIXELS[..., 0], "mono8"),
        ("bgra8", np.dstack([PIXELS, PIXELS[..., 0]]), "bgr8"),
        ("nv12", np.tile(PIXELS[..., 0], (2, 1))[:9], "nv12"),
        ("yuv422_yuy2", PIXELS[..., :2], "yuyv"),
    ],
)
def test_rows_that_are_padded_lose_their_padding(
    tmp_path: Path, encoding: str, pixels: np.ndarray, ours: str
) -> None:
    ros = Ros(2)
    image = ros.image(STAMP_NS, pixels, encoding, pad=3)
    path = ros.write(tmp_path / "bag", {"/image": [(STAMP_NS, image)]})
    (one,) = imported(path)
    assert isinstance(one.message, CameraFrame)
    assert one.message.encoding == ours
    expected = pixels[..., :3] if encoding == "bgra8" else pixels
    np.testing.assert_array_equal(one.message.image, expected)


def test_uyvy_becomes_yuyv_and_a_bayer_mosaic_its_colour(tmp_path: Path) -> None:
    ros = Ros(2)
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[::2, ::2] = 200  # red, of RGGB
    path = ros.write(
        tmp_path / "bag",
        {
            "/a": [(STAMP_NS, ros.image(STAMP_NS, PIXELS[..., :2], "yuv422"))],
            "/b": [(STAMP_NS + 1, ros.image(STAMP_NS, mosaic, "bayer_rggb8"))],
        },
    )
    one, other = (message.message for message in imported(path))
    assert isinstance(one, CameraFrame)
    assert isinstance(other, CameraFrame)
    np.testing.assert_array_equal(one.image, PIXELS[..., 1::-1])
    assert other.encoding == "bgr8"
    blue, green, red = other.image[4, 4]
    assert (blue, green, red) == (0, 0, 200)


def test_a_png_keeps_every_pixel(tmp_path: Path) -> None:
    ros = Ros(2)
    path = ros.write(
        tmp_path / "bag", {"/image": [(STAMP_NS, ros.compressed(STAMP_NS, PIXELS, ".png"))]}
    )
    (one,) = imported(path)
    assert isinstance(one.message, CameraFrame)
    np.testing.assert_array_equal(one.message.image, PIXELS)


@pytest.mark.parametrize(
    ("dtype", "times", "last_ns"),
    [
        (("t", "<u4"), [0, 100_000_000], 100_000_000),
        (("time", "<f4"), [-0.1, 0], 0),
        (("timestamp", "<f8"), [STAMP_NS / 1e9, STAMP_NS / 1e9 + 0.1], 100_000_000),
        (("timestamp", "<f8"), [STAMP_NS, STAMP_NS + 1e8], 100_000_000),
    ],
)
def test_times_of_points_count_back_from_the_last(
    tmp_path: Path, dtype: tuple[str, str], times: list[float], last_ns: int
) -> None:
    ros = Ros(2)
    points = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2"), dtype])
    points["x"], points["ring"], points[dtype[0]] = 1, [3, 4], times
    path = ros.write(tmp_path / "bag", {"/p": [(STAMP_NS, ros.cloud(STAMP_NS, points))]})
    (one,) = imported(path)
    assert isinstance(one.message, LidarSweep)
    np.testing.assert_allclose(one.message.points[:, 4], [-0.1, 0], atol=1e-6)
    assert one.message.stamp_ns - STAMP_NS == pytest.approx(last_ns, abs=1000)
    assert one.message.ring is not None
    assert one.message.ring.tolist() == [3, 4]


def test_times_that_cannot_be_of_one_turn_are_not_believed(tmp_path: Path) -> None:
    ros = Ros(2)
    points = np.ones(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("t", "<u4")])
    points["t"] = [0, 3_000_000_000]
    path = ros.write(tmp_path / "bag", {"/p": [(STAMP_NS, ros.cloud(STAMP_NS, points))]})
    with open_source(path, ImportOptions()) as source:
        (one,) = source.messages()
        assert source.counters == {'lidar/p: times of points not believed (field "t")': 1}
    assert isinstance(one.message, LidarSweep)
    assert (one.message.stamp_ns, one.message.points[:, 4].tolist()) == (STAMP_NS, [0, 0])


def test_points_without_a_return_are_dropped(tmp_path: Path) -> None:
    ros = Ros(2)
    points = np.array([(np.nan, 0, 0, 0), (0, 0, 0, 0), (1, 0, 0, 0.5)], XYZI)
    path = ros.write(tmp_path / "bag", {"/p": [(STAMP_NS, ros.cloud(STAMP_NS, points))]})
    (one,) = imported(path)
    assert isinstance(one.message, LidarSweep)
    np.testing.assert_array_equal(one.message.points, [[1, 0, 0, 0.5, 0]])


def test_static_transforms_and_camera_info_become_a_calibration(
    bag: tuple[Ros, Path], tmp_path: Path
) -> None:
    ros, path = bag
    static = {("base_link", "mast"): (1.0, 0.0, 0.5), ("mast", "cam"): (0.0, 0.25, 1.0)}
    ros.write(
        path,
        {
            "/tf_static": [(STAMP_NS, ros.transforms(static))],
            "/tf": [
                (STAMP_NS + n, ros.transforms({("base_link", "velodyne"): (n, 0.0, 0.0)}))
                for n in range(2)
            ],
            "/cam/camera_info": [(STAMP_NS, ros.camera_info("plumb_bob", [-0.1, 0.01, 0, 0, 0]))],
            "/cam/image": [(STAMP_NS, ros.image(STAMP_NS, PIXELS, "bgr8"))],
            "/points": [(STAMP_NS, ros.cloud(STAMP_NS, np.ones(1, XYZI)))],
        },
    )
    with open_source(path, ImportOptions()) as source:
        mounting = source.mounting()
    assert mounting is not None
    assert mounting.left_out == ('lidar/main: its frame "velodyne" moves',)
    file = tmp_path / "calibration.yaml"
    file.write_bytes(text_of(mounting))
    calibration = load_calibration(file)
    np.testing.assert_allclose(calibration.base_from["camera_cam"].translation_m, [1, 0.25, 1.5])
    camera = calibration.cameras["camera_cam"]
    assert (camera.fx_px, camera.cx_px, camera.width) == (500, 320, 640)
    assert camera.distortion == (-0.1, 0.01, 0, 0, 0)


def test_a_fisheye_stays_one_and_an_uncalibrated_camera_is_named(tmp_path: Path) -> None:
    ros = Ros(2)
    link = ros.transforms({("base_link", "cam"): (0.0, 0.0, 1.0)})
    image = [(STAMP_NS, ros.image(STAMP_NS, PIXELS, "bgr8"))]
    for name, info in (
        ("wide", ros.camera_info("equidistant", [0.1, 0.2, 0.3, 0.4])),
        ("new", ros.camera_info("plumb_bob", [], focal_px=0)),
    ):
        topics = {"/tf_static": [(0, link)], "/camera_info": [(0, info)], "/image": image}
        with open_source(ros.write(tmp_path / name, topics), ImportOptions()) as source:
            mounting = source.mounting()
        assert mounting is not None
        if name == "wide":
            assert isinstance(mounting.cameras["camera_main"], Fisheye)
        else:
            assert mounting.cameras == {}
            assert "expected a focal length > 0, got 0: not calibrated" in mounting.left_out[0]


def test_sound_is_what_its_info_says_wherever_that_stands(tmp_path: Path) -> None:
    ros = Ros(2)
    data = ros.make("audio_common_msgs/msg/AudioData", data=np.zeros(640, np.uint8))
    info = ros.make(
        "audio_common_msgs/msg/AudioInfo",
        channels=1,
        sample_rate=16000,
        sample_format="S16LE",
        bitrate=0,
        coding_format="wave",
    )
    sound = [
        (
            STAMP_NS + n * 20_000_000,
            ros.make(
                "audio_common_msgs/msg/AudioDataStamped",
                header=ros.header(STAMP_NS + n * 20_000_000, "array"),
                audio=data,
            ),
        )
        for n in range(3)
    ]
    path = ros.write(
        tmp_path / "bag", {"/mic/audio": sound, "/mic/audio_info": [(STAMP_NS + 10**9, info)]}
    )
    chunks = [one.message for one in imported(path) if isinstance(one.message, AudioChunk)]
    assert [chunk.first_sample for chunk in chunks] == [0, 320, 640]
    assert [chunk.stamp_ns - STAMP_NS for chunk in chunks] == [0, 20_000_000, 40_000_000]


def test_sound_of_an_unknown_format_is_counted(tmp_path: Path) -> None:
    ros = Ros(2)
    data = ros.make("audio_common_msgs/msg/AudioData", data=np.zeros(640, np.uint8))
    path = ros.write(tmp_path / "bag", {"/audio": [(STAMP_NS, data)]})
    with open_source(path, ImportOptions()) as source:
        assert list(source.messages()) == []
        assert source.counters == {
            "/audio: sound of an unknown format (no AudioInfo; give --audio)": 1
        }


def test_bad_messages_are_counted_by_cause_and_cost_nothing_else(tmp_path: Path) -> None:
    ros = Ros(2)
    good = ros.image(STAMP_NS, PIXELS, "bgr8")
    depth = ros.image(STAMP_NS, PIXELS[..., :2], "16UC1")
    short = ros.make("sensor_msgs/msg/Image", **{**vars(good), "data": good.data[:-1]})
    path = ros.write(
        tmp_path / "bag", {"/i": [(STAMP_NS + n, m) for n, m in enumerate((depth, short, good))]}
    )
    with open_source(path, ImportOptions()) as source:
        assert len(list(source.messages())) == 1
        assert source.counters == {
            '/i: encoding "16UC1"': 1,
            "/i: 8x6 bgr8 of 143 bytes, 24 a row": 1,
        }


def test_a_stamp_of_0_is_the_arrival_and_one_before_1970_is_bad(tmp_path: Path) -> None:
    ros = Ros(2)
    stamps = (0, -(10**9))
    images = [(STAMP_NS + n, ros.image(ns, PIXELS, "bgr8")) for n, ns in enumerate(stamps)]
    path = ros.write(tmp_path / "bag", {"/i": images})
    with open_source(path, ImportOptions()) as source:
        (one,) = source.messages()
        assert source.counters == {"/i: a stamp before 1970": 1}
    assert one.message.stamp_ns == STAMP_NS


def test_a_map_chooses_and_names(tmp_path: Path) -> None:
    ros = Ros(2)
    image = ros.image(STAMP_NS, PIXELS, "bgr8")
    path = ros.write(tmp_path / "bag", {"/a": [(STAMP_NS, image)], "/b": [(STAMP_NS, image)]})
    assert [one.topic for one in imported(path, topics={"/b": "camera/front"})] == ["camera/front"]
    with (
        pytest.raises(ForeignLogError, match="expected the topic /c, it holds: /a, /b"),
        open_source(path, ImportOptions(topics={"/c": "camera/front"})),
    ):
        pass
    with (
        pytest.raises(ForeignLogError, match=r"/a .*: mapped to lidar, it is camera"),
        open_source(path, ImportOptions(topics={"/a": "lidar/top"})),
    ):
        pass


def test_a_damaged_bag_is_refused_or_gives_what_comes_before(bag: tuple[Ros, Path]) -> None:
    ros, path = bag
    noise = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    ros.write(path, {"/i": [(STAMP_NS + n, ros.image(STAMP_NS, noise, "bgr8")) for n in range(40)]})
    file = path if path.is_file() else next(p for p in path.iterdir() if p.suffix != ".yaml")
    whole = file.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 5000):
        file.write_bytes(whole[:cut])
        came = []
        with (
            pytest.raises(ForeignLogError, match=r"expected .*(ROS|MCAP|it starts|empty)"),
            open_source(path, ImportOptions()) as source,
        ):
            came.extend(source.messages())
        assert len(came) < 40


def test_whatever_a_damaged_bag_holds_it_is_refused_or_read(bag: tuple[Ros, Path]) -> None:
    ros, path = bag
    ros.write(
        path,
        {
            "/i": [(STAMP_NS, ros.image(STAMP_NS, PIXELS, "bgr8"))],
            "/p": [(STAMP_NS, ros.cloud(STAMP_NS, np.ones(9, XYZI)))],
            "/tf_static": [(STAMP_NS, ros.transforms({("base_link", "cam"): (1.0, 0.0, 1.0)}))],
        },
    )
    file = path if path.is_file() else next(p for p in path.iterdir() if p.suffix != ".yaml")
    whole = file.read_bytes()
    rng = np.random.default_rng(7)
    refused: list[str] = []
    for _ in range(25):
        raw = bytearray(whole)
        for at in rng.integers(0, len(raw), 6):
            raw[at] = rng.integers(0, 256)
        file.write_bytes(raw)
        try:
            with open_source(file, ImportOptions()) as source:
                list(source.messages())
        except ForeignLogError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 25
    assert all(str(file) in sentence for sentence in refused)
