"""The demo's report: moments before, during and after each loss, as camera and plan with boxes."""

import base64
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import from_extra
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.fusion_view import AnswerView
from fusion_rt.latency.summary import read_run
from fusion_rt.messages import CameraFrame, Detections, LidarSweep
from fusion_rt.report import report_page
from fusion_rt.sim.preview import corners_of, draw_box

with from_extra("sim"):
    import cv2

Image = npt.NDArray[np.uint8]
_WIDTH, _HEIGHT = 800, 450
_PLAN_M = 50.0
_COLOURS = ((80, 220, 80), (40, 160, 255), (255, 120, 60), (255, 60, 220), (60, 60, 255))
_SCORE_SHOWN = 0.3


class Scene(msgspec.Struct, eq=False):
    """One moment of the run."""

    title: str
    answer: Detections
    picture: Image


class SceneDrawer:
    """Draws an answer over what the sensors last saw."""

    def __init__(self, plan: FusionPlan, calibration: Calibration) -> None:
        self.camera = plan.topic_of("camera")
        self.lidar = plan.topic_of("lidar")
        self._calibration = calibration
        self._frames = {stream.topic: stream.frame for stream in plan.streams}

    def draw(
        self, answer: Detections, frame: CameraFrame | None, sweep: LidarSweep | None
    ) -> Image:
        """Camera to the left, plan to the right; black where a sensor is missing."""
        return np.hstack([self._camera(answer, frame), self._plan(answer, sweep)])

    def _camera(self, answer: Detections, frame: CameraFrame | None) -> Image:
        if self.camera is None:
            return np.zeros((_HEIGHT, 0, 3), np.uint8)
        name = self._frames[self.camera]
        pinhole = self._calibration.pinhole(name)
        panel = np.zeros((pinhole.height, pinhole.width, 3), np.uint8)
        if frame is not None and frame.encoding in ("bgr8", "rgb8"):
            panel[:] = frame.image if frame.encoding == "bgr8" else frame.image[..., ::-1]
        place = self._calibration.base_from[name].inverse()
        for row in _shown(answer):
            draw_box(panel, answer.boxes[row], place, pinhole, _colour(answer, row))
        small = cv2.resize(panel, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
        return _titled(np.asarray(small, np.uint8), _state(answer, self.camera))

    def _plan(self, answer: Detections, sweep: LidarSweep | None) -> Image:
        panel = np.zeros((_HEIGHT, _HEIGHT, 3), np.uint8)
        if sweep is not None and self.lidar is not None:
            base_from_lidar = self._calibration.base_from[self._frames[self.lidar]]
            at = _on_plan(base_from_lidar.apply(sweep.points[:, :3]))
            inside = ((at >= 0) & (at < _HEIGHT)).all(axis=1)
            panel[at[inside, 1], at[inside, 0]] = 120
        for row in _shown(answer):
            corners = corners_of(answer.boxes[row])[[0, 2, 6, 4]]
            cv2.polylines(panel, [_on_plan(corners)], True, _colour(answer, row), 1, cv2.LINE_AA)
        return _titled(panel, _state(answer, self.lidar) if self.lidar else "seen from above")


def write_report(
    folder: Path, rows: Path, view: AnswerView, scenes: list[Scene], started_ns: int
) -> Path:
    """One page: the scenes, the modes, and where the time went."""
    folder.mkdir(parents=True, exist_ok=True)
    page = report_page(read_run(rows))
    modes = "".join(
        f"<li>{(at_ns - started_ns) / NS_PER_S:.1f} s: {escape(mode)}</li>"
        for at_ns, mode in view.changes
    )
    pictures = "".join(_figure(folder, number, scene) for number, scene in enumerate(scenes))
    ours = f"<h1>demo</h1><h2>What was seen</h2>{pictures}<h2>Modes</h2><ul>{modes}</ul>"
    path = folder / "report.html"
    path.write_text(page.replace("<body>", f"<body>{ours}", 1))
    return path


def _figure(folder: Path, number: int, scene: Scene) -> str:
    _, jpeg = cv2.imencode(".jpg", scene.picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    (folder / f"scene{number}.jpg").write_bytes(jpeg.tobytes())
    data = base64.b64encode(jpeg.tobytes()).decode()
    reasons = escape("; ".join(scene.answer.mode_reasons))
    image = f"<img src='data:image/jpeg;base64,{data}' style='max-width:100%'>"
    text = f"<b>{escape(scene.title)}</b>: {scene.answer.mode} {reasons}"
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _shown(answer: Detections) -> list[int]:
    return [row for row in range(len(answer.boxes)) if answer.scores[row] >= _SCORE_SHOWN]


def _colour(answer: Detections, row: int) -> tuple[int, int, int]:
    return _COLOURS[int(answer.class_ids[row]) % len(_COLOURS)]


def _state(answer: Detections, topic: str) -> str:
    member = next((m for m in answer.members if m.topic == topic), None)
    if member is None or member.quality == "missing":
        return f"{topic}: missing ({member.reason if member else 'not fused'})"
    return topic


def _on_plan(points: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    zoom = _HEIGHT / (_PLAN_M + 5)
    u = _HEIGHT / 2 - points[:, 1] * zoom
    v = _HEIGHT - (points[:, 0] + 4) * zoom
    return np.stack([u, v], axis=-1).astype(np.int32)


def _titled(panel: Image, title: str) -> Image:
    panel[:22] //= 3
    cv2.putText(panel, title, (8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return panel
