"""Says on what machine something was measured: figures without it mean little."""

import os
import platform
from pathlib import Path


def machine_text() -> str:
    """Processor, cores, load and versions, in one line."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, load {load:.1f}, Python {platform.python_version()}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
