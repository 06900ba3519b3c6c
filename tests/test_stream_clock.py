"""What a stream's clock learns from stamps and arrivals."""

import random
from collections import deque

import pytest

from fusion_rt.sync.frame_set import ClockEvent
from fusion_rt.sync.stream_buffer import Sample
from fusion_rt.sync.stream_clock import StreamClock

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
PERIOD_NS = 100 * MS


class Sensor:
    """A 10 Hz sensor, 40 ms of transport, a little jitter; its stamps are off by `by_ms`."""

    def __init__(self, events: deque[ClockEvent] | None = None, **options) -> None:
        self.events = deque() if events is None else events
        settings = {"offset_ns": 0, "delay_ns": None, **options}
        self.clock = StreamClock("lidar", PERIOD_NS, events=self.events, **settings)
        self.accepted: list[Sample] = []
        self.dropped = 0

    def send(self, k: int, by_ms: float = 0, delay_ms: float = 40) -> None:
        true_ns = T0 + k * PERIOD_NS
        arrival_ns = true_ns + round((delay_ms + (k * 7 % 5) * 0.3) * MS)
        sample = Sample(true_ns + round(by_ms * MS), k, arrival_ns)
        if self.clock.lags.believes(sample.stamp_ns, sample.arrival_ns):
            self.dropped += self.clock.drop_held()
            self.accepted.append(sample)
        else:
            released, dropped = self.clock.judge(sample)
            self.dropped += dropped
            self.accepted += released

    def run(self, begin: int, end: int, by_ms: float = 0, delay_ms: float = 40) -> None:
        for k in range(begin, end):
            self.send(k, by_ms, delay_ms)


@pytest.fixture
def sensor() -> Sensor:
    return Sensor()


def test_a_steady_sensor_is_believed_and_its_lag_learned(sensor):
    sensor.run(0, 100)
    assert len(sensor.accepted) == 100
    assert sensor.clock.lags.lag_ns == pytest.approx(40.6 * MS, abs=0.5 * MS)
    assert sensor.clock.lags.least_lag_ns == pytest.approx(40 * MS, abs=0.01 * MS)
    assert sensor.clock.lags.gap_ns == PERIOD_NS
    assert sensor.clock.learned_ns == 0


@pytest.mark.parametrize("by_ms", [-60_000, -700, 700, 5000])
def test_a_step_is_sized_to_a_fraction_of_the_jitter(sensor, by_ms):
    sensor.run(0, 50)
    sensor.run(50, 60, by_ms)
    assert sensor.clock.learned_ns == pytest.approx(by_ms * MS, abs=0.1 * MS)
    assert len(sensor.accepted) == 60
    assert [event.kind for event in sensor.events] == ["stepped"]


def test_a_step_there_and_back_returns_to_exactly_nothing(sensor):
    sensor.run(0, 50)
    sensor.run(50, 100, 5000)
    sensor.run(100, 150)
    assert sensor.clock.learned_ns == 0
    assert [event.kind for event in sensor.events] == ["stepped", "returned"]


def test_lone_nonsense_is_held_then_dropped(sensor):
    sensor.run(0, 50)
    sensor.send(50, by_ms=1e9)
    assert len(sensor.clock.held) == 1
    sensor.run(51, 60)
    assert sensor.dropped == 1
    assert len(sensor.accepted) == 59
    assert not sensor.events


def test_stamps_frozen_at_zero_are_never_taken_for_a_clock(sensor):
    sensor.run(0, 50)
    for k in range(50, 70):
        sensor.clock.judge(Sample(0, k, T0 + k * PERIOD_NS))
    assert sensor.clock.learned_ns == 0
    assert not sensor.events


@pytest.mark.parametrize("ms_per_s", [-0.4, 0.1, 0.4])
def test_drift_is_followed(sensor, ms_per_s):
    for k in range(600):
        sensor.send(k, by_ms=ms_per_s * k / 10)
    assert sensor.clock.learned_ns == pytest.approx(60 * ms_per_s * MS, abs=2 * MS)


def test_a_slower_link_is_not_a_drifting_clock(sensor):
    sensor.run(0, 100)
    sensor.run(100, 300, delay_ms=80)
    assert sensor.clock.learned_ns == 0
    assert sensor.clock.lags.lag_ns == pytest.approx(80.6 * MS, abs=1 * MS)
    sensor.run(300, 400, delay_ms=40)
    assert sensor.clock.learned_ns == 0


def test_a_much_slower_link_and_back_is_not_a_step(sensor):
    sensor.run(0, 100)
    sensor.run(100, 300, delay_ms=340)
    sensor.run(300, 400, delay_ms=40)
    assert len(sensor.accepted) == 400
    assert not sensor.events


def test_a_burst_after_a_stall_is_late_not_wrong(sensor):
    sensor.run(0, 50)
    for k in range(50, 65):
        sensor.send(k, delay_ms=(65 - k) * 100 + 40)
    sensor.run(65, 100)
    assert len(sensor.accepted) == 100
    assert not sensor.events


def test_a_clock_wrong_from_the_start_is_aligned_by_the_declared_delay():
    sensor = Sensor(delay_ns=40 * MS)
    sensor.run(0, 20, by_ms=-1e9)
    assert not sensor.clock.is_trusted
    assert sensor.clock.learned_ns == pytest.approx(-1e9 * MS, abs=1 * MS)
    sensor.run(20, 40)
    assert sensor.clock.is_trusted
    assert sensor.clock.learned_ns == 0


def test_first_stamps_that_were_nonsense_are_started_over():
    sensor = Sensor()
    sensor.send(0, by_ms=1500)
    sensor.run(1, 20)
    assert sensor.clock.is_trusted
    assert sensor.clock.learned_ns == 0
    assert len(sensor.accepted) >= 19


def test_a_peers_step_is_followed_on_the_first_message():
    events: deque[ClockEvent] = deque()
    sensor = Sensor(events)
    sensor.run(0, 50)
    events.append(ClockEvent("audio", T0 + 50 * PERIOD_NS, "stepped", -3000 * MS))
    sensor.send(50, by_ms=-3000)
    assert len(sensor.accepted) == 51
    assert sensor.clock.learned_ns == -3000 * MS


def test_a_peer_wrong_from_the_start_shares_its_offset():
    events: deque[ClockEvent] = deque()
    events.append(ClockEvent("audio", T0, "aligned by arrival", -1_000_000_000 * MS))
    sensor = Sensor(events)
    sensor.send(0, by_ms=-1e9)
    assert sensor.clock.learned_ns == -1_000_000_000 * MS
    assert not sensor.clock.is_trusted


@pytest.mark.parametrize("seed", range(5))
def test_heavy_jitter_is_not_a_drift(seed):
    """The least of a few jittering lags says little: the floor must be seen before it is used."""
    rng = random.Random(seed)
    sensor = Sensor()
    for k in range(300):
        sensor.send(k, delay_ms=40 + abs(rng.gauss(0, 25)))
    assert abs(sensor.clock.learned_ns) < 3 * MS
