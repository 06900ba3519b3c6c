import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep

START_NS = 1_700_000_000 * NS_PER_S
TOPICS = {"camera": "camera/a", "lidar": "lidar/a", "audio": "audio/a", "gps": "gps/a"}


class Loans:
    """Lends arrays as the transport does: filled with what was there before, one at a time."""

    def __init__(self) -> None:
        self.open = 0
        self.lent: list[npt.NDArray[Any]] = []

    @contextlib.contextmanager
    def __call__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
        assert self.open == 0
        self.open += 1
        array = np.full(shape, 77, dtype)
        self.lent.append(array)
        try:
            yield array
        finally:
            self.open -= 1


class Bench:
    """One synthetic sensor on a clock that stands still until the driver waits."""

    def __init__(self, kind: str, topic: str = "", **options: Any) -> None:
        self.clock = SettableClock(START_NS)
        self.loans = Loans()
        self.port = DriverPort(topic or TOPICS[kind], self.clock, self.loans, Counter())
        driver = find_driver("synthetic", kind)
        entry = {"driver": "synthetic", **options}
        self.messages = driver.open(msgspec.convert(entry, driver.options), self.port)

    def take(self, count: int) -> list[Any]:
        with self.messages as messages:
            return list(itertools.islice(messages, count))


@pytest.mark.parametrize(("kind", "rate_hz"), [("camera", 30), ("lidar", 10), ("gps", 10)])
def test_messages_come_at_the_usual_rate(kind: str, rate_hz: int) -> None:
    stamps = [message.stamp_ns for message in Bench(kind).take(rate_hz + 1)]
    assert stamps[-1] - stamps[0] == NS_PER_S


def test_pacing_never_drifts() -> None:
    fixes = Bench("gps", rate_hz=3).take(301)
    assert fixes[-1].stamp_ns == START_NS + round(301 * NS_PER_S / 3)


@pytest.mark.parametrize("kind", TOPICS)
def test_every_message_is_valid(kind: str) -> None:
    assert [message.problem() for message in Bench(kind).take(3)] == [None] * 3


@pytest.mark.parametrize("kind", ["camera", "lidar", "gps"])
def test_a_slow_sensor_comes_up_for_air_at_the_read_deadline(kind: str) -> None:
    bench = Bench(kind, rate_hz=0.5)
    assert [message is None for message in bench.take(8)] == [True, True, True, False] * 2
    assert bench.clock.now_ns() == START_NS + 4 * NS_PER_S


def test_the_longest_chunk_there_is_just_meets_the_read_deadline() -> None:
    assert None not in Bench("audio", chunk_ms=500).take(3)


def test_a_driver_that_was_held_up_skips_what_it_missed_and_counts_it() -> None:
    bench = Bench("gps")
    with bench.messages as fixes:
        next(fixes)
        bench.clock.advance_ns(NS_PER_S)
        late, on_time = next(fixes), next(fixes)
    assert isinstance(late, GpsFix)
    assert isinstance(on_time, GpsFix)
    assert late.stamp_ns == START_NS + NS_PER_S + 100 * NS_PER_MS
    assert on_time.stamp_ns == late.stamp_ns + 100 * NS_PER_MS
    assert bench.port.counters["skipped"] == 9


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [
        ("bgr8", (48, 64, 3)),
        ("rgb8", (48, 64, 3)),
        ("mono8", (48, 64)),
        ("nv12", (72, 64)),
        ("yuyv", (48, 64, 2)),
    ],
)
def test_a_frame_is_written_into_the_loan(encoding: str, shape: tuple[int, ...]) -> None:
    bench = Bench("camera", encoding=encoding, width=64, height=48)
    with bench.messages as frames:
        frame = next(frames)
        assert isinstance(frame, CameraFrame)
        assert frame.image is bench.loans.lent[0]
        assert bench.loans.open == 1
        assert frame.image.shape == shape
        assert frame.problem() is None
    assert bench.loans.open == 0


def test_a_frame_is_stamped_in_the_middle_of_its_exposure() -> None:
    bench = Bench("camera", rate_hz=10, exposure_ms=8, width=64, height=32)
    (frame,) = bench.take(1)
    assert frame.exposure_ns == 8 * NS_PER_MS
    assert frame.stamp_ns == bench.clock.now_ns() - 4 * NS_PER_MS


def test_no_two_frames_are_alike_though_the_scene_comes_round() -> None:
    frames = Bench("camera", encoding="mono8", width=64, height=32).take(200)
    assert len({frame.image.tobytes() for frame in frames}) == 200


def test_a_frame_carries_its_number_in_bars() -> None:
    frame = Bench("camera", encoding="mono8", width=64, height=32).take(5)[-1]
    bits = frame.image[8, 1::2] // 255
    assert int("".join(map(str, bits)), 2) == 5


def test_the_scene_scrolls() -> None:
    options = {"encoding": "mono8", "width": 256, "height": 64}
    first, second = (frame.image[32:] & 0xF8 for frame in Bench("camera", **options).take(2))
    assert np.array_equal(first[:, 4:], second[:, :-4])


def test_colours_agree_between_encodings() -> None:
    def upper_rows(encoding: str) -> npt.NDArray[np.int16]:
        (frame,) = Bench("camera", encoding=encoding, width=64, height=64).take(1)
        return frame.image.astype(np.int16)

    bgr, yuyv, nv12 = upper_rows("bgr8"), upper_rows("yuyv"), upper_rows("nv12")
    blue, green, red = np.moveaxis(bgr[32:64], -1, 0)
    luma = 0.114 * blue + 0.587 * green + 0.299 * red
    noise = 14  # 3 bits of noise on each side
    assert np.abs(yuyv[32:64, :, 0] - luma).max() <= noise
    assert np.abs(nv12[32:64] - luma).max() <= noise
    assert np.abs(yuyv[32:64, ::2, 1] - (128 + 0.564 * (blue - luma))[:, ::2]).max() <= noise
    assert np.abs(yuyv[32:64, 1::2, 1] - (128 + 0.713 * (red - luma))[:, ::2]).max() <= noise
    assert np.abs(nv12[80:96, ::2] - (128 + 0.564 * (blue - luma))[::2, ::2]).max() <= noise


def test_a_sweep_is_written_into_the_loan_in_firing_order() -> None:
    bench = Bench("lidar")
    (sweep,) = bench.take(1)
    assert isinstance(sweep, LidarSweep)
    assert sweep.points is bench.loans.lent[0]
    assert sweep.points.shape == (65_536, 5)
    dt_s = sweep.points[:, 4]
    assert (np.diff(dt_s) >= 0).all()
    assert dt_s[-1] == 0
    assert dt_s[0] == pytest.approx(-0.1, abs=1e-3)
    assert sweep.stamp_ns == bench.clock.now_ns()


def test_each_ring_of_a_sweep_is_a_cone() -> None:
    (sweep,) = Bench("lidar", points=3600, rings=10).take(1)
    assert sweep.ring is not None
    x, y, z = sweep.points[sweep.ring == 9, :3].T
    elevation_deg = np.degrees(np.arctan2(z, np.hypot(x, y)))
    np.testing.assert_allclose(elevation_deg, 15, atol=0.01)
    assert (sweep.points[:, 3] >= 0).all()
    assert (sweep.points[:, 3] <= 1).all()


def test_the_post_goes_round() -> None:
    def post_deg(sweep: LidarSweep) -> float:
        level = sweep.points[sweep.ring == 63]  # looks up, above the ground
        post = level[np.hypot(level[:, 0], level[:, 1]) < 15]
        return float(np.degrees(np.arctan2(post[:, 1].mean(), post[:, 0].mean())))

    with Bench("lidar").messages as sweeps:
        first, second = (post_deg(sweep) for sweep in itertools.islice(sweeps, 2))
    assert second - first == pytest.approx(360 / 20, abs=1)


def test_chunks_join_without_a_seam() -> None:
    bench = Bench("audio", tone_hz=1000)
    chunks = bench.take(50)
    assert [chunk.first_sample for chunk in chunks] == [320 * n for n in range(50)]
    sound = np.concatenate([chunk.samples for chunk in chunks]).astype(float)
    spectrum = np.abs(np.fft.rfft(sound[:, 0] * np.hanning(len(sound))))
    assert spectrum.argmax() == 1000
    assert np.sort(spectrum)[-4] < spectrum.max() / 50  # the window spreads a tone over three


def test_a_chunk_is_stamped_at_its_first_sample() -> None:
    bench = Bench("audio", chunk_ms=20)
    (chunk,) = bench.take(1)
    assert isinstance(chunk, AudioChunk)
    assert chunk.samples.shape == (320, 4)
    assert chunk.stamp_ns == bench.clock.now_ns() - 20 * NS_PER_MS


def test_chunks_that_were_missed_leave_a_hole_in_the_count() -> None:
    bench = Bench("audio")
    with bench.messages as chunks:
        first = next(chunks)
        bench.clock.advance_ns(100 * NS_PER_MS)
        later = next(chunks)
    assert isinstance(first, AudioChunk)
    assert isinstance(later, AudioChunk)
    assert later.first_sample == 5 * 320
    assert later.stamp_ns - first.stamp_ns == 5 * 20 * NS_PER_MS


def test_the_gps_drives_a_circle_at_the_stated_speed() -> None:
    fixes = Bench("gps", radius_m=50, speed_mps=10).take(315)  # once round: 31.4 s
    metres_per_deg = 111_319.49
    north_m = (np.array([fix.latitude_deg for fix in fixes]) - 48.1374) * metres_per_deg
    east_m = (np.array([fix.longitude_deg for fix in fixes]) - 11.5755) * metres_per_deg
    east_m *= np.cos(np.radians(48.1374))
    assert np.hypot(east_m, north_m).mean() == pytest.approx(50, abs=0.2)
    driven_deg = np.degrees(np.arctan2(np.diff(east_m[::50]), np.diff(north_m[::50])))
    middle_deg = [fix.course_deg for fix in fixes[25:300:50]]
    assert np.abs((driven_deg - middle_deg + 180) % 360 - 180).max() < 5
    assert {fix.fix for fix in fixes} == {"3d"}


@pytest.mark.parametrize("kind", TOPICS)
def test_the_seed_decides_the_noise_and_so_does_the_topic(kind: str) -> None:
    def content(topic: str, seed: int) -> bytes:
        (message,) = Bench(kind, topic, seed=seed).take(1)
        return msgspec.msgpack.encode(message, enc_hook=lambda array: array.tobytes())

    assert content(f"{kind}/a", 1) == content(f"{kind}/a", 1)
    assert content(f"{kind}/a", 1) != content(f"{kind}/a", 2)
    assert content(f"{kind}/a", 1) != content(f"{kind}/b", 1)


@pytest.mark.parametrize("kind", TOPICS)
def test_the_stated_bandwidth_is_that_of_the_arrays(kind: str) -> None:
    driver = find_driver("synthetic", kind)
    options = msgspec.convert({"driver": "synthetic"}, driver.options)
    (message,) = Bench(kind).take(1)
    values = [getattr(message, name) for name in message.__struct_fields__]
    assert options.payload_bytes() == sum(v.nbytes for v in values if isinstance(v, np.ndarray))


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("camera", {"width": 641}, "expected even width >= 32 and even height, got 641x720"),
        ("camera", {"width": 16}, "expected even width >= 32 and even height, got 16x720"),
        ("camera", {"exposure_ms": 40}, "expected exposure_ms <= 33.3333 ms, one period of 30 Hz"),
        ("camera", {"rate_hz": 100, "exposure_ms": 11}, "<= 10 ms, one period of 100 Hz, got 11"),
        ("lidar", {"points": 65_000}, "expected points in whole columns of 64 rings, got 65000"),
        ("audio", {"sample_rate_hz": 11_025}, "expected chunk_ms of whole samples, got 220.5"),
        ("audio", {"tone_hz": 9000}, "expected tone_hz <= 8000 Hz, half the sample rate, got 9000"),
        ("audio", {"rate_hz": 30}, "expected rate_hz 50, which chunk_ms settles, or none, got 30"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    kind: str, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        Bench(kind, **options)
