"""Receivers behind gpsd: its JSON reports in, GpsFix out."""

import logging
import socket
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import READ_DEADLINE_NS, Driver, DriverPort, Messages
from fusion_rt.gnss.gpsd_json import (
    Report,
    device_names,
    part_from_sky,
    part_from_tpv,
    pulse_system_ns,
    report_from_line,
)
from fusion_rt.gnss.live import LiveFixes
from fusion_rt.gnss.options import LiveGpsOptions
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import GpsFix
from fusion_rt.pacing import at_deadlines
from fusion_rt.reconnect import reconnecting

log = logging.getLogger(__name__)

BAD_REPORTS = "bad_reports"
"""Counter of lines that are no report."""
OTHER_RECEIVERS = "other_receivers"
"""Counter of solutions of receivers that the rig does not name, or that came second."""

_WATCH = b'?WATCH={"enable":true,"json":true,"pps":true};\n'
_LONGEST_LINE = 1 << 18
_SILENCE_NS = 10 * NS_PER_S  # then the connection is made anew: its other end may be gone


class GpsdOptions(LiveGpsOptions, frozen=True, kw_only=True):
    """Options of a receiver behind gpsd."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 2947
    device: str | None = None
    """As gpsd calls it, for example /dev/ttyACM0; None: the first that reports."""


def open_gps(options: GpsdOptions, port: DriverPort) -> Messages:
    """A gpsd that is not there yet may be started later: it is tried again and again."""
    return closing(at_deadlines(fixes(options, port), port.clock))


def fixes(options: GpsdOptions, port: DriverPort) -> Generator[GpsFix | None, None, None]:
    """One message per solution, and None at every turn."""
    live = LiveFixes(options, port)
    reports = ReportReader(options, port, live)
    for line in reconnecting(lambda: _lines(options, port), port):
        solution = None if line is None else reports.solution(*line)
        yield from live.fixes([solution] if solution else ())
        yield None


Line = tuple[bytes, int]
"""With the rig time at which it was read."""


@contextmanager
def _lines(options: GpsdOptions, port: DriverPort) -> Iterator[Iterator[Line | None]]:
    place = f"{options.host}:{options.port}"
    deadline_s = READ_DEADLINE_NS / NS_PER_S
    try:
        link = socket.create_connection((options.host, options.port), timeout=deadline_s)
    except OSError as error:
        raise OSError(f"gpsd: expected it at {place}, got {error}") from error
    with link:
        link.sendall(_WATCH)
        yield _read_lines(link, port, place)


def _read_lines(link: socket.socket, port: DriverPort, place: str) -> Iterator[Line | None]:
    pending = b""
    heard_ns = port.clock.now_ns()
    while True:
        try:
            data = link.recv(1 << 16)
        except TimeoutError:
            yield None
            if port.clock.now_ns() - heard_ns > _SILENCE_NS:
                raise OSError(f"gpsd at {place}: silent") from None
            continue
        if not data:
            raise OSError(f"gpsd at {place}: closed the connection")
        heard_ns = port.clock.now_ns()
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            yield line, heard_ns
        if len(pending) > _LONGEST_LINE:
            port.counters[BAD_REPORTS] += 1
            pending = b""


class ReportReader:
    """Follows one receiver through gpsd's reports."""

    def __init__(self, options: GpsdOptions, port: DriverPort, live: LiveFixes) -> None:
        self._named = options.device
        self._counters = port.counters
        self._live = live
        self._followed = options.device
        self._followed_ns = 0
        self._sky: Solution | None = None

    def solution(self, line: bytes, arrival_ns: int) -> Solution | None:
        """What the line tells of our receiver's position; other reports are taken notice of."""
        report = report_from_line(line)
        if report is None:
            self._counters[BAD_REPORTS] += bool(line.strip())
            return None
        kind = report["class"]
        if kind == "DEVICES":
            self._check_devices(report)
        if kind not in ("TPV", "SKY", "PPS") or not self._is_ours(report, arrival_ns):
            return None
        if kind == "SKY":
            self._sky = part_from_sky(report)
        elif kind == "PPS" and (system_ns := pulse_system_ns(report)) is not None:
            self._live.pulse(system_ns)
        return self._with_sky(part_from_tpv(report), arrival_ns) if kind == "TPV" else None

    def _with_sky(self, solution: Solution, arrival_ns: int) -> Solution:
        solution.arrival_ns = arrival_ns
        if self._sky is not None:
            solution.merge(self._sky)
        return solution

    def _is_ours(self, report: Report, arrival_ns: int) -> bool:
        device = report.get("device")
        if not isinstance(device, str):  # older versions do not tell it in every report
            return True
        if self._followed is None or (
            self._named is None and arrival_ns - self._followed_ns > _SILENCE_NS
        ):
            self._followed = device
        if device != self._followed:
            self._counters[OTHER_RECEIVERS] += report["class"] == "TPV"
            return False
        self._followed_ns = arrival_ns
        return True

    def _check_devices(self, report: Report) -> None:
        there = device_names(report)
        if self._named is not None and self._named not in there:
            found = ", ".join(there) or "none at all"
            log.warning("gpsd: expected %s, it has %s; waiting", self._named, found)


DRIVERS = {"gps": Driver(GpsdOptions, open_gps)}
