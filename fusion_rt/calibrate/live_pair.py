"""One moment of a running rig as the mounting watch wants it: a small grey image and a still sweep.

A sweep takes 100 ms, in which a car drives metres and turns degrees. Speed and turn rate from GPS
move each point to where it was, from the vehicle, when the image was taken.
"""

from collections import deque

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.scan_edges import ScanEdges, scan_edges
from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.messages import CameraFrame, GpsFix, LidarSweep

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

WIDTH_PX = 640
"""Wide enough to see half a degree, small enough to be cheap."""
_CONVERSIONS = {
    "bgr8": cv2.COLOR_BGR2GRAY,
    "rgb8": cv2.COLOR_RGB2GRAY,
    "yuyv": cv2.COLOR_YUV2GRAY_YUYV,
    "nv12": cv2.COLOR_YUV2GRAY_NV12,
}
_TURN_BASE_NS = NS_PER_S // 2
_MAX_FIX_AGE_NS = NS_PER_S
_MARGIN_RAD = 0.1
_SAMPLE = 16
_TELLING_MPS, _TELLING_RADPS = 4.0, 0.1
"""Motion in which 100 ms can be seen: 0.4 m, or half a degree."""
_MIN_SPEED_MPS = 1.0
"""Slower, the course is noise and the motion within a sweep is none."""


class Motion:
    """Speed and turn rate of the vehicle, from the newest GPS fixes."""

    def __init__(self) -> None:
        self._fixes: deque[GpsFix] = deque(maxlen=64)

    def push(self, fix: GpsFix) -> None:
        if self._fixes and fix.stamp_ns <= self._fixes[-1].stamp_ns:
            self._fixes.clear()  # the clock stepped, or another receiver took over
        self._fixes.append(fix)

    def at(self, stamp_ns: int) -> tuple[float, float] | None:
        """Metres per second forward and radians per second to the left; None where unknown."""
        if not self._fixes:
            return None
        nearest = min(self._fixes, key=lambda fix: abs(fix.stamp_ns - stamp_ns))
        velocity = nearest.velocity_enu_mps
        if velocity is None or abs(nearest.stamp_ns - stamp_ns) > _MAX_FIX_AGE_NS:
            return None
        speed = float(np.hypot(velocity[0], velocity[1]))
        if speed < _MIN_SPEED_MPS:
            return 0.0, 0.0
        around = [f for f in self._fixes if abs(f.stamp_ns - nearest.stamp_ns) <= _TURN_BASE_NS]
        return speed, _turn_rate(around)


def _turn_rate(fixes: list[GpsFix]) -> float:
    courses = [(f.stamp_ns, f.course_deg) for f in fixes if f.course_deg is not None]
    if len(courses) < 2:
        return 0.0
    (first_ns, first_deg), (last_ns, last_deg) = courses[0], courses[-1]
    clockwise_deg = (last_deg - first_deg + 180) % 360 - 180
    return -float(np.radians(clockwise_deg)) / ((last_ns - first_ns) / NS_PER_S)


def small_camera(camera: CameraModel) -> CameraModel:
    """The camera of `small_grey`'s images."""
    shrink = _shrink(camera.width)
    return msgspec.structs.replace(
        camera,
        width=camera.width // shrink,
        height=camera.height // shrink,
        fx_px=camera.fx_px / shrink,
        fy_px=camera.fy_px / shrink,
        cx_px=(camera.cx_px + 0.5) / shrink - 0.5,
        cy_px=(camera.cy_px + 0.5) / shrink - 0.5,
    )


def small_grey(frame: CameraFrame) -> Grey | None:
    """(H, W) uint8, a whole fraction of the frame's size; None for a JPEG that does not decode."""
    if frame.encoding == "jpeg":
        decoded = cv2.imdecode(frame.image, cv2.IMREAD_GRAYSCALE)
        if decoded is None:
            return None
        grey = np.asarray(decoded, dtype=np.uint8)
    elif frame.encoding == "mono8":
        grey = frame.image
    else:
        grey = np.asarray(cv2.cvtColor(frame.image, _CONVERSIONS[frame.encoding]), dtype=np.uint8)
    shrink = _shrink(frame.width)
    size = (frame.width // shrink, frame.height // shrink)
    whole = grey[: size[1] * shrink, : size[0] * shrink]
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _shrink(width: int) -> int:
    return max(round(width / WIDTH_PX), 1)


class SweepView:
    """The part of a LiDAR's sweeps that one camera sees."""

    def __init__(
        self,
        camera: CameraModel,
        camera_from_lidar: RigidTransform,
        base_from_lidar: RigidTransform,
    ) -> None:
        self._camera_from_lidar = camera_from_lidar
        self._base_from_lidar = base_from_lidar
        right, bottom = camera.width - 1, camera.height - 1
        corners = camera.rays([[0, 0], [right, 0], [0, bottom], [right, bottom]])
        widest_rad = float(np.arccos(np.nan_to_num(corners[:, 2], nan=-1.0).min()))
        self._cosine = np.cos(min(widest_rad + _MARGIN_RAD, np.pi))

    def seen_ns(self, sweep: LidarSweep) -> int | None:
        """When the LiDAR looked where the camera looks; None where it never does."""
        some = sweep.points[::_SAMPLE]
        dt_s = some[self._is_in_view(some), 4]
        if len(dt_s) == 0:
            return None
        return sweep.stamp_ns + round(float(np.median(dt_s)) * NS_PER_S)

    def still_edges(
        self, sweep: LidarSweep, image_ns: int, motion: tuple[float, float]
    ) -> ScanEdges:
        """Edges of the part in view, as if all of it had been seen at `image_ns`.

        `motion`: metres per second forward, radians per second to the left.
        """
        is_near = self._is_in_view(sweep.points)
        points = sweep.points[is_near].astype(np.float64)
        speed_mps, turn_radps = motion
        since_s = (image_ns - sweep.stamp_ns) / NS_PER_S - points[:, 4]
        x, y, z = self._base_from_lidar.apply(points[:, :3]).T
        x = x - speed_mps * since_s
        cos, sin = np.cos(turn_radps * since_s), np.sin(turn_radps * since_s)
        still = np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=1)
        ring = None if sweep.ring is None else sweep.ring[is_near].astype(np.int64)
        return scan_edges(self._base_from_lidar.inverse().apply(still), points[:, 3], ring)

    def late_poses(
        self, late_s: tuple[float, ...], motion: tuple[float, float] | None
    ) -> list[RigidTransform] | None:
        """`camera_from_lidar` as the image would see it, were it stamped so late; None at rest."""
        if motion is None or max(motion[0] / _TELLING_MPS, abs(motion[1]) / _TELLING_RADPS) < 1:
            return None
        speed_mps, turn_radps = motion
        camera_from_base = self._camera_from_lidar @ self._base_from_lidar.inverse()
        return [
            camera_from_base
            @ RigidTransform.from_yaw(turn_radps * late, (speed_mps * late, 0.0, 0.0))
            @ self._base_from_lidar
            for late in late_s
        ]

    def _is_in_view(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """(N,): within the cone of the image's corners, which is cheaper than to project."""
        pose = self._camera_from_lidar
        in_camera = points[:, :3] @ pose.rotation.T.astype(np.float32)
        in_camera += pose.translation_m.astype(np.float32)
        ranges = np.sqrt(np.einsum("ij,ij->i", in_camera, in_camera))
        return np.asarray(in_camera[:, 2] > self._cosine * ranges)
