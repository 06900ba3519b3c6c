"""Draws the pictures of calibrate_a_rig.md: run `python -m docs.draw_calibration` at the top."""

from pathlib import Path

import numpy as np

from fusion_rt.calibrate.intrinsics import calibrate_intrinsics
from fusion_rt.calibrate.pictures import (
    overlay_picture,
    reprojection_picture,
    rig_picture,
    save_picture,
)
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.rig import find_rig, load_rig
from tests.calibrate import boards_drawn
from tests.calibrate.scene import photograph, scan, street

FOLDER = Path(__file__).parent / "calibration"


def main() -> None:
    camera = boards_drawn.PINHOLE
    at = boards_drawn.poses(12, 1.1)
    board = boards_drawn.photograph(camera, boards_drawn.CHARUCO, at[5])
    save_picture(board, FOLDER / "board.jpg")
    views = boards_drawn.views(camera, boards_drawn.CHARUCO, at)
    found = calibrate_intrinsics(views, (camera.width, camera.height))
    save_picture(reprojection_picture(found), FOLDER / "errors.png")
    save_picture(rig_picture(load_rig(find_rig("demo")).calibration), FOLDER / "rig.png")
    draw_overlays()


def draw_overlays() -> None:
    """The same street with a start that is off, and with the pose found."""
    camera = Pinhole(width=960, height=600, fx_px=700, fy_px=700, cx_px=479.5, cy_px=299.5)
    optical = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    pose = RigidTransform(optical, [0.05, -0.35, -0.3])
    turn = RigidTransform.from_rotation_vector(np.radians([1.2, -1.2, 1.0]))
    start = RigidTransform(turn.rotation @ optical, [0.11, -0.4, -0.24])
    boxes = street(0)
    grey, (points, _) = photograph(camera, pose, boxes), scan(boxes)
    pictures = [overlay_picture(grey, points, camera, one)[100:500] for one in (start, pose)]
    save_picture(np.asarray(np.vstack(pictures), dtype=np.uint8), FOLDER / "overlay.jpg")


if __name__ == "__main__":
    main()
