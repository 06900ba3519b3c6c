"""Camera, LiDAR and ground truth look at one geometry."""

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the extra sim is not installed")
pytest.importorskip("cv2", reason="the extra sim is not installed")

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sim.beams import BEAM_TABLES
from fusion_rt.sim.camera import RENDER_WIDTH, SimulatedCamera
from fusion_rt.sim.lidar import SimulatedLidar
from fusion_rt.sim.preview import corners_of
from fusion_rt.sim.truth import truth_at
from tests.sim.conftest import shared_world

PERIOD_NS = 100 * NS_PER_MS
NEARER_M = 0.3


def agreement(scenario: str, seed: int, calibration: Calibration, width: int) -> tuple[int, int]:
    """Points on objects that the camera can see, and those of them on the object's pixels.

    Points that something nearer hides from the camera, which sits elsewhere, are not counted.
    """
    world = shared_world(scenario, seed)
    lidar_place, camera_place = (calibration.base_from[n] for n in ("lidar_top", "camera_front"))
    pinhole = calibration.cameras["camera_front"]
    lidar = SimulatedLidar(world, BEAM_TABLES["hdl64"], 1200, lidar_place)
    camera = SimulatedCamera(world, pinhole, camera_place, width)
    right = total = 0
    for number, end_ns in enumerate(range(4 * NS_PER_S, 40 * NS_PER_S, 3 * NS_PER_S)):
        sweep, taken_ns = lidar.turn(end_ns, number), end_ns - PERIOD_NS // 2  # as it looks ahead
        look, truth = camera.look(taken_ns), truth_at(world, taken_ns)
        velocity = dict(
            zip(truth.ids.tolist(), truth.boxes[:, 7:9].astype(np.float64), strict=True)
        )
        speed, turning = truth.ego[3:]
        since_s = sweep.points[:, 4].astype(np.float64) + PERIOD_NS / 2 / NS_PER_S
        chosen = (sweep.object_ids > 0) & (np.abs(since_s) < 0.012)
        points = lidar_place.apply(sweep.points[chosen, :3])
        ids, since_s = sweep.object_ids[chosen], since_s[chosen]
        points[:, 0] += speed * since_s  # de-skewed: ego motion, then the object's own
        points[:, :2] += turning * since_s[:, None] * np.stack([-points[:, 1], points[:, 0]], 1)
        points[:, :2] -= since_s[:, None] * np.array([velocity[n] for n in ids.tolist()]).reshape(
            -1, 2
        )
        seen = camera_place.inverse().apply(points)
        pixels = pinhole.project(seen)
        inside = np.isfinite(pixels).all(axis=1)
        u, v = np.round(np.where(inside[:, None], pixels, -1)).astype(int).T
        inside &= (u >= 0) & (u < pinhole.width) & (v >= 0) & (v < pinhole.height)
        shown = look.object_ids[v[inside], u[inside]]
        is_hidden = (look.depth_m[v[inside], u[inside]] < seen[inside, 2] - NEARER_M) & (
            shown != ids[inside]
        )
        total += int((~is_hidden).sum())
        right += int((shown == ids[inside])[~is_hidden].sum())
    return right, total


def test_points_lie_on_the_pixels_of_their_object(calibration: Calibration) -> None:
    counts = [
        agreement(name, seed, calibration, RENDER_WIDTH)
        for name, seed in (("urban_day", 1), ("urban_day", 2))
    ]
    right, total = np.sum(counts, axis=0)
    assert total > 3000
    assert right / total >= 0.99


def test_boxes_frame_the_pixels_of_their_object(calibration: Calibration) -> None:
    """Of whole, unhidden objects the projected box is as large as what is seen, to a few pixels."""
    world, pinhole = shared_world("urban_day", 2), calibration.cameras["camera_front"]
    place = calibration.base_from["camera_front"]
    camera, checked = SimulatedCamera(world, pinhole, place, 1280), 0
    for t_ns in range(3 * NS_PER_S, 30 * NS_PER_S, 3 * NS_PER_S):
        look, truth = camera.look(t_ns), truth_at(world, t_ns)
        seen = dict(
            zip(
                look.visibility.ids.tolist(),
                zip(look.visibility.shown_px, look.visibility.alone_px, strict=True),
                strict=True,
            )
        )
        for row, number in enumerate(truth.ids.tolist()):
            shown, alone = seen.get(number, (0, 1))
            corners = pinhole.project(place.inverse().apply(corners_of(truth.boxes[row])))
            if shown < 400 or shown < alone or not np.isfinite(corners).all():
                continue
            low, high = corners.min(axis=0), corners.max(axis=0)
            if low.min() < 2 or high[0] > pinhole.width - 3 or high[1] > pinhole.height - 3:
                continue
            v, u = np.nonzero(look.object_ids == number)
            gaps = np.array(
                [u.min() - low[0], v.min() - low[1], high[0] - u.max(), high[1] - v.max()]
            )
            assert gaps.min() > -2  # nothing outside the box
            assert gaps.max() < 0.35 * max(high - low)  # and it is not far too large
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("width", [640, 1280])
def test_what_is_seen_does_not_hang_on_how_finely_it_is_drawn(
    width: int, calibration: Calibration
) -> None:
    world, pinhole = shared_world("urban_day", 1), calibration.cameras["camera_front"]
    camera = SimulatedCamera(world, pinhole, calibration.base_from["camera_front"], width)
    labels = camera.look(16 * NS_PER_S).object_ids
    fine = SimulatedCamera(world, pinhole, calibration.base_from["camera_front"], 1920)
    assert (labels == fine.look(16 * NS_PER_S).object_ids).mean() > 0.995
