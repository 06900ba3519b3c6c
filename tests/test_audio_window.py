"""Audio cut to the sample, and the sample counter as a clock."""

import random

import numpy as np
import pytest

from fusion_rt.sync.audio_window import Chunk, SampleClock, cut_window

S = 1_000_000_000
T0 = 1_700_000_000 * S
RATE_HZ = 16_000


def chunk(first: int, frames: int = 320, channels: int = 2) -> Chunk:
    ramp = np.arange(first, first + frames, dtype=np.float32)
    return Chunk(0, first, np.stack([ramp] * channels, axis=1))


def test_a_window_across_chunks_is_cut_to_the_sample():
    window = cut_window([chunk(0), chunk(320), chunk(640)], first_sample=101, frames=700)
    assert window.samples.shape == (700, 2)
    assert np.array_equal(window.samples[:, 1], np.arange(101, 801))
    assert window.is_real.all()


def test_holes_are_zero_and_marked():
    window = cut_window([chunk(0), chunk(640)], first_sample=300, frames=400)
    assert np.array_equal(np.flatnonzero(window.is_real), [*range(20), *range(340, 400)])
    assert not window.samples[20:340].any()


def test_repeated_and_overlapping_chunks_change_nothing():
    once = cut_window([chunk(0), chunk(320)], 0, 640)
    more = cut_window([chunk(0), chunk(160), chunk(320), chunk(0)], 0, 640)
    assert np.array_equal(once.samples, more.samples)


def test_no_chunks_make_a_window_of_nothing():
    window = cut_window([], 0, 10)
    assert window.samples.shape == (10, 0)
    assert not window.is_real.any()


@pytest.mark.parametrize("ppm", [-200, 0, 80])
def test_the_sample_clock_sees_through_late_stamps_and_a_wrong_rate(ppm):
    rng = random.Random(ppm)
    true_ns = [T0 + round(k * 320 * S / RATE_HZ / (1 + ppm * 1e-6)) for k in range(3000)]
    clock = SampleClock(RATE_HZ, 0, true_ns[0])
    for k in range(1, 3000):
        clock.observe(k * 320, true_ns[k] + round(rng.expovariate(1 / 3e6)))
    assert clock.time_ns(2999 * 320) == pytest.approx(true_ns[-1], abs=0.3e6)
    assert clock.sample_at(clock.time_ns(123_456)) == 123_456


def test_a_device_that_begins_anew_is_followed():
    clock = SampleClock(RATE_HZ, 0, T0)
    for k in range(1, 100):
        clock.observe(k * 320, T0 + k * S // 50)
    clock.observe(0, T0 + 10 * S)
    assert clock.time_ns(160) == T0 + 10 * S + S // 100


def test_a_stepped_clock_is_followed():
    clock = SampleClock(RATE_HZ, 0, T0)
    clock.observe(320, T0 + S // 50 - 60 * S)
    assert clock.time_ns(320) == T0 + S // 50 - 60 * S
