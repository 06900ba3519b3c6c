"""What the numbers were taken on."""

import importlib.metadata
import os
import platform
from pathlib import Path

_PACKAGES = (
    "numpy",
    "msgspec",
    "pyzmq",
    "iceoryx2",
    "eclipse-zenoh",
    "dora-rs",
    "eclipse-ecal",
)


def describe_machine() -> dict[str, str]:
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
