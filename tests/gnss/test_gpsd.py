import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.drivers import gpsd
from fusion_rt.drivers.gpsd import GpsdOptions, ReportReader, open_gps
from fusion_rt.drivers.port import DriverPort
from fusion_rt.gnss.live import PULSES, LiveFixes
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import GpsFix
from fusion_rt.reconnect import RECONNECTS
from tests.gnss.ports import START_NS, port

TPV = {
    "class": "TPV",
    "device": "/dev/ttyACM0",
    "mode": 3,
    "status": 2,
    "time": "2026-03-23T12:00:00.250Z",
    "lat": 48.1,
    "lon": 11.5,
    "altHAE": 560.0,
    "eph": 1.5,
    "epv": 2.5,
    "track": 90.0,
    "speed": 5.0,
    "climb": 0.5,
}


class Reader:
    """What a connection would feed, line by line."""

    def __init__(self, **options: object) -> None:
        self.port = port()
        stated = msgspec.convert({"driver": "gpsd", **options}, GpsdOptions)
        self.reports = ReportReader(stated, self.port, LiveFixes(stated, self.port))

    def solution(self, report: object, second: int = 0) -> Solution | None:
        return self.reports.solution(msgspec.json.encode(report), START_NS + second * NS_PER_S)


def test_a_report_tells_place_motion_accuracy_and_time() -> None:
    reader = Reader()
    reader.solution({"class": "SKY", "hdop": 0.9, "satellites": [{"used": True}, {"used": False}]})
    said = reader.solution(TPV)
    assert said is not None
    assert (said.fix, said.position_deg, said.altitude_m) == ("dgps", (48.1, 11.5), 560.0)
    assert said.velocity_enu_mps == pytest.approx((5.0, 0.0, 0.5))
    assert (said.horizontal_accuracy_m, said.satellites, said.hdop) == (1.5, 1, 0.9)
    assert said.utc_ns == 1_774_267_200 * NS_PER_S + NS_PER_S // 4


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({"mode": 0}, "none"),
        ({"mode": 1}, "none"),
        ({"mode": 2, "status": 1}, "2d"),
        ({"status": 1}, "3d"),
        ({"status": 3}, "rtk_fixed"),
        ({"status": 4}, "rtk_float"),
        ({"status": 8}, "none"),
        ({"mode": [3]}, "none"),
    ],
)
def test_a_report_tells_the_kind_of_fix(fields: dict[str, object], fix: str) -> None:
    said = Reader().solution({**TPV, **fields})
    assert said is not None
    assert said.fix == fix


def test_older_and_newer_names_are_read_alike() -> None:
    old = {"class": "TPV", "mode": 3, "lat": 48.1, "lon": 11.5, "alt": 512.0, "epx": 3, "epy": 4}
    said = Reader().solution(old)
    assert said is not None
    assert (said.altitude_msl_m, said.horizontal_accuracy_m) == (512.0, 5.0)
    newer = Reader().solution({**TPV, "velE": 1.0, "velN": 2.0, "velD": -3.0})
    assert newer is not None
    assert newer.velocity_enu_mps == (1.0, 2.0, 3.0)


def test_places_that_cannot_be_are_none() -> None:
    said = Reader().solution({**TPV, "lat": 98.1})
    assert said is not None
    assert said.position_deg is None


def test_the_first_receiver_is_followed_until_it_falls_silent() -> None:
    reader = Reader()
    other = {**TPV, "device": "/dev/ttyUSB3"}
    assert reader.solution(TPV, 0) is not None
    assert reader.solution(other, 1) is None
    assert reader.solution(other, 30) is not None
    assert reader.port.counters[gpsd.OTHER_RECEIVERS] == 1


def test_a_receiver_that_the_rig_names_is_the_only_one() -> None:
    reader = Reader(device="/dev/ttyUSB3")
    assert reader.solution(TPV, 30) is None
    assert reader.solution({**TPV, "device": "/dev/ttyUSB3"}, 31) is not None


def test_a_receiver_that_gpsd_does_not_have_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Reader(device="/dev/x").solution({"class": "DEVICES", "devices": [{"path": "/dev/ttyS1"}]})
    assert "gpsd: expected /dev/x, it has /dev/ttyS1; waiting" in caplog.text


def test_lines_that_are_no_report_are_counted() -> None:
    reader = Reader()
    for line in (b"", b"\xff", b"[1]", b"{", b'{"class":3}', b"[" * 5000):
        assert reader.reports.solution(line, START_NS) is None
    assert reader.port.counters[gpsd.BAD_REPORTS] == 5


def test_pulses_are_taken_from_gpsd() -> None:
    reader = Reader()
    reader.solution({"class": "PPS", "clock_sec": START_NS // NS_PER_S, "clock_nsec": 12})
    reader.solution({"class": "PPS", "clock_sec": "x"})
    assert reader.port.counters[PULSES] == 1


class Gpsd:
    """A gpsd with one client at a time."""

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.server = socket.create_server(address)
        self.address = self.server.getsockname()

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        link, _ = self.server.accept()
        with link:
            assert link.recv(200).startswith(b"?WATCH=")
            yield link


def serve(daemon: Gpsd, second: int) -> None:
    with daemon.client() as link:
        link.sendall(b'{"class":"VERSION"}\r\n')
        line = msgspec.json.encode({**TPV, "time": f"2026-03-23T12:00:{second:02}.000Z"}) + b"\r\n"
        link.sendall(line[:50])
        link.sendall(line[50:])


def first_fix(messages: Iterator[GpsFix | None]) -> GpsFix:
    return next(one for one in itertools.islice(messages, 20) if one is not None)


@pytest.fixture
def here() -> DriverPort:
    return port(clock=RigClock.starting_now())


def test_fixes_come_from_a_gpsd_that_may_be_started_again(
    here: DriverPort, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = Gpsd()
    host, tcp = daemon.address
    options = GpsdOptions(driver="gpsd", host=host, port=tcp)
    with daemon.server, open_gps(options, here) as messages:
        for second in (1, 2):
            thread = threading.Thread(target=serve, args=(daemon, second))
            thread.start()
            assert first_fix(messages).satellites is None
            thread.join()
    assert here.counters[RECONNECTS] == 1
    assert f"gpsd at {host}:{tcp}: closed the connection; trying again" in caplog.text


def test_a_gpsd_that_is_not_there_is_told_and_waited_for(
    here: DriverPort, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with open_gps(GpsdOptions(driver="gpsd", port=free), here) as messages:
        assert [next(messages) for _ in range(2)] == [None, None]
    assert caplog.text.count(f"gpsd: expected it at 127.0.0.1:{free}, got") == 1
