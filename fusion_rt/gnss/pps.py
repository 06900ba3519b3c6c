"""A pulse per second as the kernel stamped it: the finest tie between a receiver and this host."""

import logging
import re
from pathlib import Path

from fusion_rt.clock import NS_PER_S

log = logging.getLogger(__name__)

_SYSFS = Path("/sys/class/pps")
_EDGE = re.compile(r"(\d{1,19})\.(\d{9})#(\d+)\s*")  # seconds, nanoseconds, how many so far


class PulseSource:
    """The pulses of one device, by the file in which the kernel tells the last rising edge."""

    def __init__(self, device: str, sysfs: Path = _SYSFS) -> None:
        self._edge = sysfs / Path(device).name / "assert"
        self._last = ""
        if not self._edge.exists():
            there = ", ".join(f"/dev/{path.name}" for path in sorted(sysfs.glob("pps*")))
            log.warning("pps: expected %s, found %s", device, there or "no PPS device")

    def system_ns(self) -> int | None:
        """System time of the last pulse; None when there was none since the last call."""
        try:
            told = self._edge.read_text()
        except OSError:  # not there, or pulled out with its receiver
            return None
        edge = _EDGE.fullmatch(told)
        if edge is None or told == self._last or edge[3] == "0":
            return None
        self._last = told
        return int(edge[1]) * NS_PER_S + int(edge[2])
