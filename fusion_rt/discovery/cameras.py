"""Looks for cameras that Video4Linux2 has."""

from fusion_rt.camera.v4l2_device import KERNEL, Camera, Kernel, cameras
from fusion_rt.camera.v4l2_modes import choose
from fusion_rt.discovery.found import Found, Look, lasting_name

_LINKS = "/dev/v4l/by-id"
_USUAL_RATES_HZ = (30, 15, 10, 5, 1)


def look_for_cameras(kernel: Kernel = KERNEL, links: str = _LINKS) -> Look:
    """All that deliver pictures, with their formats, sizes and rates."""
    found = cameras(kernel)
    paths = kernel.paths()
    unread = f"none of {', '.join(paths)} can be opened as a camera" if paths and not found else ""
    return Look(tuple(_found(camera, links) for camera in found), unread)


def _found(camera: Camera, links: str) -> Found:
    return Found(
        kind="camera",
        place=camera.path,
        what=f"{camera.card} ({camera.bus})",
        details=tuple(str(mode) for mode in camera.modes),
        rig=_rig_line(camera, lasting_name(camera.path, links)),
    )


def _rig_line(camera: Camera, device: str) -> str:
    name = camera.path.rpartition("/")[2]
    for rate_hz in _USUAL_RATES_HZ:
        choice = choose(camera.modes, None, None, rate_hz, None)
        if choice is not None:
            options = f"width: {choice.width}, height: {choice.height}, rate_hz: {rate_hz}"
            return f"camera/{name}: {{driver: v4l2, device: {device}, {options}}}"
    return f"# {camera.path} offers no format that we read"
