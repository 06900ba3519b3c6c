import msgspec
import numpy as np
import pytest

from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    DetectionMember,
    Detections,
    GpsFix,
    Heartbeat,
    LidarSweep,
    image_shape,
)


def camera(encoding="bgr8", width=4, height=2, image=None):
    shape = image_shape(encoding, width, height)
    image = np.zeros(shape, np.uint8) if image is None else image
    return CameraFrame(stamp_ns=1, encoding=encoding, width=width, height=height, image=image)


def sweep(points=None, ring=None):
    points = np.zeros((3, 5), np.float32) if points is None else points
    return LidarSweep(stamp_ns=1, points=points, ring=ring)


def chunk(samples=None, rate_hz=16_000):
    samples = np.zeros((320, 4), np.int16) if samples is None else samples
    return AudioChunk(stamp_ns=1, samples=samples, rate_hz=rate_hz, first_sample=0)


def detections(count=2, **arrays):
    values = {
        "boxes": np.zeros((count, 9), np.float32),
        "scores": np.zeros(count, np.float32),
        "class_ids": np.zeros(count, np.uint8),
        **arrays,
    }
    member = DetectionMember(topic="camera/front", quality="exact")
    return Detections(stamp_ns=1, members=(member,), **values)


SHAPES = [
    ("bgr8", (2, 4, 3)),
    ("rgb8", (2, 4, 3)),
    ("mono8", (2, 4)),
    ("yuyv", (2, 4, 2)),
    ("nv12", (3, 4)),
]


@pytest.mark.parametrize(("encoding", "shape"), SHAPES)
def test_an_image_has_the_shape_of_its_encoding(encoding, shape):
    assert image_shape(encoding, 4, 2) == shape
    assert camera(encoding).problem() is None


@pytest.mark.parametrize(("encoding", "shape"), SHAPES)
def test_an_image_of_another_shape_is_a_problem(encoding, shape):
    image = np.zeros((5, 5, 5), np.uint8)

    assert camera(encoding, image=image).problem() == (
        f"image: {encoding} 4x2 expected {shape}, got (5, 5, 5)"
    )


def test_an_image_of_another_type_is_a_problem():
    image = np.zeros((2, 4, 3), np.float32)

    assert camera(image=image).problem() == "image: expected uint8, got float32"


def test_a_jpeg_has_any_length_and_starts_as_one():
    data = np.frombuffer(b"\xff\xd8\xff\xe0 and so on", np.uint8)

    assert camera("jpeg", image=data).problem() is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (np.zeros((1, 9), np.uint8), "image: jpeg expected (N,), got (1, 9)"),
        (
            np.frombuffer(b"\x89PNG", np.uint8),
            "image: jpeg expected to start with ff d8, got 89 50",
        ),
        (np.zeros(0, np.uint8), "image: jpeg expected to start with ff d8, got "),
    ],
)
def test_what_is_no_jpeg_is_a_problem(data, problem):
    assert camera("jpeg", image=data).problem() == problem


def test_a_sweep_may_be_empty_and_without_rings():
    assert sweep(np.zeros((0, 5), np.float32)).problem() is None
    assert sweep(ring=np.zeros(3, np.uint16)).problem() is None


@pytest.mark.parametrize(
    ("points", "got"),
    [
        (np.zeros((3, 4), np.float32), "(3, 4) float32"),
        (np.zeros(15, np.float32), "(15,) float32"),
        (np.zeros((3, 5), np.float64), "(3, 5) float64"),
    ],
)
def test_points_of_another_shape_or_type_are_a_problem(points, got):
    assert sweep(points).problem() == f"points: expected (N, 5) float32, got {got}"


@pytest.mark.parametrize(
    ("ring", "got"),
    [(np.zeros(2, np.uint16), "(2,) uint16"), (np.zeros(3, np.uint8), "(3,) uint8")],
)
def test_rings_that_do_not_fit_the_points_are_a_problem(ring, got):
    assert sweep(ring=ring).problem() == f"ring: expected (3,) uint16, got {got}"


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_sound_is_int16_or_float32(dtype):
    assert chunk(np.zeros((320, 4), dtype)).problem() is None


@pytest.mark.parametrize(
    ("samples", "got"),
    [
        (np.zeros(320, np.int16), "(320,) int16"),
        (np.zeros((320, 4), np.int32), "(320, 4) int32"),
    ],
)
def test_sound_of_another_shape_or_type_is_a_problem(samples, got):
    assert chunk(samples).problem() == (
        f"samples: expected (frames, channels) int16 or float32, got {got}"
    )


def test_a_sample_rate_of_zero_is_a_problem():
    assert chunk(rate_hz=0).problem() == "rate_hz: expected > 0, got 0"


@pytest.mark.parametrize(("latitude", "longitude"), [(90, 180), (-90, -180), (0, 0)])
def test_a_fix_lies_on_the_globe(latitude, longitude):
    fix = GpsFix(stamp_ns=1, fix="3d", latitude_deg=latitude, longitude_deg=longitude)

    assert fix.problem() is None


@pytest.mark.parametrize(
    ("latitude", "longitude", "got"),
    [(91.0, 0.0, "91.0, 0.0"), (0.0, -180.5, "0.0, -180.5"), (float("nan"), 0.0, "nan, 0.0")],
)
def test_a_fix_off_the_globe_is_a_problem(latitude, longitude, got):
    fix = GpsFix(stamp_ns=1, fix="3d", latitude_deg=latitude, longitude_deg=longitude)

    assert fix.problem() == (
        f"position: expected latitude in +-90 and longitude in +-180 degrees, got {got}"
    )


def test_no_detections_are_an_answer():
    assert detections(0).problem() is None


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (
            {"boxes": np.zeros((2, 7), np.float32)},
            "boxes: expected (2, 9) float32, got (2, 7) float32",
        ),
        ({"scores": np.zeros(3, np.float32)}, "scores: expected (2,) float32, got (3,) float32"),
        ({"class_ids": np.zeros(1, np.uint8)}, "class_ids: expected (2,) uint8, got (1,) uint8"),
        (
            {"contributions": np.zeros((2, 4), np.float32)},
            "contributions: expected (2, 1) float32, got (2, 4) float32",
        ),
    ],
)
def test_detections_whose_arrays_disagree_are_a_problem(arrays, problem):
    assert detections(**arrays).problem() == problem


def test_a_message_without_arrays_has_no_problem_of_its_own():
    assert Heartbeat(stamp_ns=1, node="camera/front", pid=7, state="ready").problem() is None


@pytest.mark.parametrize("stamp_ns", [-1, 2**63, 1.5, "1"])
def test_a_stamp_that_is_no_signed_64_bit_time_is_refused_on_decode(stamp_ns):
    data = msgspec.msgpack.encode({"stamp_ns": stamp_ns, "fix": "3d"})

    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`.*\$\.stamp_ns|Integer"):
        msgspec.msgpack.decode(data, type=GpsFix)


def test_an_unknown_value_of_an_enumeration_is_refused_on_decode():
    data = msgspec.msgpack.encode({"stamp_ns": 1, "fix": "4d"})

    with pytest.raises(msgspec.ValidationError, match=r"Invalid enum value '4d' - at `\$\.fix`"):
        msgspec.msgpack.decode(data, type=GpsFix)


def test_fields_of_a_newer_version_are_ignored():
    data = msgspec.msgpack.encode({"stamp_ns": 1, "fix": "3d", "heading_deg": 12.0})

    assert msgspec.msgpack.decode(data, type=GpsFix).fix == "3d"


def test_messages_are_frozen():
    with pytest.raises(AttributeError, match="immutable type: 'GpsFix'"):
        GpsFix(stamp_ns=1, fix="3d").fix = "2d"
