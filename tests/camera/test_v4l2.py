import contextlib
import itertools
import os
from collections.abc import Iterator

import numpy as np
import pytest

from fusion_rt.camera import v4l2_abi as abi
from fusion_rt.camera.v4l2_device import Kernel, describe
from fusion_rt.camera.v4l2_modes import Choice, Mode, choose
from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort
from fusion_rt.errors import DriverError
from fusion_rt.messages import CameraFrame
from fusion_rt.reconnect import RECONNECTS
from tests.camera.fake_camera import FakeCamera, picture
from tests.gnss.ports import START_NS, port

pytest.importorskip("simplejpeg")
import simplejpeg

from fusion_rt.drivers import v4l2

Frames = Iterator[CameraFrame | None]


@pytest.fixture
def here() -> DriverPort:
    return port("camera/front")


@pytest.fixture
def camera(here: DriverPort) -> FakeCamera:
    assert isinstance(here.clock, SettableClock)
    return FakeCamera(here.clock)


def options(**more: object) -> v4l2.V4l2Options:
    return v4l2.V4l2Options(driver="v4l2", device="/dev/video0", **more)


@contextlib.contextmanager
def started(camera: FakeCamera, here: DriverPort, **more: object) -> Iterator[Frames]:
    """The driver, with the camera delivering."""
    with v4l2.open_camera(options(**more), here, camera) as frames:
        assert next(frames) is None
        yield frames


def jpeg(pixels: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 90, "BGR")


def frame(frames: Frames) -> CameraFrame:
    return next(one for one in itertools.islice(frames, 30) if one is not None)


def test_mjpeg_becomes_pixels_stamped_in_mid_exposure(camera: FakeCamera, here: DriverPort) -> None:
    with started(camera, here, width=1280, height=720, rate_hz=30, exposure_ms=8) as frames:
        assert (camera.format, camera.rate) == (("MJPG", 1280, 720), (1000, 30_000))
        camera.shoot(jpeg(picture(1280, 720)), age_ns=40 * NS_PER_MS)
        got = frame(frames)
    assert (got.encoding, got.width, got.height) == ("bgr8", 1280, 720)
    assert np.abs(got.image.astype(int) - picture(1280, 720)).mean() < 2
    assert got.stamp_ns == here.clock.now_ns() - 40 * NS_PER_MS + 4 * NS_PER_MS
    assert got.exposure_ns == 8 * NS_PER_MS
    assert got.problem() is None


def test_a_stamp_of_the_last_pixel_lies_behind_the_exposure(
    camera: FakeCamera, here: DriverPort
) -> None:
    camera.flags = abi.FLAG_TIMESTAMP_MONOTONIC
    camera.is_manual = True  # at 8 ms
    with started(camera, here, format="yuyv", readout_ms=20, latency_ms=1) as frames:
        camera.shoot(bytes(640 * 480 * 2))
        got = frame(frames)
    assert got.exposure_ns == 8 * NS_PER_MS
    assert got.stamp_ns == here.clock.now_ns() - (4 + 10 + 1) * NS_PER_MS


@pytest.mark.parametrize("age_ns", [-NS_PER_S, 3 * NS_PER_S, -(10**18)])
def test_a_stamp_of_another_clock_is_not_believed(
    camera: FakeCamera, here: DriverPort, age_ns: int
) -> None:
    with started(camera, here, format="yuyv") as frames:
        camera.shoot(bytes(640 * 480 * 2), age_ns=age_ns)
        assert frame(frames).stamp_ns == here.clock.now_ns()
    assert here.counters[v4l2.STAMPED_AT_RECEIPT] == 1


def test_raw_pictures_pass_as_they_are_without_the_padding_of_rows(
    camera: FakeCamera, here: DriverPort
) -> None:
    camera.padding = 64
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 2), np.uint8)
    padded = np.zeros((480, 640 * 2 + 64), np.uint8)
    padded[:, :1280] = pixels.reshape(480, -1)
    with started(camera, here, format="yuyv") as frames:
        camera.shoot(padded.tobytes())
        got = frame(frames)
    assert got.encoding == "yuyv"
    assert np.array_equal(got.image, pixels)


def test_uyvy_is_turned_round_and_nv12_keeps_its_two_planes() -> None:
    data = np.arange(4 * 4 * 2, dtype=np.uint8)
    turned = v4l2.pixels_of(data, Choice("uyvy", 4, 4, None), 8)
    assert turned is not None
    assert turned.reshape(-1)[:4].tolist() == [1, 0, 3, 2]
    planes = v4l2.pixels_of(data[:24], Choice("nv12", 4, 4, None), 4)
    assert planes is not None
    assert planes.shape == (6, 4)
    assert v4l2.pixels_of(data[:23], Choice("nv12", 4, 4, None), 4) is None


def test_jpeg_is_passed_on_undecoded_when_asked(camera: FakeCamera, here: DriverPort) -> None:
    data = jpeg(picture())
    with started(camera, here, width=640, height=480, format="mjpeg", encoding="jpeg") as frames:
        camera.shoot(data)
        got = frame(frames)
    assert got.image.tobytes() == data
    assert got.problem() is None


def test_damaged_pictures_are_counted_and_left_out(camera: FakeCamera, here: DriverPort) -> None:
    data = jpeg(picture())
    with started(camera, here, width=640, height=480, format="mjpeg") as frames:
        for bad in (data[: len(data) // 2], b"", b"\0" * 500):
            camera.shoot(bad)
            assert next(frames) is None
        camera.shoot(data, flags=abi.FLAG_ERROR)
        assert next(frames) is None
        camera.shoot(data)
        assert frame(frames).width == 640
    assert here.counters["damaged_frames"] == 4


def test_gaps_in_the_sequence_are_lost_pictures(camera: FakeCamera, here: DriverPort) -> None:
    with started(camera, here, format="yuyv") as frames:
        for skip in (0, 0, 3, 1):
            camera.shoot(bytes(640 * 480 * 2), skip=skip)
            assert next(frames) is not None
    assert here.counters[v4l2.LOST] == 4


def test_of_pictures_that_waited_the_newest_is_taken(camera: FakeCamera, here: DriverPort) -> None:
    with started(camera, here, format="yuyv") as frames:
        for value in (b"\1", b"\2", b"\3"):
            camera.shoot(value * (640 * 480 * 2))
        assert frame(frames).image[0, 0, 0] == 3
        for value in (b"\4", b"\5"):  # buffers have come back: nothing is lost later on
            camera.shoot(value * (640 * 480 * 2))
            assert frame(frames).image[0, 0, 0] == value[0]
    assert (here.counters["superseded"], here.counters[v4l2.LOST]) == (2, 0)


def test_a_camera_that_is_pulled_out_comes_back(camera: FakeCamera, here: DriverPort) -> None:
    with started(camera, here, format="yuyv") as frames:
        camera.shoot(bytes(640 * 480 * 2))
        frame(frames)
        camera.unplug()
        assert [next(frames) for _ in range(4)] == [None] * 4
        assert not camera.opened  # an open file would keep the kernel from using the name again
        camera.plug_in()
        while not camera.opened:
            assert next(frames) is None
        assert next(frames) is None
        camera.shoot(bytes(640 * 480 * 2))
        assert frame(frames)
    assert here.counters[RECONNECTS] == 1
    assert here.counters[v4l2.LOST] == 0
    assert not camera.opened


def test_another_camera_in_its_place_may_have_another_size(
    camera: FakeCamera, here: DriverPort
) -> None:
    with started(camera, here) as frames:
        camera.shoot(jpeg(picture(1280, 720)))
        assert frame(frames).width == 1280
        camera.unplug()
        assert next(frames) is None
        camera.sizes = {"MJPG": [(640, 480)]}
        camera.plug_in()
        while not camera.opened:
            assert next(frames) is None
        assert next(frames) is None
        camera.shoot(jpeg(picture()))
        assert frame(frames).width == 640


def test_a_camera_that_falls_silent_is_opened_anew(camera: FakeCamera, here: DriverPort) -> None:
    with started(camera, here, format="yuyv") as frames:
        while here.clock.now_ns() < START_NS + 8 * NS_PER_S:
            assert next(frames) is None
    assert here.counters[RECONNECTS] == 1


def test_a_camera_that_is_not_there_yet_is_waited_for(
    camera: FakeCamera, here: DriverPort, caplog: pytest.LogCaptureFixture
) -> None:
    camera.is_there = False
    with v4l2.open_camera(options(), here, camera) as frames:
        assert [next(frames) for _ in range(3)] == [None] * 3
        camera.plug_in()
        assert next(frames) is None
        camera.shoot(jpeg(picture(1280, 720)))
        assert frame(frames).width == 1280
    assert caplog.messages == [
        "camera /dev/video0: expected it, found none; there is no camera at all; trying again"
    ]


def test_a_device_without_pictures_is_an_error_at_start(
    camera: FakeCamera, here: DriverPort
) -> None:
    expected = (
        "expected a camera at /dev/video1, which delivers no pictures; "
        r"there are /dev/video0 \(Fake Cam\)"
    )
    stated = v4l2.V4l2Options(driver="v4l2", device="/dev/video1")
    with pytest.raises(DriverError, match=expected):
        v4l2.open_camera(stated, here, camera)
    assert not camera.opened


def test_a_mode_that_the_camera_has_not_is_an_error_at_start(
    camera: FakeCamera, here: DriverPort
) -> None:
    expected = (
        r"expected yuyv 640x480 at 30 Hz of /dev/video0 \(Fake Cam\); "
        "it offers yuyv 640x480 at 15 Hz; mjpeg 1280x720 at 30, 15 Hz"
    )
    with pytest.raises(DriverError, match=expected):
        v4l2.open_camera(options(format="yuyv", width=640, height=480, rate_hz=30), here, camera)
    with pytest.raises(DriverError, match="expected a format we read 1920x1080 of"):
        v4l2.open_camera(options(width=1920, height=1080), here, camera)


def test_an_encoding_that_nothing_is_made_of_is_an_error_at_start(
    camera: FakeCamera, here: DriverPort
) -> None:
    del camera.sizes["MJPG"]
    with pytest.raises(DriverError, match="expected mjpeg to make jpeg of, chose yuyv; add format"):
        v4l2.open_camera(options(encoding="jpeg"), here, camera)


def test_a_camera_that_sets_itself_otherwise_is_told_and_tried_again(
    camera: FakeCamera, here: DriverPort, caplog: pytest.LogCaptureFixture
) -> None:
    def set_otherwise(wanted: abi.Format) -> None:
        wanted.fmt.pix.width = 320

    camera._set_format = set_otherwise  # type: ignore[method-assign]
    with v4l2.open_camera(options(format="yuyv"), here, camera) as frames:
        assert [next(frames) for _ in range(2)] == [None] * 2
    told = "camera /dev/video0: expected yuyv 640x480, it set itself to YUYV 320x480; trying again"
    assert caplog.messages == [told]


def test_the_cheapest_format_that_is_fast_enough_is_chosen() -> None:
    raw = Mode("yuyv", (1920, 1080), (1920, 1080), rates_hz=(5,))
    small = Mode("nv12", (32, 32), (1280, 720), (16, 16), (30,))
    packed = Mode("mjpeg", (1920, 1080), (1920, 1080), rates_hz=(29.97,))
    modes = [raw, small, packed, Mode("H264", (1920, 1080), (1920, 1080), rates_hz=(60,))]
    assert choose(modes, 1920, 1080, None, None) == Choice("yuyv", 1920, 1080, None)
    assert choose(modes, 1920, 1080, 30, None) == Choice("mjpeg", 1920, 1080, 30)
    assert choose(modes, 640, 480, 30, None) == Choice("nv12", 640, 480, 30)
    assert choose(modes, None, None, 30, "nv12") == Choice("nv12", 1280, 720, 30)
    assert choose(modes, 650, 480, 30, None) is None
    assert str(small) == "nv12 32x32 to 1280x720 at 30 Hz"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"encoding": "nv12"}, "expected encoding bgr8, rgb8, mono8 or jpeg, got nv12"),
        ({"encoding": "jpeg", "format": "yuyv"}, "expected encoding none beside format yuyv"),
    ],
)
def test_options_that_contradict_are_refused(stated: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        options(**stated)


def test_the_size_of_messages_is_known_where_the_options_settle_it() -> None:
    assert options(format="yuyv", width=640, height=480).payload_bytes() == 640 * 480 * 2
    assert options(format="mjpeg", width=640, height=480).payload_bytes() == 640 * 480 * 3
    assert options(width=640, height=480).payload_bytes() is None


def test_the_kernel_tells_that_another_kind_of_device_is_no_camera(here: DriverPort) -> None:
    assert describe("/dev/null") is None
    with pytest.raises(DriverError, match="expected a camera at /dev/null"):
        v4l2.open_camera(v4l2.V4l2Options(driver="v4l2", device="/dev/null"), here)


def test_the_kernel_maps_and_waits() -> None:
    kernel = Kernel()
    file = os.memfd_create("buffer")
    os.write(file, b"picture")
    assert bytes(kernel.map(file, 7, 0)) == b"picture"
    read, write = os.pipe()
    assert not kernel.wait(read, NS_PER_MS)
    os.write(write, b"x")
    assert kernel.wait(read, NS_PER_S)
    for fd in (file, read, write):
        kernel.close(fd)


def test_a_camera_of_which_nothing_can_be_decoded_keeps_the_read_deadline(
    camera: FakeCamera, here: DriverPort
) -> None:
    def next_damaged(_fd: int, _timeout_ns: int) -> bool:
        here.clock.advance_ns(33 * NS_PER_MS)  # type: ignore[attr-defined]
        camera.shoot(b"\xff\xd8 damaged")
        return True

    camera.wait = next_damaged  # type: ignore[method-assign]
    with v4l2.open_camera(options(format="mjpeg"), here, camera) as frames:
        for _ in range(3):
            before_ns = here.clock.now_ns()
            assert next(frames) is None
            assert here.clock.now_ns() - before_ns <= READ_DEADLINE_NS + 40 * NS_PER_MS
    assert here.counters["damaged_frames"] > 30
