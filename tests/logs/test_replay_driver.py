"""A log in place of a device: paced, together, from wherever the process joins."""

from collections import Counter
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_S, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.replay import DRIVERS, ENDED, SKIPPED
from fusion_rt.errors import DriverError
from fusion_rt.logs.write import LogWriter
from tests.logs.messages import fix
from tests.test_drivers_synthetic import Loans

START_NS = 5_000 * NS_PER_S


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with LogWriter(tmp_path / "a.mcap") as writer:
        for number in range(10, 40):
            writer.write(fix(number))
    return tmp_path / "a.mcap"


def port(clock: SettableClock, topic: str = "gps/main") -> DriverPort:
    return DriverPort(topic, clock, Loans(), Counter(), START_NS)


def play(log: Path, clock: SettableClock, count: int, counters: Counter[str], **options: object):
    at = DriverPort("gps/main", clock, Loans(), counters, START_NS)
    with DRIVERS["gps"].open(
        DRIVERS["gps"].options(driver="replay", log=str(log), **options), at
    ) as played:
        return [(clock.now_ns(), next(played)) for _ in range(count)]


def test_messages_come_when_they_were_sent_with_stamps_of_this_run(log: Path) -> None:
    clock = SettableClock(START_NS)
    played = play(log, clock, 30, Counter())
    for number, (_, message) in enumerate(played):
        assert message is not None
        assert message.stamp_ns == START_NS - 2 + number * NS_PER_S // 10
    assert clock.now_ns() == START_NS - 1 + 29 * NS_PER_S // 10


def test_a_process_that_joins_late_is_at_the_same_place_of_the_drive(log: Path) -> None:
    clock = SettableClock(START_NS + NS_PER_S)
    counters: Counter[str] = Counter()
    (_, first), *_ = play(log, clock, 3, counters)
    assert first is not None
    assert abs(first.stamp_ns - clock.now_ns()) < NS_PER_S // 2
    assert counters[SKIPPED] == 0


def test_at_the_end_it_says_so_and_keeps_its_read_deadlines(log: Path) -> None:
    counters: Counter[str] = Counter()
    played = play(log, SettableClock(START_NS), 33, counters)
    assert [message for _, message in played[-3:]] == [None] * 3
    assert counters[ENDED] == 1


def test_repeated_it_goes_on_without_a_step_back(log: Path) -> None:
    played = play(log, SettableClock(START_NS), 75, Counter(), repeat=True)
    stamps = [message.stamp_ns for _, message in played if message is not None]
    assert stamps == sorted(stamps)
    assert len(stamps) > 65


def test_nothing_comes_before_everybody_is_ready(log: Path, tmp_path: Path) -> None:
    clock, go = SettableClock(START_NS), tmp_path / "go"
    options = DRIVERS["gps"].options(driver="replay", log=str(log), go=str(go))
    with DRIVERS["gps"].open(options, port(clock)) as played:
        assert [next(played) for _ in range(5)] == [None] * 5
        go.write_text(str(START_NS + 10 * NS_PER_S))
        messages = [message for message in (next(played) for _ in range(40)) if message]
    assert messages[0].stamp_ns == START_NS + 10 * NS_PER_S - 2


def test_a_topic_that_is_not_in_the_log_is_said(log: Path) -> None:
    options = DRIVERS["gps"].options(driver="replay", log=str(log))
    with (
        DRIVERS["lidar"].open(options, port(SettableClock(), "lidar/top")) as played,
        pytest.raises(DriverError, match=r"expected lidar/top in .*a\.mcap; it has gps/main"),
    ):
        next(played)
