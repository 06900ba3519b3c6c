import itertools
import logging
import os
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort
from fusion_rt.errors import DriverError
from fusion_rt.messages import GpsFix
from fusion_rt.reconnect import RECONNECTS
from tests.gnss.ports import port
from tests.gnss.receivers import gga, pvt, rmc

pytest.importorskip("serial")
from fusion_rt.drivers import serial


class Receiver:
    """The far end of a serial line, under a name that stays when it is plugged in again."""

    def __init__(self, folder: Path) -> None:
        self.device = folder / "ttyACM0"
        self._ends: tuple[int, int] | None = None

    def plug_in(self) -> None:
        self._ends = os.openpty()
        tty.setraw(self._ends[1])
        self.device.symlink_to(os.ttyname(self._ends[1]))

    def pull_out(self) -> None:
        if self._ends is not None:
            self.device.unlink()
            for end in self._ends:
                os.close(end)
            self._ends = None

    def say(self, *sentences: bytes) -> None:
        assert self._ends is not None
        os.write(self._ends[0], b"".join(sentences))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path)
    receiver.plug_in()
    yield receiver
    receiver.pull_out()


@pytest.fixture
def here() -> DriverPort:
    return port(clock=RigClock.starting_now())


def options(receiver: Receiver, **more: object) -> serial.SerialGps:
    return serial.SerialGps(driver="serial", device=str(receiver.device), baud=9600, **more)


def first_fix(messages: Iterator[GpsFix | None], limit: int = 20) -> GpsFix:
    return next(one for one in itertools.islice(messages, limit) if one is not None)


def test_fixes_come_from_the_line_without_waiting_for_the_next_epoch(
    receiver: Receiver, here: DriverPort
) -> None:
    with serial.open_gps(options(receiver, latency_ms=10), here) as messages:
        assert next(messages) is None  # the line is open
        receiver.say(b"\xff\x00garbage", gga(), rmc())
        sent_ns = here.clock.now_ns()
        fix = first_fix(messages)
        took_ns = here.clock.now_ns() - sent_ns
    assert (fix.fix, fix.satellites) == ("3d", 8)
    assert abs(fix.stamp_ns + 10 * NS_PER_MS - sent_ns) < 100 * NS_PER_MS
    assert took_ns < 2 * READ_DEADLINE_NS


def test_ubx_comes_over_the_same_line(receiver: Receiver, here: DriverPort) -> None:
    with serial.open_gps(options(receiver), here) as messages:
        next(messages)
        receiver.say(pvt())
        assert first_fix(messages).latitude_deg == pytest.approx(48.1)


def test_an_idle_line_yields_at_every_read_deadline(receiver: Receiver, here: DriverPort) -> None:
    with serial.open_gps(options(receiver), here) as messages:
        started_ns = here.clock.now_ns()
        assert [next(messages) for _ in range(2)] == [None, None]
        assert here.clock.now_ns() - started_ns < 4 * READ_DEADLINE_NS
    assert here.counters[serial.SILENT_READS] >= 1


def test_a_receiver_that_talks_nonsense_yields_at_every_read_deadline(
    receiver: Receiver, here: DriverPort
) -> None:
    stop = threading.Event()

    def babble() -> None:
        while not stop.wait(0.02):
            receiver.say(b"\x55" * 50)

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        with serial.open_gps(options(receiver), here) as messages:
            assert [next(messages) for _ in range(2)] == [None, None]
    finally:
        stop.set()
        thread.join()


def test_a_receiver_pulled_out_comes_back_without_a_restart(
    receiver: Receiver, here: DriverPort, caplog: pytest.LogCaptureFixture
) -> None:
    with serial.open_gps(options(receiver), here) as messages:
        next(messages)
        receiver.say(rmc("120000.00"))
        assert first_fix(messages).fix == "3d"
        receiver.pull_out()
        with caplog.at_level(logging.WARNING):
            assert [next(messages) for _ in range(3)] == [None] * 3
        receiver.plug_in()
        while not here.counters[RECONNECTS]:
            assert next(messages) is None
        receiver.say(rmc("120005.00"))
        assert first_fix(messages).fix == "3d"
    assert "expected it, found none; there " in caplog.text
    assert here.counters[RECONNECTS] == 1


def test_a_name_that_is_no_serial_line_is_an_error_at_start(
    tmp_path: Path, here: DriverPort
) -> None:
    path = tmp_path / "drive.nmea"
    path.write_bytes(b"")
    wrong = serial.SerialGps(driver="serial", device=str(path))
    with pytest.raises(
        DriverError, match=r"expected a serial line, got .*drive.nmea, which is none"
    ):
        serial.open_gps(wrong, here)


def test_the_usual_rates_are_tried_until_something_can_be_read(
    receiver: Receiver, here: DriverPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial, "_BAUD_TRIAL_NS", NS_PER_S // 10)
    tried: list[int] = []
    rate = serial.serial.Serial.baudrate

    def set_rate(line: object, baud: int) -> None:
        rate.fset(line, baud)
        tried.append(baud)
        if baud == 38_400:
            receiver.say(rmc())

    monkeypatch.setattr(serial.serial.Serial, "baudrate", rate.setter(set_rate))
    unstated = serial.SerialGps(driver="serial", device=str(receiver.device))
    with serial.open_gps(unstated, here) as messages:
        assert first_fix(messages).fix == "3d"
        assert [next(messages) for _ in range(2)] == [None, None]
    assert tried == [9600, 115_200, 38_400]
