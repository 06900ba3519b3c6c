import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from fusion_rt.discovery import receivers
from fusion_rt.discovery.receivers import look_for_gpsd, look_for_serial_lines


@contextmanager
def gpsd(answer: bytes) -> Iterator[tuple[str, int]]:
    """One that says hello, waits for the question and answers so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.sendall(b'{"class":"VERSION","release":"3.25"}\r\n')
                assert link.recv(100) == b"?DEVICES;\n"
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()
        thread.join()


def test_receivers_behind_gpsd_are_told() -> None:
    answer = b'{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyACM0"}]}\r\n'
    with gpsd(answer) as place:
        (found,) = look_for_gpsd(place).found
    options = f"driver: gpsd, host: 127.0.0.1, port: {place[1]}, device: /dev/ttyACM0, rate_hz: 1"
    assert found.rig == f"gps/main: {{{options}}}"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b'{"class":"DEVICES","devices":[]}\r\n', "runs, but has no receiver"),
        (b"nonsense\n", "it does not say which receivers it has"),
    ],
)
def test_a_gpsd_without_receivers_is_told(answer: bytes, problem: str) -> None:
    with gpsd(answer) as place:
        look = look_for_gpsd(place)
    assert not look.found
    assert problem in look.problem


def test_no_gpsd_is_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
    assert look_for_gpsd(place) == receivers.Look()


def test_serial_lines_are_told_with_how_likely_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    list_ports = pytest.importorskip("serial.tools.list_ports")
    ports = [
        ("/dev/ttyUSB0", "CP2102 USB to UART", 0x10C4, "Silicon Labs", "may be a GPS receiver"),
        ("/dev/ttyACM0", "u-blox GNSS receiver", 0x1546, "u-blox AG", "a GPS receiver"),
        ("/dev/ttyS0", "ttyS0", None, None, "a serial line: nothing tells"),
    ]
    monkeypatch.setattr(
        list_ports,
        "comports",
        lambda: [
            SimpleNamespace(device=device, description=text, vid=vid, manufacturer=by, product=None)
            for device, text, vid, by, _ in ports
        ],
    )
    found = {one.place: one for one in look_for_serial_lines().found}
    for device, *_, likelihood in ports:
        assert found[device].details[0].startswith(likelihood)
    assert found["/dev/ttyACM0"].rig == (
        "gps/main: {driver: serial, device: /dev/ttyACM0, rate_hz: 1}"
    )
