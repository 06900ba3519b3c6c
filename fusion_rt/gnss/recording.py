"""Receivers' recordings, NMEA and UBX mixed with whatever: a driver that needs no receiver."""

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort, Messages, RigPath
from fusion_rt.errors import DriverError
from fusion_rt.gnss.decoder import GnssDecoder
from fusion_rt.gnss.fix import fix_from_solution
from fusion_rt.gnss.options import GpsOptions
from fusion_rt.gnss.receiver_time import ReceiverTime
from fusion_rt.gnss.rig_time import Stamp
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import GpsFix
from fusion_rt.pacing import at_deadlines, wait_until
from fusion_rt.reconnect import reconnecting

GAPS = "gaps"
"""Counter of places where a recording's time steps back, or ahead by more than 10 s."""

_CHUNK = 4096
_LONGEST_STEP_NS = 10 * NS_PER_S
_USUAL_STEP_NS = NS_PER_S


class GpsRecording(GpsOptions, frozen=True, kw_only=True):
    """Options of a recording of a receiver."""

    path: RigPath
    pace: Literal["recorded", "asap"] = "recorded"
    """recorded: as it was, stamped now. asap: without waiting, stamped with the receiver's UTC."""
    repeat: bool = False
    """At the end, start over; else wait until the file grows or is replaced."""

    def __post_init__(self) -> None:
        if self.repeat and self.pace == "asap":
            raise ValueError("expected pace recorded with repeat, got asap: it would never rest")


def open_gps(options: GpsRecording, port: DriverPort) -> Messages:
    """Fails where the path can never become a recording; a missing file may still come."""
    folder = Path(options.path)
    if folder.is_dir():
        inside = sorted(path.name for path in folder.iterdir() if path.is_file())
        problem = f"expected a recording, got the folder {folder}"
        raise DriverError("file", problem, f"it holds {', '.join(inside[:8]) or 'no files'}")
    return closing(at_deadlines(fixes(options, port), port.clock))


def fixes(options: GpsRecording, port: DriverPort) -> Generator[GpsFix | None, None, None]:
    """One message per solution, and None at every turn without."""
    receiver_time = ReceiverTime()
    pacing = _Pacing(options, port)
    for solution in reconnecting(lambda: _opened(options, port), port):
        if solution is None:
            yield None
            continue
        utc_ns = receiver_time.utc_ns(solution, port.clock.now_ns())
        stamp_ns = pacing.stamp_ns(utc_ns)
        if options.pace == "recorded":
            yield from wait_until(stamp_ns, port.clock)
        yield fix_from_solution(solution, Stamp(stamp_ns, 0), utc_ns, options)


@contextmanager
def _opened(options: GpsRecording, port: DriverPort) -> Iterator[Iterator[Solution | None]]:
    with open(options.path, "rb") as file:
        yield _solutions(file, options, port)


def _solutions(
    file: BinaryIO, options: GpsRecording, port: DriverPort
) -> Iterator[Solution | None]:
    """All there are, and those that are still being written; ends when the file is replaced."""
    clock = port.clock
    decoder = GnssDecoder(port.counters)
    while True:
        data = file.read(_CHUNK)
        yield from decoder.feed(data, clock.now_ns()) if data else decoder.flush()
        if not data and options.repeat and file.tell():
            file.seek(0)
        elif not data and _is_replaced(file, options.path):
            return
        elif not data:
            clock.sleep_until_ns(clock.now_ns() + READ_DEADLINE_NS)
        yield None


def _is_replaced(file: BinaryIO, path: str) -> bool:
    """Raises OSError where it is gone."""
    there, ours = os.stat(path), os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) or (
        ours.st_size < file.tell()
    )


class _Pacing:
    """When each solution of a recording is due."""

    def __init__(self, options: GpsRecording, port: DriverPort) -> None:
        self._is_asap = options.pace == "asap"
        self._port = port
        self._step_ns = round(NS_PER_S / options.rate_hz) if options.rate_hz else _USUAL_STEP_NS
        self._utc_ns: int | None = None
        self._stamp_ns: int | None = None

    def stamp_ns(self, utc_ns: int | None) -> int:
        """Of the next solution; `utc_ns` is None where the receiver had no time yet."""
        step_ns = self._step(utc_ns)
        self._utc_ns = utc_ns
        now_ns = self._port.clock.now_ns()
        if self._is_asap and utc_ns is not None and utc_ns >= 0:
            self._stamp_ns = utc_ns
        elif self._stamp_ns is None:
            self._stamp_ns = now_ns
        elif not self._is_asap and self._stamp_ns + step_ns < now_ns - NS_PER_S:
            self._stamp_ns = now_ns  # the file had ended, or the process was held up
        else:
            self._stamp_ns += step_ns
        return self._stamp_ns

    def _step(self, utc_ns: int | None) -> int:
        if utc_ns is None or self._utc_ns is None:
            return self._step_ns
        step_ns = utc_ns - self._utc_ns
        if 0 < step_ns <= _LONGEST_STEP_NS:
            self._step_ns = step_ns
        else:
            self._port.counters[GAPS] += 1
        return self._step_ns
