import itertools
import struct

import numpy as np
import pytest

from fusion_rt.drivers.port import CameraOptions, DriverPort
from fusion_rt.messages import PixelEncoding
from tests.camera.fake_camera import picture
from tests.gnss.ports import port

pytest.importorskip("simplejpeg")
import simplejpeg

from fusion_rt.camera.frames import DAMAGED, MAX_PIXELS, OTHER_SIZE, FrameMaker, Instant

AT = Instant(1000, 10)


@pytest.fixture
def here() -> DriverPort:
    return port("camera/front")


def maker(here: DriverPort, **options: int) -> FrameMaker:
    return FrameMaker(CameraOptions(driver="test", **options), here)


def jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)  # noise: damage anywhere is damage to something
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    return simplejpeg.encode_jpeg(noise, 90, "BGR")


def without(data: bytes, marker: int) -> bytes:
    """The JPEG without its segments of a kind."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        (size,) = struct.unpack(">H", data[at + 2 : at + 4])
        if data[at + 1] != marker:
            kept += data[at : at + 2 + size]
        at += 2 + size
    return kept + data[at:]


@pytest.mark.parametrize(
    ("encoding", "colours"), [("bgr8", "BGR"), ("rgb8", "RGB"), ("mono8", "GRAY")]
)
def test_a_jpeg_is_decoded_into_the_loan(
    here: DriverPort, encoding: PixelEncoding, colours: str
) -> None:
    (frame,) = maker(here).from_jpeg(jpeg(), encoding, AT)
    wanted = simplejpeg.decode_jpeg(jpeg(), colours)
    assert np.array_equal(frame.image, wanted[..., 0] if encoding == "mono8" else wanted)
    assert (frame.stamp_ns, frame.exposure_ns) == (1000, 10)
    assert frame.problem() is None


def test_the_tables_that_webcams_leave_out_are_known(here: DriverPort) -> None:
    smooth = simplejpeg.encode_jpeg(picture(64, 48), 90, "BGR")
    (whole,) = maker(here).from_jpeg(smooth, "bgr8", AT)
    (frame,) = maker(here).from_jpeg(without(smooth, 0xC4), "bgr8", AT)
    assert np.array_equal(frame.image, whole.image)


@pytest.mark.parametrize("ending", [b"\0" * 100, b"\xff\xd9" + b"\0" * 9])
def test_padding_behind_a_picture_is_no_damage(here: DriverPort, ending: bytes) -> None:
    assert list(maker(here).from_jpeg(jpeg() + ending, "bgr8", AT))
    assert not here.counters[DAMAGED]


def test_padding_before_the_end_marker_is_no_damage(here: DriverPort) -> None:
    assert list(maker(here).from_jpeg(jpeg()[:-2] + b"\0" * 3 + b"\xff\xd9", "bgr8", AT))
    assert not here.counters[DAMAGED]


def test_damage_in_the_pixels_is_nearly_always_found(here: DriverPort) -> None:
    whole, made = jpeg(), maker(here)
    cuts = [whole[:at] + whole[at + 200 :] for at in range(3000, len(whole) - 300, 20)]
    passed = sum(len(list(made.from_jpeg(cut, "bgr8", AT))) for cut in cuts)
    assert here.counters[DAMAGED] == len(cuts) - passed
    assert passed < len(cuts) / 10  # JPEG has no checksum: some damage is a picture too


@pytest.mark.parametrize("bad", [b"", b"\xff\xd8", b"\x89PNG\r\n", jpeg()[:300]])
@pytest.mark.parametrize("encoding", ["bgr8", "jpeg"])
def test_what_is_no_jpeg_is_counted(here: DriverPort, bad: bytes, encoding: PixelEncoding) -> None:
    assert not list(maker(here).from_jpeg(bad, encoding, AT))
    assert here.counters[DAMAGED] == 1


def test_a_cut_jpeg_is_counted(here: DriverPort) -> None:
    assert not list(maker(here).from_jpeg(jpeg()[:-200], "bgr8", AT))
    assert here.counters[DAMAGED] == 1


def test_no_memory_is_asked_for_what_claims_to_be_huge(here: DriverPort) -> None:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", data, at, 65_000, 65_000)
    assert MAX_PIXELS < 65_000**2
    assert not list(maker(here).from_jpeg(bytes(data), "bgr8", AT))
    assert here.counters[DAMAGED] == 1


def test_the_first_whole_picture_settles_the_size(here: DriverPort) -> None:
    made = maker(here)
    sizes = [(640, 480), (64, 48), (640, 480)]
    cut = jpeg(320, 240)[:2000]
    datas = [cut, *(jpeg(*size) for size in sizes)]
    frames = itertools.chain.from_iterable(made.from_jpeg(one, "bgr8", AT) for one in datas)
    assert [(frame.width, frame.height) for frame in frames] == [(640, 480), (640, 480)]
    assert (here.counters[OTHER_SIZE], here.counters[DAMAGED]) == (1, 1)


def test_the_stated_size_is_kept_to(here: DriverPort) -> None:
    made = maker(here, width=64)
    assert not list(made.from_jpeg(jpeg(640, 480), "bgr8", AT))
    assert list(made.from_jpeg(jpeg(64, 48), "bgr8", AT))
    assert here.counters[OTHER_SIZE] == 1


def test_a_camera_opened_anew_may_have_another_size(here: DriverPort) -> None:
    made = maker(here)
    assert list(made.from_jpeg(jpeg(64, 48), "bgr8", AT))
    made.forget_size()
    assert list(made.from_jpeg(jpeg(640, 480), "bgr8", AT))
