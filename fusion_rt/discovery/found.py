"""What a look for devices brings: devices, and why some could not be looked for."""

from pathlib import Path

import msgspec


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One device that a rig could use."""

    kind: str
    """camera, lidar, audio or gps."""
    place: str
    """Where it is: a device file, an address, a name."""
    what: str
    """What it says it is."""
    details: tuple[str, ...] = ()
    """What it can do, or what is not certain about it."""
    rig: str
    """The line of a rig file that would use it."""


class Look(msgspec.Struct, frozen=True):
    """The outcome of one way of looking."""

    found: tuple[Found, ...] = ()
    problem: str = ""
    """Why nothing, or not everything, could be seen."""


def lasting_name(device: str, folder: str) -> str:
    """The name under which udev keeps the same device whatever its number; `device` if none."""
    try:
        links = sorted(Path(folder).iterdir())
    except OSError:
        return device
    meant = Path(device).resolve()
    return next((str(link) for link in links if link.resolve() == meant), device)
