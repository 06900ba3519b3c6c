"""Watches a running rig for a mounting that moved or stamps that slipped; its words go to Health.

A pose is right as long as no small turn away from it scores better, and stamps are as long as no
earlier or later place of the vehicle does. Single pairs of image and sweep say little, so the gain
of each change is averaged until it stands out from its own scatter.
"""

from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.alignment import Alignment
from fusion_rt.calibrate.scan_edges import ScanEdges
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import CameraModel, RigidTransform

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

TURNS_DEG = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)
"""Tried about each axis; the best and its neighbours give the estimate."""
LATE_S = (-0.3, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.3)
"""Tried for the camera's stamps, while the vehicle moves."""
BLUR_OF_FOCAL = 0.003
MIN_PAIRS = 8
KEPT_PAIRS = 12
"""The newest: what was seen before a mounting moved must not plead for it long."""
KEPT_IN_MOTION = 40
"""Some of these say much of time and most little, so more are needed."""
SIGNIFICANCE = 5.0
"""Standard errors; 24 turns are tried, again and again, so two would often warn of nothing."""
SIGNIFICANCE_IN_MOTION = 2.5
"""Stamps that are right put this some 8 standard errors below nothing."""
_AXES = ("pitch", "yaw", "roll")
"""Turns about the camera's x, y and z."""


class MountingDrift(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor thinks of a mounting."""

    pairs: int
    """Pairs of image and sweep behind it."""
    score: float
    """Edge alignment of the last pair; how high depends on the scene."""
    turn_deg: tuple[float, float, float]
    """By how much the camera seems turned about its x, y, z since it was calibrated."""
    late_s: float | None
    """How late the camera is stamped against the LiDAR; None before enough pairs in motion."""
    warning: str
    """Empty while all is well."""


class Gains:
    """How much better each of some changes scores than none, over the newest pairs."""

    def __init__(self, changes: tuple[float, ...], rows: int, kept: int) -> None:
        """`rows` kinds of change, each with all of `changes`; the newest `kept` pairs count."""
        self._changes = np.array(changes)
        self._rows = rows
        self._kept: deque[Floats] = deque(maxlen=kept)

    def __len__(self) -> int:
        return len(self._kept)

    def push(self, gains: Floats) -> None:
        self._kept.append(gains.reshape(self._rows, len(self._changes)))

    @property
    def best(self) -> list[float]:
        """The change that suits best, per row; 0 before enough pairs."""
        if len(self._kept) < MIN_PAIRS:
            return [0.0] * self._rows
        return [_peak(self._changes, row) for row in np.mean(self._kept, axis=0)]

    def largest(self, limit: float) -> tuple[float, int] | None:
        """The most significant mean gain and its row; None below `limit` standard errors."""
        if len(self._kept) < MIN_PAIRS:
            return None
        mean = np.mean(self._kept, axis=0)
        error = np.std(self._kept, axis=0, ddof=1) / np.sqrt(len(self._kept))
        significance = mean / np.maximum(error, 1e-9)
        place = np.unravel_index(int(np.argmax(significance)), mean.shape)
        if significance[place] <= limit:
            return None
        return float(mean[place]), int(place[0])


class MountingMonitor:
    """One camera against one LiDAR; feed it a pair now and then, it costs some 50 ms each."""

    def __init__(
        self, camera_name: str, lidar_name: str, camera: CameraModel, pose: RigidTransform
    ) -> None:
        self._names = f"{camera_name} against {lidar_name}"
        self._camera = camera
        self._pose = pose
        self._turned = [_turned(pose, axis, deg) for axis in range(3) for deg in TURNS_DEG]
        self._turns = Gains(TURNS_DEG, rows=3, kept=KEPT_PAIRS)
        self._lateness = Gains(LATE_S, rows=1, kept=KEPT_IN_MOTION)
        self._score = 0.0
        self.skipped = 0
        """Pairs without enough edges, such as at night or in a tunnel."""

    def push(
        self, grey: Grey, edges: ScanEdges, late_poses: list[RigidTransform] | None = None
    ) -> MountingDrift:
        """Take in a pair, the sweep moved to the image's time; one that says nothing is counted.

        Image (H, W) uint8. `late_poses`: where the LiDAR was from the camera, had the image been
        taken LATE_S before its stamp; None where the vehicle stands or its motion is unknown.
        """
        try:
            alignment = Alignment(grey, edges, self._camera, self._pose)
        except CalibrationError:
            self.skipped += 1
            return self.state()
        alignment.sharpen(self._camera.fx_px * BLUR_OF_FOCAL)
        self._score = alignment.score(self._pose)
        self._turns.push(np.array([alignment.score(p) for p in self._turned]) - self._score)
        if late_poses is not None:
            self._lateness.push(np.array([alignment.score(p) for p in late_poses]) - self._score)
        return self.state()

    def state(self) -> MountingDrift:
        x, y, z = self._turns.best
        is_known = len(self._lateness) >= MIN_PAIRS
        return MountingDrift(
            pairs=len(self._turns),
            score=self._score,
            turn_deg=(x, y, z),
            late_s=self._lateness.best[0] if is_known else None,
            warning=self._warning(),
        )

    def _warning(self) -> str:
        """Of a turn or of late stamps, whichever explains more: each mimics the other a little."""
        turned = self._turns.largest(SIGNIFICANCE)
        late = self._lateness.largest(SIGNIFICANCE_IN_MOTION)
        if late is not None and (turned is None or late[0] > turned[0]):
            return (
                f"{self._names}: stamped {self._lateness.best[0] * 1000:+.0f} ms late or so; "
                "look at its clock and driver"
            )
        if turned is None:
            return ""
        return (
            f"{self._names}: the mounting moved, {_AXES[turned[1]]} "
            f"{self._turns.best[turned[1]]:+.1f} degrees or so; "
            "look at the brackets, then calibrate again"
        )


def _turned(pose: RigidTransform, axis: int, turn_deg: float) -> RigidTransform:
    """As the camera would see the LiDAR, were it turned about one of its own axes."""
    turn = RigidTransform.from_rotation_vector(np.eye(3)[axis] * np.radians(turn_deg))
    return turn.inverse() @ pose


def _peak(changes: Floats, gains: Floats) -> float:
    """The change that gains most, to a part of the step by a parabola; 0 where none gains."""
    middle = len(changes) // 2
    at, heights = np.insert(changes, middle, 0.0), np.insert(gains, middle, 0.0)
    best = int(np.argmax(heights))
    if best in (0, len(at) - 1):
        return float(at[best])
    bend, slope, _ = np.polyfit(at[best - 1 : best + 2], heights[best - 1 : best + 2], 2)
    return float(-slope / (2 * bend)) if bend < 0 else 0.0
