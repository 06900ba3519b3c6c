import datetime

import numpy as np
import pytest

from fusion_rt.calibrate.time_offset import Signal, estimate_offset, signal_from_events
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import CalibrationError
from tests.calibrate.real_data import recording

SECOND = NS_PER_S


def turn_rate(t_s, seed: int = 0):
    rng = np.random.default_rng(seed)
    waves = zip(
        rng.uniform(0.03, 0.8, 25), rng.uniform(0.2, 1, 25), rng.uniform(0, 6, 25), strict=True
    )
    return sum(height * np.sin(2 * np.pi * hz * t_s + phase) for hz, height, phase in waves)


def recorded(name: str, rate_hz: float, late_ms: float = 0.0, drift_ppm: float = 0.0, *,
             seconds: float = 60, noise: float = 0.1, seed: int = 0) -> Signal:  # fmt: skip
    rng = np.random.default_rng(seed)
    t_s = np.arange(0.013 * seed, seconds, 1 / rate_hz)
    stamps_s = t_s + late_ms / 1e3 + drift_ppm * 1e-6 * (t_s - seconds / 2)
    values = 3 * turn_rate(t_s) + 1 + rng.normal(0, noise, len(t_s))
    return Signal(name=name, stamps_ns=(stamps_s * SECOND).astype(np.int64), values=values)


@pytest.mark.parametrize("late_ms", [5, 20, 100, 200, 300, -150])
@pytest.mark.parametrize("rates_hz", [(100, 10), (10, 30), (10, 10)])
def test_injected_offsets_are_found_within_5_ms(late_ms: int, rates_hz: tuple[int, int]) -> None:
    reference = recorded("imu", rates_hz[0])
    late = recorded("camera", rates_hz[1], late_ms, noise=0.3, seed=1)
    found = estimate_offset(reference, late, SECOND)
    assert found.offset_ns / NS_PER_MS == pytest.approx(late_ms, abs=5)
    assert found.offset_sd_ns < 10 * NS_PER_MS
    assert found.correlation > 0.9


def test_drift_is_told_from_offset() -> None:
    late = recorded("b", 10, 100, 200, seconds=300, seed=1)
    found = estimate_offset(recorded("a", 50, seconds=300), late, SECOND)
    assert found.drift_ppm == pytest.approx(200, abs=30)
    assert found.offset_ns / NS_PER_MS == pytest.approx(100, abs=5)


def test_gaps_count_for_nothing() -> None:
    late = recorded("b", 20, 80, seed=1)
    kept = (late.stamps_ns < 15 * SECOND) | (late.stamps_ns > 25 * SECOND)
    gappy = Signal(name="b", stamps_ns=late.stamps_ns[kept], values=late.values[kept])
    found = estimate_offset(recorded("a", 20), gappy, SECOND)
    assert found.offset_ns / NS_PER_MS == pytest.approx(80, abs=5)


def test_events_of_two_sensors_are_matched() -> None:
    claps = np.cumsum(np.random.default_rng(0).uniform(0.4, 2.5, 20)) * SECOND
    a = signal_from_events("microphone", claps.astype(np.int64))
    b = signal_from_events("camera", claps.astype(np.int64) + 200 * NS_PER_MS)
    assert estimate_offset(a, b, SECOND).offset_ns / NS_PER_MS == pytest.approx(200, abs=5)


def test_an_integrated_signal_is_compared_by_its_rate() -> None:
    t_s = np.arange(0, 60, 0.05)
    yaw = np.cumsum(turn_rate(t_s)) * 0.05
    heading = Signal(name="gps", stamps_ns=((t_s + 0.12) * SECOND).astype(np.int64), values=yaw)
    found = estimate_offset(recorded("imu", 50), heading.rate(), SECOND)
    assert found.offset_ns / NS_PER_MS == pytest.approx(120, abs=30)


def flat(values) -> Signal:
    stamps = np.arange(len(values)) * NS_PER_S // 10
    return Signal(
        name="x", stamps_ns=stamps.astype(np.int64), values=np.asarray(values, dtype=float)
    )


@pytest.mark.parametrize("values", [np.ones(300), np.random.default_rng(0).normal(size=300)])
def test_standing_still_is_refused(values) -> None:
    with pytest.raises(CalibrationError, match="expected motion or events, got a signal that is"):
        estimate_offset(flat(values), recorded("b", 10), SECOND)


def test_motion_that_repeats_itself_is_refused() -> None:
    wave = flat(np.sin(np.arange(600) / 10 * 2 * np.pi / 0.8))
    with pytest.raises(CalibrationError, match="got another as good"):
        estimate_offset(wave, wave, 2 * SECOND)


def test_signals_of_other_motions_are_refused() -> None:
    other = flat(turn_rate(np.arange(0, 60, 0.1), seed=5))
    with pytest.raises(CalibrationError, match=r"expected a correlation of 0.5, got 0\.\d\d"):
        estimate_offset(recorded("a", 10), other, SECOND // 2)


def test_an_offset_beyond_the_limit_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"(below 0.\d+ s, got more|expected a correlation)"):
        estimate_offset(recorded("a", 20), recorded("b", 20, 400, seed=1), 300 * NS_PER_MS)


def test_recordings_of_other_times_are_refused() -> None:
    late = recorded("b", 10)
    moved = Signal(name="b", stamps_ns=late.stamps_ns + 100 * SECOND, values=late.values)
    with pytest.raises(CalibrationError, match="s of motion both have seen, got less"):
        estimate_offset(recorded("a", 10), moved, SECOND)
    away = Signal(name="b", stamps_ns=late.stamps_ns + 10**7 * SECOND, values=late.values)
    with pytest.raises(CalibrationError, match="expected recordings of one time"):
        estimate_offset(recorded("a", 10), away, SECOND)


@pytest.mark.parametrize(
    ("stamps", "values", "words"),
    [
        ([0, 1], [0.0], "expected as many stamps as values"),
        (range(5), range(5), "expected 20 samples, got 5"),
        ([0] * 30, range(30), "expected increasing stamps"),
        (range(30), [np.nan] * 30, "finite values"),
    ],
)
def test_damaged_signals_are_refused(stamps, values, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        Signal(
            name="x",
            stamps_ns=np.array(list(stamps), dtype=np.int64),
            values=np.array(list(values), dtype=float),
        )


def test_events_over_too_long_a_time_are_refused() -> None:
    with pytest.raises(CalibrationError, match="expected events within"):
        signal_from_events("x", np.array([0, 10**5 * SECOND]))


def yaw_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    stamps, yaw = [], []
    for line in recording(f"lidar_ins_sequence/{name}").read_text().splitlines():
        day, *numbers = line.split()
        *calendar, ms = (int(part) for part in day.split("-"))
        at = datetime.datetime(*calendar, tzinfo=datetime.timezone.utc).timestamp()  # type: ignore[arg-type, misc]
        stamps.append(int(at) * NS_PER_S + ms * NS_PER_MS)
        pose = np.array(numbers, dtype=float).reshape(3, 4)
        yaw.append(np.arctan2(pose[1, 0], pose[0, 0]))
    return np.array(stamps), np.unwrap(yaw)


@pytest.mark.parametrize("late_ms", [5, 20, 100, 200, 300])
def test_offsets_injected_into_a_real_drive_are_found_within_a_period(late_ms: int) -> None:
    stamps, yaw = yaw_of("top_center_lidar-enu.txt")
    other_stamps, other_yaw = yaw_of("NovAtel-pose-lidar-time.txt")
    reference = Signal(name="lidar", stamps_ns=stamps, values=yaw).rate()
    seldom = slice(1, None, 3)  # another rate, other instants
    late = Signal(
        name="ins",
        stamps_ns=other_stamps[seldom] + late_ms * NS_PER_MS,
        values=other_yaw[seldom],
    ).rate()
    found = estimate_offset(reference, late, SECOND)
    assert found.offset_ns / NS_PER_MS == pytest.approx(late_ms, abs=100)
