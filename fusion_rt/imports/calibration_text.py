"""Writes what a recording says of its sensors' places as a calibration file of ours."""

import msgspec

from fusion_rt import __version__
from fusion_rt.calibrate.result_file import calibration_text
from fusion_rt.calibration_file import (
    CalibrationFile,
    Provenance,
    WrittenCamera,
    WrittenTransform,
)
from fusion_rt.geometry import CameraModel, Fisheye, RigidTransform
from fusion_rt.imports.source import Mounting

HEADER = "# Written by fusion-rt import."
_FARTHEST_M = 100.0
"""What a calibration file takes."""


def text_of(mounting: Mounting) -> bytes:
    """The file, without the frames that are `too_far`."""
    kept = {f: t for f, t in mounting.base_from.items() if f not in too_far(mounting)}
    file = CalibrationFile(
        provenance=Provenance(method=mounting.method, tool=f"fusion_rt {__version__}"),
        transforms={f"base_from_{frame}": _placing(t) for frame, t in kept.items()},
        cameras={f: _written(camera) for f, camera in mounting.cameras.items() if f in kept},
    )
    return calibration_text(file, HEADER).encode()


def too_far(mounting: Mounting) -> tuple[str, ...]:
    """Frames that lie where no vehicle has a sensor, and no calibration file takes one."""
    return tuple(
        frame
        for frame, base_from_frame in mounting.base_from.items()
        if abs(base_from_frame.translation_m).max() > _FARTHEST_M
    )


def _placing(base_from_frame: RigidTransform) -> WrittenTransform:
    x_m, y_m, z_m = base_from_frame.translation_m.tolist()
    w, x, y, z = base_from_frame.quaternion_wxyz.tolist()
    return WrittenTransform(translation_m=(x_m, y_m, z_m), quaternion_wxyz=(w, x, y, z))


def _written(camera: CameraModel) -> WrittenCamera:
    model = "fisheye" if isinstance(camera, Fisheye) else "pinhole"
    return msgspec.convert({**msgspec.structs.asdict(camera), "model": model}, WrittenCamera)
