"""Watches a running rig for a mounting that moved or stamps that slipped; its words go to Health.

A pose is right as long as no small turn away from it scores better. Single pairs of image and sweep
say little, so the gain of each turn is averaged until it stands out from its own scatter.
"""

from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.alignment import Alignment
from fusion_rt.calibrate.scan_edges import ScanEdges
from fusion_rt.calibrate.time_offset import Signal, estimate_offset
from fusion_rt.clock import NS_PER_MS
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, RigidTransform

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

TURNS_DEG = (-1.0, -0.5, 0.5, 1.0)
"""Tried about each axis; a mounting that turned farther still scores better at the nearest."""
BLUR_OF_FOCAL = 0.003
MIN_PAIRS = 8
KEPT_PAIRS = 40
SIGNIFICANCE = 4.0
"""Standard errors; twelve turns are tried, so two would often warn of nothing."""
_AXES = ("pitch", "yaw", "roll")
"""Turns about the camera's x, y and z."""


class MountingDrift(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor thinks of a mounting."""

    pairs: int
    """Pairs of image and sweep behind it."""
    turn_deg: tuple[float, float, float]
    """By how much the camera seems turned about its x, y, z since it was calibrated."""
    warning: str
    """Empty while all is well."""


class MountingMonitor:
    """One camera against one LiDAR; feed it a pair now and then, it costs some 20 ms each."""

    def __init__(
        self, camera_name: str, lidar_name: str, camera: CameraModel, pose: RigidTransform
    ) -> None:
        self._names = f"{camera_name} against {lidar_name}"
        self._camera = camera
        self._pose = pose
        self._turned = [_turned(pose, axis, deg) for axis in range(3) for deg in TURNS_DEG]
        self._gains: deque[Floats] = deque(maxlen=KEPT_PAIRS)
        self.skipped = 0
        """Pairs without enough edges, such as at night or in a tunnel."""

    def push(self, grey: Grey, edges: ScanEdges) -> MountingDrift:
        """Take in a pair of one time, image (H, W) uint8; a pair that says nothing is counted."""
        try:
            alignment = Alignment(grey, edges, self._camera, self._pose)
        except CalibrationError:
            self.skipped += 1
            return self.state()
        alignment.sharpen(self._camera.fx_px * BLUR_OF_FOCAL)
        here = alignment.score(self._pose)
        self._gains.append(np.array([alignment.score(p) for p in self._turned]) - here)
        return self.state()

    def state(self) -> MountingDrift:
        if len(self._gains) < MIN_PAIRS:
            return MountingDrift(pairs=len(self._gains), turn_deg=(0.0, 0.0, 0.0), warning="")
        gains = np.array(self._gains)
        mean = gains.mean(axis=0)
        error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        x, y, z = estimate = [_best_turn_deg(axis) for axis in mean.reshape(3, len(TURNS_DEG))]
        significance = mean / np.maximum(error, 1e-9)
        axis = int(np.argmax(significance)) // len(TURNS_DEG)  # others seem to help too
        warning = ""
        if significance.max() > SIGNIFICANCE:
            warning = (
                f"{self._names}: the mounting moved, {_AXES[axis]} {estimate[axis]:+.1f} degrees "
                "or so; look at the brackets, then calibrate again"
            )
        return MountingDrift(pairs=len(gains), turn_deg=(x, y, z), warning=warning)


class OffsetMonitor:
    """Two streams of one quantity, such as turn rate; says when their stamps have come apart."""

    def __init__(self, reference: str, late: str, limit_ns: int, max_offset_ns: int) -> None:
        self._names = (reference, late)
        self._limit_ns = limit_ns
        self._max_offset_ns = max_offset_ns
        self._streams: tuple[deque[tuple[int, float]], deque[tuple[int, float]]] = (
            deque(maxlen=4000),
            deque(maxlen=4000),
        )

    def push_reference(self, stamp_ns: int, value: float) -> None:
        _push(self._streams[0], stamp_ns, value)

    def push_late(self, stamp_ns: int, value: float) -> None:
        _push(self._streams[1], stamp_ns, value)

    def warning(self) -> str:
        """Empty while the offset is within its limit, or motion does not tell it."""
        try:
            reference, late = (
                _signal(name, stream)
                for name, stream in zip(self._names, self._streams, strict=True)
            )
            found = estimate_offset(reference, late, self._max_offset_ns)
        except CalibrationError:
            return ""  # standing still is no fault
        if abs(found.offset_ns) - 2 * found.offset_sd_ns <= self._limit_ns:
            return ""
        return (
            f"{self._names[1]} is stamped {found.offset_ns / NS_PER_MS:+.0f} ms against "
            f"{self._names[0]}, {self._limit_ns / NS_PER_MS:.0f} ms allowed; "
            "look at its clock, then measure the offset again"
        )


def _push(stream: deque[tuple[int, float]], stamp_ns: int, value: float) -> None:
    if stream and stamp_ns <= stream[-1][0]:
        stream.clear()  # the clock stepped: what came before compares with nothing
    stream.append((stamp_ns, value))


def _signal(name: str, stream: deque[tuple[int, float]]) -> Signal:
    stamps = np.array([stamp for stamp, _ in stream], dtype=np.int64)
    return Signal(name=name, stamps_ns=stamps, values=np.array([value for _, value in stream]))


def _turned(pose: RigidTransform, axis: int, turn_deg: float) -> RigidTransform:
    """As the camera would see the LiDAR, were it turned about one of its own axes."""
    turn = RigidTransform.from_rotation_vector(np.eye(3)[axis] * np.radians(turn_deg))
    return turn.inverse() @ pose


def _best_turn_deg(gains: Floats) -> float:
    """The turn that gains most, to a part of the step by a parabola; 0 where none gains."""
    turns = np.insert(np.array(TURNS_DEG), len(TURNS_DEG) // 2, 0.0)
    heights = np.insert(gains, len(gains) // 2, 0.0)
    best = int(np.argmax(heights))
    if best in (0, len(turns) - 1):
        return float(turns[best])
    left, middle, right = heights[best - 1 : best + 2]
    bend = left - 2 * middle + right
    step = float(turns[best + 1] - turns[best])
    return float(turns[best] + step * (left - right) / (2 * bend)) if bend < 0 else 0.0
