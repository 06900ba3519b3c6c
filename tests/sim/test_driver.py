import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("embreex", reason="the extra sim is not installed")
pytest.importorskip("cv2", reason="the extra sim is not installed")

from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import DriverError
from fusion_rt.messages import AudioChunk, CameraFrame, LidarSweep, Message
from fusion_rt.topics import KINDS

START_NS = 1_700_000_000 * NS_PER_S
TOPICS = {
    "camera": "camera/front",
    "lidar": "lidar/top",
    "audio": "audio/array",
    "gps": "gps/main",
}


@contextlib.contextmanager
def lend(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    yield np.full(shape, 77, dtype)


def take(
    kind: str, calibration: Path | None, count: int, after_s: float = 0, **options: Any
) -> tuple[list[Message | None], list[int], Counter[str]]:
    """Messages of a driver opened so long after the session started, and when each came."""
    clock = SettableClock(START_NS + round(after_s * NS_PER_S))
    port = DriverPort(TOPICS[kind], clock, lend, Counter(), START_NS, calibration)
    driver = find_driver("sim", kind)
    entry = msgspec.convert({"driver": "sim", **options}, driver.options)
    with driver.open(entry, port) as messages:
        taken = [(message, clock.now_ns()) for message in itertools.islice(messages, count)]
    return [message for message, _ in taken], [now_ns for _, now_ns in taken], port.counters


@pytest.fixture
def calibration() -> Path:
    return Path(__file__).parents[2] / "calibration" / "rigs" / "demo.calibration.yaml"


def content(message: Message | None) -> bytes:
    if isinstance(message, CameraFrame):
        return message.image.tobytes()
    if isinstance(message, LidarSweep):
        return message.points.tobytes()
    if isinstance(message, AudioChunk):
        return message.samples.tobytes()
    return msgspec.msgpack.encode(message)


@pytest.mark.parametrize("kind", TOPICS)
def test_every_message_is_valid_and_comes_after_it_was_measured(
    kind: str, calibration: Path
) -> None:
    messages, times, counters = take(kind, calibration, 5)
    assert [message and message.problem() for message in messages] == [None] * 5
    for message, now_ns in zip(messages, times, strict=True):
        assert message is not None
        assert 0 < now_ns - message.stamp_ns < KINDS[kind].max_age_ns
    assert counters["skipped"] == 0


@pytest.mark.parametrize("kind", TOPICS)
def test_rates_are_those_of_the_kind(kind: str, calibration: Path) -> None:
    count = round(KINDS[kind].rate_hz / 2) + 1
    messages, _, _ = take(kind, calibration, count)
    stamps = [message.stamp_ns for message in messages if message is not None]
    rate_hz = (len(stamps) - 1) / (stamps[-1] - stamps[0]) * NS_PER_S
    assert rate_hz == pytest.approx(KINDS[kind].rate_hz, rel=0.01)


@pytest.mark.parametrize("kind", TOPICS)
def test_a_driver_started_again_carries_on_in_the_same_world(kind: str, calibration: Path) -> None:
    from_start, _, _ = take(kind, calibration, round(KINDS[kind].rate_hz))
    (again, *_), _, _ = take(kind, calibration, 1, after_s=0.5)
    assert again is not None
    same = [message for message in from_start if message and message.stamp_ns == again.stamp_ns]
    assert len(same) == 1
    assert content(same[0]) == content(again)


def test_the_drive_begins_anew_after_its_loop(calibration: Path) -> None:
    loop_ns = 600 * NS_PER_S
    (first, *_), _, _ = take("gps", calibration, 3)
    (again, *_), _, _ = take("gps", calibration, 3, after_s=600)
    assert first is not None
    assert again is not None
    assert again.stamp_ns - first.stamp_ns == loop_ns
    assert content(msgspec.structs.replace(again, stamp_ns=first.stamp_ns)) == content(first)


def test_a_slow_sensor_comes_up_for_air_at_the_read_deadline(calibration: Path) -> None:
    messages, _, _ = take("gps", calibration, 6, rate_hz=0.5)
    assert [message is None for message in messages[:3]] == [True, True, True]
    assert any(message is not None for message in messages)


def test_a_driver_held_up_skips_what_is_past(calibration: Path) -> None:
    clock = SettableClock(START_NS)
    port = DriverPort("gps/main", clock, lend, Counter(), START_NS, calibration)
    driver = find_driver("sim", "gps")
    with driver.open(msgspec.convert({"driver": "sim"}, driver.options), port) as messages:
        next(iter(messages))
        clock.advance_ns(550 * NS_PER_MS)
        late = next(iter(messages))
    assert port.counters["skipped"] in (4, 5)
    assert late is not None


def test_without_a_calibration_it_says_so() -> None:
    with pytest.raises(DriverError, match='driver "sim": expected a calibration, got none'):
        take("gps", None, 1)


def test_an_odd_chunk_is_refused() -> None:
    options = find_driver("sim", "audio").options
    with pytest.raises(
        msgspec.ValidationError, match="expected whole samples per chunk, got 11025 Hz"
    ):
        msgspec.convert({"driver": "sim", "sample_rate_hz": 11_025, "chunk_ms": 5}, options)
