"""Runs every command of docs/calibrate_a_rig.md, in the order of the page, on drawn data."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_rt.calibrate import targetless
from fusion_rt.calibrate.targetless import difference
from fusion_rt.calibration_file import load_calibration
from fusion_rt.geometry import RigidTransform
from tests.calibrate.boards_drawn import CHARUCO, CHESSBOARD, PINHOLE, photograph, poses
from tests.calibrate.scene import photograph as street_photograph
from tests.calibrate.scene import scan, street
from tests.calibrate.test_array_bearing import SQUARE, sound, write_wav
from tests.calibrate.test_programs import OPTICAL, run, write_signal
from tests.calibrate.test_time_offset import recorded

PAGE = (Path(__file__).parents[2] / "docs/calibrate_a_rig.md").read_text()
COMMANDS = [
    shlex.split(command.replace("\\\n", " "))[2:]
    for command in re.findall(r"^    (fusion-rt calibrate (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
]
TRUE = RigidTransform(OPTICAL, [0.05, -0.35, -0.3])
"""camera_from_lidar."""
RIG = """\
rig: car
calibration: car.calibration.yaml
sensors:
  camera/front: {driver: synthetic, width: 960, height: 600}
  lidar/top: {driver: synthetic}
  audio/array: {driver: synthetic, channels: 4}
"""
TAPE_MEASURE = """\
provenance: {method: tape measure}
transforms:
  base_from_lidar_top: {translation_m: [1.0, 0, 1.9], yaw_deg: 0}
  lidar_top_from_camera_front:
    translation_m: [0.34, 0.09, -0.33]
    rotation: [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
  base_from_audio_array: {translation_m: [1, 0, 1.5], yaw_deg: 0}
cameras:
  camera_front: {width: 960, height: 600, fx_px: 690, fy_px: 690, cx_px: 480, cy_px: 300}
microphones: {audio_array: [[0.1, 0.1, 0], [-0.1, 0.1, 0], [-0.1, -0.1, 0], [0.1, -0.1, 0]]}
"""


def write_pcd(path: Path, points, intensity) -> None:
    head = "VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    head += f"WIDTH {len(points)}\nHEIGHT 1\nPOINTS {len(points)}\nDATA binary\n"
    rows = np.column_stack([points, intensity]).astype("<f4")
    path.write_bytes(head.encode() + rows.tobytes())


def write_boards(folder: Path) -> None:
    """Pictures of the ChArUco board, and views of the board with holes."""
    (folder / "pictures").mkdir()
    for k, pose in enumerate(poses(12, 1.1)):
        cv2.imwrite(str(folder / f"pictures/{k}.png"), photograph(PINHOLE, CHARUCO, pose))
    holes_m = np.array([[-0.3, -0.3, 0], [0.3, -0.3, 0], [0.3, 0.3, 0], [-0.3, 0.3, 0]])
    rows = []
    for k, pose in enumerate(poses(6, 1.3, reach=0.6)):
        cv2.imwrite(str(folder / f"view{k}.png"), photograph(PINHOLE, CHESSBOARD, pose))
        centres = pose.apply(holes_m + CHESSBOARD.corners_m.mean(axis=0))
        numbers = TRUE.inverse().apply(centres).ravel()
        rows.append(",".join([f"view{k}.png", *map(str, numbers)]))
    (folder / "views.csv").write_text("\n".join(rows))


def write_recordings(folder: Path) -> None:
    """A street twice, two sounds, two recordings of one motion."""
    boxes = street(0)
    picture, (points, intensity) = street_photograph(PINHOLE, TRUE, boxes), scan(boxes)
    for k in (1, 2):
        cv2.imwrite(str(folder / f"{k}.png"), picture)
        write_pcd(folder / f"{k}.pcd", points, intensity)
    for name, azimuth_deg in (("front", 0), ("left", 90)):
        write_wav(folder / f"{name}.wav", sound(SQUARE, azimuth_deg) / 10, 16_000)
    write_signal(folder / "imu.csv", recorded("imu", 50))
    write_signal(folder / "camera.csv", recorded("camera", 30, 20, seed=1))


@pytest.mark.timeout(240)  # 20 s of work
def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targetless, "REPEATS", 3)
    monkeypatch.setattr(targetless, "SEARCHES", 1)
    monkeypatch.chdir(tmp_path)
    Path("car.yaml").write_text(RIG)
    Path("car.calibration.yaml").write_text(TAPE_MEASURE)
    write_boards(tmp_path)
    write_recordings(tmp_path)
    assert [words[0] for words in COMMANDS] == [
        "check-rig", "intrinsics", "camera-lidar", "camera-lidar", "microphones", "time-offsets",
        "check-rig",
    ]  # fmt: skip
    for words in COMMANDS:
        result = run(*words)
        assert result.exit_code == 0, (words, result.stdout, result.stderr)
    found = load_calibration(Path("car.calibration.yaml"))
    degrees, metres = difference(found.transform("camera_front", "lidar_top"), TRUE)
    assert degrees < 0.3
    assert metres < 0.03
    assert found.cameras["camera_front"].fx_px == pytest.approx(PINHOLE.fx_px, rel=0.003)
    assert len(found.provenance.results) == 4
    assert {path.name for path in tmp_path.glob("*.png")} >= {
        "rig.png", "errors.png", "overlay.png", "now.png"
    }  # fmt: skip
