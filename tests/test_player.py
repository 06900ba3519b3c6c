import itertools

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.drivers.player import DRIVERS
from fusion_rt.drivers.port import DriverPort
from fusion_rt.errors import DriverError, RecordingError
from fusion_rt.messages import AudioChunk, CameraFrame, LidarSweep
from fusion_rt.played import PlayedFile, write_played
from tests.latency.samples import START_NS

LOOP_NS = 400 * NS_PER_MS
LAG_NS = 7 * NS_PER_MS


def frames():
    for number in range(4):
        sent_ns = number * 100 * NS_PER_MS + 10 * NS_PER_MS
        image = np.full((2, 3, 3), number, np.uint8)
        yield (
            sent_ns,
            CameraFrame(stamp_ns=sent_ns - LAG_NS, encoding="bgr8", width=3, height=2, image=image),
        )


def chunks():
    for number in range(4):
        samples = np.full((160, 2), number, np.int16)
        sent_ns = number * 100 * NS_PER_MS
        yield (
            sent_ns,
            AudioChunk(
                stamp_ns=sent_ns, samples=samples, rate_hz=16_000, first_sample=160 * number
            ),
        )


@pytest.fixture
def camera(tmp_path):
    write_played(tmp_path / "camera", "camera/front", 10, LOOP_NS, frames())
    return tmp_path / "camera"


def play(path, topic, count, *, speed=1.0, late_ns=0):
    """So many messages, with the times they came at after the start."""
    clock = SettableClock(START_NS + late_ns)
    lent = []

    def loan(shape, dtype):
        lent.append(np.empty(shape, dtype))
        return _Given(lent[-1])

    counters = {"skipped": 0}
    port = DriverPort(
        topic=topic, clock=clock, loan=loan, counters=counters, session_start_ns=START_NS
    )
    driver = DRIVERS[topic.partition("/")[0]]
    options = driver.options(driver="player", file=str(path), speed=speed)
    with driver.open(options, port) as messages:
        come = (message for message in messages if message is not None)
        got = [(clock.now_ns() - START_NS, m) for m in itertools.islice(come, count)]
    return got, lent, counters


class _Given:
    def __init__(self, array):
        self.array = array

    def __enter__(self):
        return self.array

    def __exit__(self, *_):
        pass


def test_messages_come_at_their_pace_loop_after_loop_with_their_lag(camera):
    got, lent, _ = play(camera, "camera/front", 9)
    assert [at // NS_PER_MS for at, _ in got] == [10 + 100 * n for n in range(9)]
    assert [message.image[0, 0, 0] for _, message in got] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert {at + START_NS - message.stamp_ns for at, message in got} == {LAG_NS}
    assert all(message.image is array for (_, message), array in zip(got, lent, strict=True))


def test_faster_is_at_a_higher_rate_with_the_same_lag(camera):
    got, _, _ = play(camera, "camera/front", 9, speed=2.0)
    assert [at // NS_PER_MS for at, _ in got] == [5 + 50 * n for n in range(9)]
    assert {at + START_NS - message.stamp_ns for at, message in got} == {LAG_NS}


def test_a_node_that_starts_later_joins_in(camera):
    got, _, counters = play(camera, "camera/front", 2, late_ns=NS_PER_S)
    assert [at // NS_PER_MS for at, _ in got] == [1010, 1110]
    assert counters["skipped"] == 2


def test_sound_goes_on_counting_its_samples(tmp_path):
    write_played(tmp_path / "audio", "audio/array", 10, LOOP_NS, chunks())
    got, _, _ = play(tmp_path / "audio", "audio/array", 6)
    assert [message.first_sample for _, message in got] == [160 * n for n in range(6)]


def test_every_array_comes_back_as_it_was(tmp_path):
    points = np.random.default_rng(0).random((7, 5), np.float32)
    sweep = LidarSweep(stamp_ns=5, points=points, ring=np.arange(7, dtype=np.uint16))
    write_played(tmp_path / "lidar", "lidar/top", 10, LOOP_NS, [(9, sweep)])
    file = PlayedFile(tmp_path / "lidar")
    back = file.message(file.index.entries[0])
    assert np.array_equal(back.points, sweep.points)
    assert np.array_equal(back.ring, sweep.ring)
    assert back.stamp_ns == 5


def test_messages_of_another_kind_of_sensor_are_refused(camera):
    with pytest.raises(DriverError, match="expected messages of lidar/top, got camera/front"):
        play(camera, "lidar/top", 1)


def test_what_is_no_such_file_is_refused(tmp_path, camera):
    with pytest.raises(RecordingError, match="No such file"):
        PlayedFile(tmp_path / "nothing")
    (tmp_path / "other").write_bytes(b"x" * 100)
    with pytest.raises(RecordingError, match="expected messages to play, got another file"):
        PlayedFile(tmp_path / "other")
    camera.write_bytes(camera.read_bytes()[:-20])
    with pytest.raises(RecordingError, match="its index is damaged"):
        PlayedFile(camera)
