import random
from collections import Counter

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sound.sample_clock import CLOCK_JUMPS, HOLES, SampleClock

RATE_HZ = 48_000
BLOCK = 960
BLOCK_NS = BLOCK * NS_PER_S // RATE_HZ
START_NS = 1_700_000_000 * NS_PER_S


class Card:
    """A sound card with a drift, told of at times that jitter."""

    def __init__(self, drift_ppm: float = 0, jitter_ms: float = 0) -> None:
        self.counters: Counter[str] = Counter()
        self.clock = SampleClock(RATE_HZ, self.counters)
        self.block_ns = BLOCK_NS * (1 + drift_ppm * 1e-6)
        self.jitter_ms = jitter_ms
        self.random = random.Random(5)
        self.sample = 0
        self.true_ns = 0.0  # since START_NS: a float of today's time counts by 256 ns

    def run(self, seconds: float) -> list[float]:
        """By how many ms the stamp of each block is off."""
        return [self.block() for _ in range(round(seconds * NS_PER_S / BLOCK_NS))]

    def block(self, *, is_hole: bool = False, late_ms: float = 0) -> float:
        told_ms = self.random.gauss(0, self.jitter_ms) + late_ms
        told_ns = START_NS + round(self.true_ns + told_ms * NS_PER_MS)
        self.sample += self.clock.observe(self.sample, told_ns, is_hole=is_hole)
        error_ms = (self.clock.time_ns(self.sample) - START_NS - self.true_ns) / NS_PER_MS
        self.sample += BLOCK
        self.true_ns += self.block_ns
        return error_ms


def test_stamps_are_evener_than_the_times_they_are_made_of() -> None:
    card = Card(jitter_ms=2)
    card.run(30)
    assert max(map(abs, card.run(30))) < 0.5


@pytest.mark.parametrize("drift_ppm", [-80, 0, 35, 120])
def test_drift_is_found_within_its_uncertainty(drift_ppm: float) -> None:
    card = Card(drift_ppm, jitter_ms=2)
    card.run(100)
    drift = card.clock.drift()
    assert drift is not None
    assert abs(drift.ppm - drift_ppm) < 4 * drift.uncertainty_ppm < 20
    assert max(map(abs, card.run(5))) < 1


def test_drift_is_unknown_at_first() -> None:
    card = Card(50)
    card.run(2)
    assert card.clock.drift() is None


def test_one_late_block_moves_nothing() -> None:
    card = Card()
    card.run(5)
    assert abs(card.block(late_ms=200)) < 0.01
    assert card.counters[HOLES] == 0


def test_samples_missing_by_the_card_s_word_are_counted_at_once() -> None:
    card = Card()
    card.run(5)
    before = card.sample
    card.true_ns += 100 * NS_PER_MS
    assert abs(card.block(is_hole=True)) < 0.1
    assert card.sample - before == BLOCK + RATE_HZ // 10
    assert card.counters[HOLES] == 1


def test_samples_missing_without_a_word_are_found_out() -> None:
    card = Card()
    card.run(5)
    before = card.sample
    card.true_ns += 100 * NS_PER_MS
    errors = card.run(0.1)
    assert max(map(abs, errors[2:])) < 0.1
    assert card.sample - before == BLOCK * 5 + RATE_HZ // 10


def test_a_step_back_of_the_card_s_time_is_an_event() -> None:
    card = Card()
    card.run(5)
    card.true_ns -= 500 * NS_PER_MS
    assert max(map(abs, card.run(1)[3:])) < 0.1
    assert card.counters[CLOCK_JUMPS] == 1


def test_times_that_do_not_fit_the_samples_at_all_do_not_run_away() -> None:
    card = Card()
    card.block_ns = BLOCK_NS / 50
    assert max(card.run(20)) < 1000
