from collections import Counter

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.device_clock import CLOCK_DISAGREES, CLOCK_JUMPS, ClockSource, DeviceClock

HOUR_NS = 3600 * NS_PER_S
OFFSET_NS = 1_700_000_000 * NS_PER_S
SWEEP_NS = 100 * NS_PER_MS


def observe(
    clock: DeviceClock, first_ns: int, *, late_ns: list[int], offset_ns: int = OFFSET_NS
) -> int:
    """Packets a millisecond apart, each `late_ns` late; the device time of the last one."""
    sent_ns = first_ns + np.arange(len(late_ns)) * NS_PER_MS
    clock.observe(sent_ns % HOUR_NS, sent_ns + offset_ns + np.array(late_ns))
    return int(sent_ns[-1])


def follower(source: ClockSource = "receipt") -> tuple[DeviceClock, Counter[str]]:
    counters: Counter[str] = Counter()
    return DeviceClock(HOUR_NS, source, counters), counters


def test_jitter_of_receipt_does_not_reach_the_stamp() -> None:
    clock, _ = follower()
    rng = np.random.default_rng(1)
    for n in range(50):
        late_ns = rng.exponential(2 * NS_PER_MS, 75).astype(int) + 50_000
        end_ns = observe(clock, n * SWEEP_NS, late_ns=late_ns.tolist())
        recv_ns = end_ns + OFFSET_NS + int(late_ns[-1])
        error_ns = clock.rig_ns(end_ns, recv_ns) - (end_ns + OFFSET_NS)
        assert 0 <= error_ns <= 1 * NS_PER_MS
    assert error_ns < 200_000


def test_the_hour_may_turn() -> None:
    clock, counters = follower()
    for n in range(20):
        end_ns = observe(clock, HOUR_NS - NS_PER_S + n * SWEEP_NS, late_ns=[50_000] * 75)
        stamp_ns = clock.rig_ns(end_ns % HOUR_NS, end_ns + OFFSET_NS + 50_000)
        assert stamp_ns == end_ns + OFFSET_NS + 50_000
    assert not counters[CLOCK_JUMPS]


def test_a_clock_that_is_set_is_followed_and_counted_once() -> None:
    clock, counters = follower()
    observe(clock, 0, late_ns=[0] * 75)
    for n in range(1, 4):
        later_ns = OFFSET_NS - 7 * NS_PER_S
        end_ns = observe(clock, n * SWEEP_NS, late_ns=[0] * 75, offset_ns=later_ns)
        assert clock.rig_ns(end_ns, end_ns + later_ns) == end_ns + later_ns
    assert counters[CLOCK_JUMPS] == 1


@pytest.mark.parametrize("drift", [100e-6, -100e-6])
def test_drift_is_followed(drift: float) -> None:
    clock, counters = follower()
    for n in range(1200):
        offset_ns = OFFSET_NS + round(n * SWEEP_NS * drift)
        end_ns = observe(clock, n * SWEEP_NS, late_ns=[50_000] * 20, offset_ns=offset_ns)
        stamp_ns = clock.rig_ns(end_ns, end_ns + offset_ns + 50_000)
        assert abs(stamp_ns - end_ns - offset_ns - 50_000) < 1.1 * NS_PER_MS
    assert not counters[CLOCK_JUMPS]


def test_one_packet_from_another_time_moves_nothing() -> None:
    clock, counters = follower()
    observe(clock, 0, late_ns=[0] * 75)
    end_ns = observe(clock, SWEEP_NS, late_ns=[0] * 40 + [-90 * NS_PER_S] + [0] * 34)
    assert clock.rig_ns(end_ns, end_ns + OFFSET_NS) == end_ns + OFFSET_NS
    assert not counters[CLOCK_JUMPS]


def test_a_stamp_is_never_later_than_receipt_nor_a_second_earlier() -> None:
    clock, _ = follower()
    end_ns = observe(clock, 0, late_ns=[0] * 75)
    recv_ns = end_ns + OFFSET_NS
    assert clock.rig_ns(end_ns + 40 * NS_PER_MS, recv_ns) == recv_ns
    assert clock.rig_ns(end_ns - 40 * NS_PER_S, recv_ns) == recv_ns - NS_PER_S


def test_utc_of_the_device_is_taken_as_it_is() -> None:
    clock, counters = follower("utc")
    utc_ns = observe(clock, OFFSET_NS, late_ns=[3 * NS_PER_MS] * 75, offset_ns=0)
    assert clock.rig_ns(utc_ns % HOUR_NS, utc_ns + 3 * NS_PER_MS) == utc_ns
    assert not counters[CLOCK_DISAGREES]


def test_utc_that_is_off_gives_way_to_receipt_and_is_counted() -> None:
    clock, counters = follower("utc")
    tai_ns = observe(clock, OFFSET_NS + 37 * NS_PER_S, late_ns=[0] * 75, offset_ns=-37 * NS_PER_S)
    recv_ns = tai_ns - 37 * NS_PER_S
    assert clock.rig_ns(tai_ns % HOUR_NS, recv_ns) == recv_ns
    assert counters[CLOCK_DISAGREES] == 1
