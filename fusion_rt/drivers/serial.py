"""GNSS receivers on a serial line, USB or Bluetooth: NMEA 0183 and UBX in, GpsFix out."""

import os
import stat
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import READ_DEADLINE_NS, Driver, DriverPort, Messages, from_extra
from fusion_rt.errors import DriverError
from fusion_rt.gnss.decoder import FRAMES, GnssDecoder
from fusion_rt.gnss.live import LiveFixes
from fusion_rt.gnss.options import LiveGpsOptions
from fusion_rt.gnss.solution import Solution
from fusion_rt.messages import GpsFix
from fusion_rt.pacing import at_deadlines
from fusion_rt.reconnect import reconnecting

with from_extra("sensors"):
    import serial
    from serial.tools import list_ports

SILENT_READS = "silent_reads"
"""Counter of read deadlines at which the open line had brought nothing."""
BAUD_CHANGES = "baud_changes"
"""Counter of rates given up because nothing in what came could be read."""

_PAUSE_NS = (
    100 * NS_PER_MS
)  # receivers send an epoch without gaps as long, and pause before the next
_BAUDS = (9600, 115_200, 38_400, 4800, 57_600, 230_400, 460_800, 921_600)
_BAUD_TRIAL_NS = 2500 * NS_PER_MS
_CHUNK = 4096


class SerialGps(LiveGpsOptions, frozen=True, kw_only=True):
    """Options of a receiver on a serial line."""

    device: Annotated[str, msgspec.Meta(pattern="^/dev/", description="for example /dev/ttyACM0")]
    baud: (
        Annotated[int, msgspec.Meta(ge=300, le=4_000_000, description="bits per second")] | None
    ) = None
    """None: tries the usual rates until something can be read. USB receivers have none."""


def open_gps(options: SerialGps, port: DriverPort) -> Messages:
    """Fails only where the name can never become a serial line."""
    check_device(options.device)
    return closing(at_deadlines(fixes(options, port), port.clock))


def check_device(device: str) -> None:
    """Raises DriverError where `device` is there but no character device."""
    try:
        mode = os.stat(device).st_mode
    except OSError:
        return  # it may be plugged in later
    if not stat.S_ISCHR(mode):
        problem = f"expected a serial line, got {device}, which is none"
        raise DriverError("serial", problem, f"{_there()}; for recordings use driver: file")


def fixes(options: SerialGps, port: DriverPort) -> Generator[GpsFix | None, None, None]:
    """One message per solution, and None at every turn."""
    live = LiveFixes(options, port)
    line = _Line(options, port)
    for solutions in reconnecting(line.opened, port):
        yield from live.fixes(solutions or ())
        yield None


class _Line:
    """A serial line that is opened again and again, the rate that worked first."""

    def __init__(self, options: SerialGps, port: DriverPort) -> None:
        self._device = options.device
        self._bauds = deque([options.baud] if options.baud else _BAUDS)
        self._port = port

    @contextmanager
    def opened(self) -> Iterator[Iterator[list[Solution] | None]]:
        pause_s = _PAUSE_NS / NS_PER_S
        try:
            line = serial.Serial(self._device, self._bauds[0], timeout=pause_s, exclusive=True)
        except ValueError as error:  # a rate that this hardware cannot do
            raise OSError(f"serial line {self._device}: {error}") from error
        except OSError as error:
            raise OSError(_lost(self._device, error)) from error
        with line:
            line.reset_input_buffer()  # what the kernel kept from before is of unknown age
            yield self._solutions(line)

    def _solutions(self, line: "serial.Serial") -> Iterator[list[Solution] | None]:
        clock, counters = self._port.clock, self._port.counters
        decoder = GnssDecoder(counters)
        frames_before, heard_ns = counters[FRAMES], clock.now_ns()
        trial_ns = heard_ns if len(self._bauds) > 1 else None
        while True:
            data = line.read(max(1, min(line.in_waiting, _CHUNK)))
            now_ns = clock.now_ns()
            if data:
                heard_ns = now_ns
                yield decoder.feed(data, now_ns)
            else:
                yield decoder.pause()
            if now_ns - heard_ns >= READ_DEADLINE_NS:
                counters[SILENT_READS] += 1
                heard_ns = now_ns
                yield decoder.flush()
                yield None
            if counters[FRAMES] > frames_before:
                trial_ns = None
            elif trial_ns is not None and now_ns - trial_ns > _BAUD_TRIAL_NS:
                trial_ns = now_ns
                self._try_next_baud(line)

    def _try_next_baud(self, line: "serial.Serial") -> None:
        self._port.counters[BAUD_CHANGES] += 1
        self._bauds.rotate(-1)
        line.reset_input_buffer()
        line.baudrate = self._bauds[0]


def _lost(device: str, error: OSError) -> str:
    if Path(device).exists():
        return f"serial line {device}: {error}"
    return f"serial line {device}: expected it, found none; {_there()}"


def _there() -> str:
    """What this machine has instead, in a sentence."""
    ports = [f"{port.device} ({port.description})" for port in sorted(list_ports.comports())]
    return f"there are {', '.join(ports)}" if ports else "there is no serial line at all"


DRIVERS = {"gps": Driver(SerialGps, open_gps)}
