"""Looks for GPS receivers: serial lines that may be one, and gpsd on this host."""

import re
import socket
from typing import Any

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.discovery.found import Found, Look, lasting_name
from fusion_rt.gnss.gpsd_json import device_names, report_from_line

_LINKS = "/dev/serial/by-id"
_UBLOX = 0x1546
_BRIDGES = {0x067B: "Prolific", 0x0403: "FTDI", 0x10C4: "Silicon Labs", 0x1A86: "WCH"}
"""Makers of the USB to serial chips that receivers with a serial line come with."""
_SPEAKING = re.compile(r"gnss|gps|u-?blox|septentrio|garmin", re.IGNORECASE)
_GPSD = ("127.0.0.1", 2947)
_ANSWER_S = 1.0
_LARGEST_ANSWER = 1 << 16


def look_for_serial_lines(links: str = _LINKS) -> Look:
    """Lines that may lead to a receiver; nothing is sent, and none is opened."""
    try:
        from serial.tools import list_ports
    except ImportError as error:
        way_out = 'pip install "fusion_rt[sensors]"'
        return Look(problem=f"serial lines not looked for: {error}; {way_out}")
    ports = sorted(list_ports.comports(), key=lambda port: str(port.device))
    return Look(tuple(_found(port, lasting_name(port.device, links)) for port in ports))


def _found(port: Any, device: str) -> Found:
    return Found(
        kind="gps",
        place=port.device,
        what=port.description or "serial line",
        details=(_likelihood(port),),
        rig=f"gps/main: {{driver: serial, device: {device}, rate_hz: 1}}",
    )


def _likelihood(port: Any) -> str:
    told = " ".join(filter(None, (port.description, port.manufacturer, port.product)))
    if port.vid == _UBLOX or _SPEAKING.search(told):
        return "a GPS receiver"
    if port.vid in _BRIDGES:
        return f"may be a GPS receiver: a serial chip by {_BRIDGES[port.vid]}"
    return "a serial line: nothing tells what is at its end"


def look_for_gpsd(place: tuple[str, int] = _GPSD) -> Look:
    """What gpsd on this host has."""
    host, number = place
    try:
        names = _gpsd_devices(place)
    except ConnectionRefusedError:
        return Look()  # none runs, which is usual
    except OSError as error:
        return Look(problem=f"gpsd at {host}:{number}: {error}")
    at = "" if place == _GPSD else f", host: {host}, port: {number}"
    lines = [f"gps/main: {{driver: gpsd{at}, device: {name}, rate_hz: 1}}" for name in names]
    if not names:
        return Look(problem=f"gpsd at {host}:{number} runs, but has no receiver")
    what = f"gpsd at {host}:{number}"
    found = [
        Found(kind="gps", place=name, what=what, rig=line)
        for name, line in zip(names, lines, strict=True)
    ]
    return Look(tuple(found))


def _gpsd_devices(place: tuple[str, int]) -> list[str]:
    """Raises OSError where nobody listens, or nothing comes back."""
    clock = RigClock(0)
    due_ns = clock.now_ns() + round(_ANSWER_S * NS_PER_S)
    with socket.create_connection(place, timeout=_ANSWER_S) as link:
        link.sendall(b"?DEVICES;\n")
        heard = b""
        while clock.now_ns() < due_ns and len(heard) < _LARGEST_ANSWER:
            data = link.recv(4096)
            if not data:
                break
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                report = report_from_line(line)
                if report is not None and report["class"] == "DEVICES":
                    return device_names(report)
    raise OSError("it does not say which receivers it has")
