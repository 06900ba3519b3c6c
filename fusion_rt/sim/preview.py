"""One picture of a moment of a simulated drive: what the camera, LiDAR, microphones and GPS say.

The boxes drawn are those of the ground truth, projected through the rig's calibration: where they
do not sit on the objects, something is wrong.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import from_extra
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from fusion_rt.sensors import default_frame
from fusion_rt.sim.drive import Drive, Made
from fusion_rt.sim.models import CLASSES
from fusion_rt.sim.truth import Truth, is_seen_by_camera, truth_at

with from_extra("sim"):
    import cv2

Image = npt.NDArray[np.uint8]
_WIDTH, _PICTURE = 960, 540
_PLAN, _PLAN_M = 540, 45.0
_SOUND = 300
_COLOURS = ((80, 220, 80), (40, 160, 255), (255, 120, 60), (255, 60, 220), (60, 60, 255))
_GREY = (150, 150, 150)
_EDGES = [(a, b) for a in range(8) for b in range(a) if (a ^ b) in (1, 2, 4)]
_STEPS = 8
_MARGIN = 20
_WINDOW = 512


class _Moment(msgspec.Struct, eq=False):
    """The last message of each kind before the picture, and what came before."""

    camera: Made | None = None
    lidar: Made | None = None
    sound: list[AudioChunk] = []
    fixes: list[GpsFix] = []


class PreviewMaker:
    """Listens to a drive, then draws its moment at `t_ns`."""

    def __init__(self, drive: Drive, calibration: Calibration, t_ns: int) -> None:
        self._drive = drive
        self._calibration = calibration
        self._t_ns = t_ns
        self._moment = _Moment(sound=[], fixes=[])

    def add(self, made: Made) -> None:
        """Keep what the picture will need."""
        message, moment = made.message, self._moment
        if isinstance(message, GpsFix):
            moment.fixes.append(message)
        if made.shot.true_ns > self._t_ns:
            return
        if isinstance(message, CameraFrame):
            moment.camera = made
        elif isinstance(message, LidarSweep):
            moment.lidar = made
        elif isinstance(message, AudioChunk):
            moment.sound = [*moment.sound, message][-150:]

    def write(self, path: Path) -> None:
        """Draw it as a PNG."""
        right = np.full((_PLAN, _PLAN, 3), 16, np.uint8)
        picture = np.full((_PICTURE, _WIDTH, 3), 16, np.uint8)
        if self._moment.camera is not None:
            picture = self._camera_panel(self._moment.camera)
        if self._moment.lidar is not None:
            right = self._plan_panel(self._moment.lidar)
        top = np.hstack([picture, right])
        bottom = np.hstack([self._sound_panel(_WIDTH), self._track_panel(_PLAN)])
        _, png = cv2.imencode(".png", np.vstack([top, bottom]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        path.write_bytes(png.tobytes())

    def _camera_panel(self, made: Made) -> Image:
        frame, calibration = made.message, self._calibration
        assert isinstance(frame, CameraFrame)
        image = frame.image if frame.encoding == "bgr8" else frame.image[..., ::-1]
        image = np.ascontiguousarray(image).copy()
        name = default_frame(made.topic)
        truth = truth_at(self._drive.world, made.shot.true_ns)
        place, pinhole = calibration.base_from[name].inverse(), calibration.pinhole(name)
        for row, number in enumerate(truth.ids.tolist()):
            counts = made.seen.get(number, (0, 0))
            if is_seen_by_camera(counts):
                colour = _COLOURS[int(truth.class_ids[row])]
                draw_box(image, truth.boxes[row], place, pinhole, colour)
        panel = cv2.resize(image, (_WIDTH, _PICTURE), interpolation=cv2.INTER_AREA)
        return _titled(
            np.asarray(panel, np.uint8), f"{made.topic}  {made.shot.true_ns / NS_PER_S:.2f} s"
        )

    def _plan_panel(self, made: Made) -> Image:
        sweep = made.message
        assert isinstance(sweep, LidarSweep)
        panel = np.full((_PLAN, _PLAN, 3), 16, np.uint8)
        points = self._calibration.base_from[default_frame(made.topic)].apply(sweep.points[:, :3])
        bright = np.clip(70 + 400 * sweep.points[:, 3], 0, 255)
        at = _on_plan(points)
        inside = ((at >= 0) & (at < _PLAN)).all(axis=1)
        panel[at[inside, 1], at[inside, 0]] = bright[inside, None]
        truth = truth_at(self._drive.world, made.shot.true_ns, self._drive.array)
        for row, number in enumerate(truth.ids.tolist()):
            is_hit = number in made.seen
            colour = _COLOURS[int(truth.class_ids[row])] if is_hit else (70, 70, 70)
            cv2.polylines(
                panel, [_on_plan(corners_of(truth.boxes[row])[[0, 2, 6, 4]])], True, colour
            )
        self._draw_rig(panel, truth)
        return _titled(panel, f"{made.topic}  {len(sweep.points)} points")

    def _draw_rig(self, panel: Image, truth: Truth) -> None:
        middle = (_PLAN // 2, _PLAN // 2)
        cv2.arrowedLine(panel, middle, (_PLAN // 2, _PLAN // 2 - 24), (255, 255, 255), 2)
        for _, bearing, _, _ in truth.sirens:
            tip = _on_plan(40 * np.array([[np.cos(bearing), np.sin(bearing), 0]]))[0]
            cv2.line(panel, middle, tuple(tip.tolist()), _COLOURS[CLASSES.index("emergency")], 2)

    def _sound_panel(self, width: int) -> Image:
        panel = np.full((_SOUND, width, 3), 16, np.uint8)
        chunks = self._moment.sound
        if chunks:
            sound = np.concatenate([chunk.samples[:, 0] for chunk in chunks]).astype(np.float64)
            panel[:] = cv2.applyColorMap(_spectrogram(sound, width, _SOUND), cv2.COLORMAP_MAGMA)
            lasts_s, top_hz = len(sound) / chunks[0].rate_hz, chunks[0].rate_hz / 2
            return _titled(panel, f"microphone 0: last {lasts_s:.1f} s, 0..{top_hz / 1000:g} kHz")
        return _titled(panel, "no sound")

    def _track_panel(self, width: int) -> Image:
        panel = np.full((_SOUND, width, 3), 16, np.uint8)
        good = [fix for fix in self._moment.fixes if fix.fix != "none"]
        if not good:
            return _titled(panel, "no fix")
        gps = self._drive.world.scenario.gps
        scale = 111_320 * np.cos(np.radians(gps.latitude_deg)), 111_320
        degrees = [
            (f.longitude_deg - gps.longitude_deg, f.latitude_deg - gps.latitude_deg) for f in good
        ]
        fixes = np.array(degrees) * scale
        times = range(0, good[-1].stamp_ns, NS_PER_S // 5)
        poses = [self._drive.world.ego(t_ns).pose for t_ns in times]
        path = np.array([(pose.x_m, pose.y_m) for pose in poses]).reshape(-1, 2)
        both = np.concatenate([fixes, path])
        low, span = both.min(axis=0), max(float(np.ptp(both, axis=0).max()), 20.0)
        zoom = (_SOUND - 3 * _MARGIN) / span
        pixels = (both - low) * (zoom, -zoom) + (_MARGIN, _SOUND - _MARGIN)
        at = pixels.astype(np.int32)
        cv2.polylines(panel, [at[len(fixes) :]], False, _GREY)
        for fix in at[: len(fixes)]:
            cv2.circle(panel, tuple(fix.tolist()), 1, (80, 220, 255), -1)
        return _titled(panel, f"track: true grey, fixes yellow; {span:.0f} m across")


def draw_box(
    image: Image,
    box: npt.NDArray[np.float32],
    camera_from_base: RigidTransform,
    pinhole: Pinhole,
    colour: tuple[int, int, int],
) -> None:
    """The edges of a box (9,) in `base`, as the camera sees them."""
    corners = camera_from_base.apply(corners_of(box))
    for a, b in _EDGES:
        way = np.linspace(corners[a], corners[b], _STEPS)  # lines bend under a lens
        pixels = pinhole.project(way[way[:, 2] > 0.2])
        pixels = pixels[np.isfinite(pixels).all(axis=1) & (np.abs(pixels) < 10_000).all(axis=1)]
        cv2.polylines(image, [np.round(pixels).astype(np.int32)], False, colour, 1, cv2.LINE_AA)


def corners_of(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(8, 3): corner k lies on the far side along x, y, z for bits 4, 2, 1 of k."""
    x, y, z, length, width, height, yaw = (float(value) for value in box[:7])
    signs = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)]) - 0.5
    return RigidTransform.from_yaw(yaw, (x, y, z)).apply(signs * (length, width, height))


def _on_plan(points: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """(N, 2) pixels of (N, 3) in `base`: ahead is up."""
    zoom = _PLAN / 2 / _PLAN_M
    u, v = _PLAN / 2 - points[:, 1] * zoom, _PLAN / 2 - points[:, 0] * zoom
    return np.stack([u, v], axis=-1).astype(np.int32)


def _spectrogram(sound: npt.NDArray[np.float64], width: int, height: int) -> Image:
    starts = np.linspace(0, max(0, len(sound) - _WINDOW), width).astype(int)
    windows = np.stack([np.resize(sound[s : s + _WINDOW], _WINDOW) for s in starts])
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)).T + 1e-3
    level_db = np.flipud(20 * np.log10(power))
    level_db = cv2.resize(level_db, (width, height), interpolation=cv2.INTER_AREA)
    scaled: Image = np.clip((level_db - 40) * (255 / 80), 0, 255).astype(np.uint8)
    return scaled


def _titled(panel: Image, title: str) -> Image:
    panel[:24] //= 3
    cv2.putText(
        panel, title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )
    return panel
