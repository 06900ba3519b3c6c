"""Writes what a recording says of its sensors' places as a calibration file of ours."""

from typing import Any

import yaml

from fusion_rt import __version__
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.imports.source import Mounting

_FARTHEST_M = 100.0
"""What a calibration file takes."""


def calibration_text(mounting: Mounting) -> bytes:
    """The file; frames whose place no vehicle can have are left out (`unlikely` names them)."""
    placed = {
        frame: base_from_frame
        for frame, base_from_frame in mounting.base_from.items()
        if frame not in unlikely(mounting)
    }
    tree: dict[str, Any] = {
        "provenance": {"method": mounting.method, "tool": f"fusion_rt {__version__}"},
        "transforms": {f"base_from_{frame}": _placing(t) for frame, t in placed.items()},
        "cameras": {
            frame: _numbers(camera) for frame, camera in mounting.cameras.items() if frame in placed
        },
    }
    text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100)
    return f"# Written by fusion-rt import.\n{text}".encode()


def unlikely(mounting: Mounting) -> tuple[str, ...]:
    """Frames that lie farther from base than a calibration file takes."""
    return tuple(
        frame
        for frame, base_from_frame in mounting.base_from.items()
        if abs(base_from_frame.translation_m).max() > _FARTHEST_M
    )


def _placing(base_from_frame: RigidTransform) -> dict[str, list[float]]:
    return {
        "translation_m": base_from_frame.translation_m.tolist(),
        "quaternion_wxyz": base_from_frame.quaternion_wxyz.tolist(),
    }


def _numbers(camera: Pinhole) -> dict[str, Any]:
    return {
        "width": camera.width,
        "height": camera.height,
        "fx_px": camera.fx_px,
        "fy_px": camera.fy_px,
        "cx_px": camera.cx_px,
        "cy_px": camera.cy_px,
        "distortion": list(camera.distortion),
    }
