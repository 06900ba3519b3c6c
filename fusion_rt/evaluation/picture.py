"""A moment as the model answered it: boxes in the picture and from above, coloured by sensor.

Colours mix the sensors' shares in each box; the bars beside boxes show the shares themselves.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fusion_rt.arrays import Floats
from fusion_rt.evaluation.asked import mounts_of
from fusion_rt.model.moments import Moment
from fusion_rt.model_file import STREAM_KINDS, ModelFile
from fusion_rt.perception import Answer
from fusion_rt.sim.models import CLASSES
from fusion_rt.sim.preview import corners_of, draw_box

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
KIND_COLOURS: dict[str, Colour] = {
    "camera": (255, 150, 40),
    "lidar": (60, 220, 90),
    "audio": (70, 70, 255),
    "gps": (220, 220, 220),
}
"""BGR."""
_PLAN, _PLAN_M = 504, 51.2
_GREY = (150, 150, 150)
_BAR = (30, 5)
_NEAREST_M = 1.0


def answer_picture(moment: Moment, answer: Answer, file: ModelFile, threshold: float) -> Image:
    """(504, ~1400, 3) BGR: the camera's view beside the view from above, x up."""
    shares = answer.contributions
    if shares is None:
        shares = np.ones((len(answer.scores), len(STREAM_KINDS)), np.float32)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)
    kept = np.flatnonzero(answer.scores >= threshold)
    view, plan = _enlarged(moment.image), _plan(moment)
    mounts = mounts_of(moment)
    assert mounts.pinhole is not None
    assert mounts.base_from_camera is not None
    scale = view.shape[1] / moment.pinhole.width
    camera_from_base = mounts.base_from_camera.inverse()
    small = moment.image
    overlay = np.zeros_like(small)
    for row in kept.tolist():
        colour = mixed(shares[row])
        draw_box(overlay, answer.boxes[row], camera_from_base, mounts.pinhole, colour)
        at = _on_plan(corners_of(answer.boxes[row])[[0, 2, 6, 4], :2])
        cv2.polylines(plan, [at], True, colour, 2, cv2.LINE_AA)
        _draw_bar(plan, (int(at[:, 0].max()) + 3, int(at[:, 1].mean())), shares[row])
        _draw_name(plan, at, file.classes[int(answer.labels[row])])
    view = _with_lines(view, overlay)
    for row in kept.tolist():
        middle = camera_from_base.apply(answer.boxes[row, :3].astype(np.float64))
        if middle[2] > _NEAREST_M:
            u, v = (mounts.pinhole.project(middle[None])[0] + 0.5) * scale
            if np.isfinite((u, v)).all() and 0 <= u < view.shape[1] and 0 <= v < view.shape[0]:
                _draw_bar(view, (int(u) - _BAR[0] // 2, int(v)), shares[row])
    _draw_siren(plan, answer, file.siren_threshold)
    _draw_legend(view, file.kinds)
    return np.hstack([view, plan])


def truth_picture(moment: Moment) -> Image:
    """The same two views with the labels alone: they must sit on what they name."""
    view, plan = _enlarged(moment.image), _plan(moment)
    mounts = mounts_of(moment)
    assert mounts.pinhole is not None
    assert mounts.base_from_camera is not None
    overlay = np.zeros_like(moment.image)
    camera_from_base = mounts.base_from_camera.inverse()
    for label in moment.labels_at_camera:
        if label.pixels[0]:
            box = np.array(label.box, np.float32)
            draw_box(overlay, box, camera_from_base, mounts.pinhole, KIND_COLOURS["camera"])
    for label in moment.labels:
        corners = corners_of(np.array(label.box, np.float32))[[0, 2, 6, 4], :2]
        cv2.polylines(plan, [_on_plan(corners)], True, KIND_COLOURS["lidar"], 1, cv2.LINE_AA)
        _draw_name(plan, _on_plan(corners), f"{CLASSES[label.class_id]} {label.points}")
    return np.hstack([_with_lines(view, overlay), plan])


def mixed(shares: Floats) -> Colour:
    """Of the sensors' colours, by shares (4,)."""
    colours = np.array([KIND_COLOURS[kind] for kind in STREAM_KINDS], np.float64)
    b, g, r = (shares.astype(np.float64) @ colours).clip(1, 255).round().astype(int).tolist()
    return b, g, r


def jpeg_of(image: Image, quality: int = 85) -> bytes:
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(jpeg.data)


def _with_lines(view: Image, overlay: Image) -> Image:
    """Lines drawn on the small picture, laid over the enlarged one."""
    size = view.shape[1], view.shape[0]
    lines = np.asarray(cv2.resize(overlay, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    drawn: Image = np.where(lines.any(axis=2, keepdims=True), np.maximum(lines, view // 2), view)
    return drawn


def _enlarged(image: Image) -> Image:
    width = round(image.shape[1] * _PLAN / image.shape[0])
    larger = cv2.resize(image, (width, _PLAN), interpolation=cv2.INTER_LINEAR)
    return np.asarray(larger, np.uint8)


def _plan(moment: Moment) -> Image:
    """LiDAR points, and the truth in grey."""
    plan = np.full((_PLAN, _PLAN, 3), 16, np.uint8)
    mount = mounts_of(moment).base_from_lidar
    assert mount is not None
    points = mount.apply(moment.sweep[:, :3])
    points = points[points[:, 2] > 0.15]
    at = _on_plan(points[:, :2])
    inside = ((at >= 0) & (at < _PLAN)).all(axis=1)
    plan[at[inside, 1], at[inside, 0]] = 120
    for label in moment.labels:
        corners = corners_of(np.array(label.box, np.float32))[[0, 2, 6, 4], :2]
        cv2.polylines(plan, [_on_plan(corners)], True, _GREY, 1, cv2.LINE_AA)
    return plan


def _on_plan(places: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """(N, 2) pixels of (N, 2) in `base`: ahead is up, we are at the middle of the lower edge."""
    zoom = _PLAN / _PLAN_M
    u, v = _PLAN / 2 - places[:, 1] * zoom, _PLAN - 1 - places[:, 0] * zoom
    return np.stack([u, v], axis=-1).round().astype(np.int32)


def _draw_bar(image: Image, at: tuple[int, int], shares: Floats) -> None:
    x, y = at
    cv2.rectangle(image, (x - 1, y - 1), (x + _BAR[0] + 1, y + _BAR[1] + 1), (0, 0, 0), -1)
    edges = x + np.round(np.concatenate([[0], np.cumsum(shares)]) * _BAR[0]).astype(int)
    for kind, left, right in zip(
        STREAM_KINDS, edges[:-1].tolist(), edges[1:].tolist(), strict=True
    ):
        if right > left:
            cv2.rectangle(image, (left, y), (right, y + _BAR[1]), KIND_COLOURS[kind], -1)


def _draw_name(plan: Image, at: npt.NDArray[np.int32], name: str) -> None:
    place = int(at[:, 0].max()) + 3, int(at[:, 1].mean()) - 4
    cv2.putText(plan, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.32, (200, 200, 200), 1, cv2.LINE_AA)


def _draw_siren(plan: Image, answer: Answer, threshold: float) -> None:
    if answer.siren is None or answer.siren[0] < threshold:
        return
    _, cos, sin = answer.siren.astype(np.float64).tolist()
    ends = _on_plan(np.array([[0.0, 0.0], [30 * cos, 30 * sin]]))
    cv2.arrowedLine(plan, ends[0].tolist(), ends[1].tolist(), KIND_COLOURS["audio"], 2, cv2.LINE_AA)


def _draw_legend(view: Image, kinds: Sequence[str]) -> None:
    view[-22:] //= 3
    for number, kind in enumerate(kinds):
        x, y = 8 + 90 * number, view.shape[0] - 7
        place = (x, y)
        cv2.putText(
            view, kind, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, KIND_COLOURS[kind], 1, cv2.LINE_AA
        )
