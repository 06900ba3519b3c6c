"""Looks for what cannot be right in a rig's calibration though it can be read."""

import datetime
from collections.abc import Iterator
from itertools import combinations

import msgspec
import numpy as np

from fusion_rt.calibrate.intrinsics import MAX_RMS_PX, intrinsics_problems
from fusion_rt.calibration_file import BASE, Calibration
from fusion_rt.geometry import RigidTransform
from fusion_rt.rig import Rig

MAX_REACH_M = 20.0
LOWEST_M, HIGHEST_M = -0.3, 6.0
"""Origins of frames above the ground: wheels below, roof racks of lorries above."""
MAX_CAMERA_ROLL_DEG = 60.0
MAX_CAMERA_PITCH_DEG = 70.0
MAX_LIDAR_TILT_DEG = 60.0
MAX_ARRAY_M = 3.0
MIN_MICROPHONE_GAP_M = 0.005
MAX_OFFSET_MS = 500.0
MAX_SD_DEG, MAX_SD_M = 0.5, 0.1


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth a person's look."""

    is_fault: bool
    """A warning otherwise."""
    where: str
    problem: str


def check_calibration(rig: Rig, today: datetime.date) -> list[Finding]:
    """Everything implausible or expired, faults first; what cannot be read raised earlier."""
    calibration = rig.calibration
    kinds = {sensor.frame: sensor.kind for sensor in rig.sensors.values()}
    found = [
        *_places(calibration),
        *_axes(calibration, kinds),
        *_cameras(calibration),
        *_microphones(calibration),
        *_offsets(calibration),
        *_provenance(calibration, today),
    ]
    return sorted(found, key=lambda finding: not finding.is_fault)


def _fault(where: str, problem: str) -> Finding:
    return Finding(is_fault=True, where=where, problem=problem)


def _warning(where: str, problem: str) -> Finding:
    return Finding(is_fault=False, where=where, problem=problem)


def _places(calibration: Calibration) -> Iterator[Finding]:
    frames = {name: pose for name, pose in calibration.base_from.items() if name != BASE}
    for frame, pose in frames.items():
        x, y, z = pose.translation_m
        if np.hypot(x, y) > MAX_REACH_M:
            yield _fault(
                frame, f"expected within {MAX_REACH_M:g} m of base, got {np.hypot(x, y):.1f}"
            )
        if not LOWEST_M <= z <= HIGHEST_M:
            expected = f"expected {LOWEST_M:g} to {HIGHEST_M:g} m above the ground"
            yield _fault(frame, f"{expected}, got {z:.2f}: base lies on the ground, z points up")
    for (one, pose), (other, other_pose) in combinations(frames.items(), 2):
        if np.allclose(pose.matrix, other_pose.matrix, atol=1e-6):
            problem = f"expected a place of its own, got that of {other}: was it ever measured?"
            yield _warning(one, problem)


def _axes(calibration: Calibration, kinds: dict[str, str]) -> Iterator[Finding]:
    """All rotations are right-handed when read; here, whether axes point where they can."""
    for frame, kind in kinds.items():
        pose = calibration.base_from.get(frame)
        if pose is None:
            continue
        if kind == "camera":
            yield from _camera_axes(frame, pose)
        elif kind == "lidar" and _angle_deg(pose.rotation[2, 2]) > MAX_LIDAR_TILT_DEG:
            tilt = _angle_deg(pose.rotation[2, 2])
            yield _fault(frame, f"expected its z axis up, got it {tilt:.0f} degrees from up")


def _camera_axes(frame: str, pose: RigidTransform) -> Iterator[Finding]:
    right, down, forward = (pose.rotation[2, axis] for axis in range(3))  # their share of up
    if abs(90 - _angle_deg(forward)) > MAX_CAMERA_PITCH_DEG:
        problem = (
            f"expected it to look out level, got it looking {'up' if forward > 0 else 'down'}: "
            "a camera's axes are x right, y down, z forward, not those of base"
        )
        yield _fault(frame, problem)
    elif np.degrees(np.arctan2(abs(right), -down)) > MAX_CAMERA_ROLL_DEG:
        roll = np.degrees(np.arctan2(abs(right), -down))
        problem = f"expected its y axis down, got it rolled by {roll:.0f} degrees"
        yield _warning(frame, f"{problem}: is it mounted like that?")


def _angle_deg(cosine: float) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _cameras(calibration: Calibration) -> Iterator[Finding]:
    for name, camera in calibration.cameras.items():
        for problem in intrinsics_problems(camera):
            yield _fault(f"cameras.{name}", problem)


def _microphones(calibration: Calibration) -> Iterator[Finding]:
    for name, places in calibration.microphones_m.items():
        where = f"microphones.{name}"
        for i, j in combinations(range(len(places)), 2):
            gap = float(np.linalg.norm(places[i] - places[j]))
            if gap < MIN_MICROPHONE_GAP_M:
                yield _fault(where, f"expected places apart, got {i} and {j} at the same")
            elif gap > MAX_ARRAY_M:
                problem = f"expected {MAX_ARRAY_M:g} m between any two at most, got {gap:.1f}"
                yield _warning(where, f"{problem} between {i} and {j}: are they in metres?")


def _offsets(calibration: Calibration) -> Iterator[Finding]:
    for name, offset in calibration.time_offsets.items():
        if abs(offset.offset_ms) > MAX_OFFSET_MS:
            problem = f"expected {MAX_OFFSET_MS:g} ms at most, got {offset.offset_ms:g}"
            yield _fault(f"time_offsets.{name}", problem)


def _provenance(calibration: Calibration, today: datetime.date) -> Iterator[Finding]:
    date = calibration.provenance.date
    if date is not None and date > today:
        yield _fault("provenance", f"expected a date up to {today}, got {date}")
    if not calibration.provenance.results:
        yield _warning(
            "provenance", f'nothing measured is on record, only "{calibration.provenance.method}"'
        )
    for where, made in calibration.provenance.results.items():
        if made.date > today:
            yield _fault(where, f"expected a date up to {today}, got {made.date}")
        age = (today - made.date).days
        if made.valid_days is not None and age > made.valid_days:
            yield _fault(where, f"expired: made {age} days ago, valid for {made.valid_days}")
        fit = made.residuals
        if fit.rms_px is not None and fit.rms_px > MAX_RMS_PX:
            yield _warning(where, f"expected {MAX_RMS_PX:g} px rms at most, got {fit.rms_px:g}")
        if max(fit.sd_deg or (0.0,)) > MAX_SD_DEG or max(fit.sd_m or (0.0,)) > MAX_SD_M:
            yield _warning(where, f"uncertain: {fit.sd_deg} degrees, {fit.sd_m} m")
