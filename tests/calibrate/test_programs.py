"""The commands as a person types them, on drawn data."""

import datetime
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fusion_rt.calibrate.result_file import (
    read_calibration_file,
    with_camera,
    with_transform,
    write_calibration_file,
)
from fusion_rt.calibrate.targetless import difference
from fusion_rt.calibration_file import Made, load_calibration
from fusion_rt.cli import app_for
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import Pinhole, RigidTransform
from tests.calibrate.boards_drawn import CHARUCO, CHESSBOARD, PINHOLE, photograph, poses
from tests.calibrate.test_array_bearing import SQUARE, sound, write_wav
from tests.calibrate.test_time_offset import recorded

CHARUCO_OPTIONS = ["--columns", "10", "--rows", "7", "--square-mm", "60", "--marker-mm", "45"]


def run(*words: object):
    return CliRunner().invoke(
        app_for(["calibrate"]), ["calibrate", *map(str, words)], catch_exceptions=False
    )


@pytest.fixture(scope="module")
def board_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    for k, pose in enumerate(poses(12, 1.1)):
        cv2.imwrite(str(folder / f"{k:02d}.png"), photograph(PINHOLE, CHARUCO, pose))
    cv2.imwrite(str(folder / "empty.png"), np.full((600, 960), 90, np.uint8))
    cv2.imwrite(str(folder / "small.png"), np.full((60, 96), 90, np.uint8))
    (folder / "torn.png").write_bytes(b"no image")
    return folder


def test_intrinsics_from_a_folder_of_images(board_images: Path, tmp_path: Path) -> None:
    output, picture = tmp_path / "a.yaml", tmp_path / "a.png"
    result = run(
        "intrinsics", board_images, *CHARUCO_OPTIONS, "--output", output, "--picture", picture
    )
    assert result.exit_code == 0
    assert "left out: empty.png shows no board, or not all of it" in result.stdout
    assert "left out: small.png has another size than the rest" in result.stdout
    assert "left out: torn.png cannot be read as an image" in result.stdout
    assert cv2.imread(str(picture)).shape == (600, 960, 3)
    text = output.read_text()
    assert "cameras.camera_front:" in text
    assert "data_sha256:" in text
    check = run("intrinsics", board_images, *CHARUCO_OPTIONS, "--check", output)
    assert "cameras.camera_front fits" in check.stdout


def test_a_wrong_camera_is_refused_by_images(board_images: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "provenance: {method: x}\ncameras: {camera_front: {width: 960, height: 600, fx_px: 500,"
        " fy_px: 720, cx_px: 480, cy_px: 300}}\n"
    )
    with pytest.raises(CalibrationError, match=r"square pixels.*px rms at most on these images"):
        run("intrinsics", board_images, *CHARUCO_OPTIONS, "--check", wrong)
    with pytest.raises(CalibrationError, match=r"expected cameras.rear, got camera_front"):
        run("intrinsics", board_images, *CHARUCO_OPTIONS, "--check", wrong, "--frame", "rear")


def test_images_without_a_board_are_refused(board_images: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="expected a board, found it in none of 1 images"):
        run("intrinsics", board_images / "empty.png", *CHARUCO_OPTIONS)
    with pytest.raises(CalibrationError, match=r"images: expected .*png.*, got none"):
        run("intrinsics", tmp_path, *CHARUCO_OPTIONS)
    with pytest.raises(CalibrationError, match="expected a picture's name that can be written"):
        run("intrinsics", board_images, *CHARUCO_OPTIONS, "--picture", tmp_path / "a.xyz")


def write_signal(path: Path, signal) -> Path:
    rows = zip(signal.stamps_ns, signal.values, strict=True)
    path.write_text("stamp_ns,value\n" + "".join(f"{stamp},{value}\n" for stamp, value in rows))
    return path


def test_a_desync_of_200_ms_is_found_and_written(tmp_path: Path) -> None:
    reference = write_signal(tmp_path / "imu.csv", recorded("imu", 50))
    late = write_signal(tmp_path / "camera.csv", recorded("camera", 30, 200, seed=1))
    names = ["--frame", "camera_front", "--against", "lidar_top"]
    output = tmp_path / "a.yaml"
    result = run("time-offsets", reference, late, *names, "--output", output, "--limit-ms", 50)
    assert result.exit_code == 1
    assert "camera is stamped +200." in result.stdout or "+199." in result.stdout
    assert "more than the 50 ms allowed" in result.stderr
    assert "against: lidar_top" in output.read_text()
    with pytest.raises(CalibrationError, match="expected --frame and --against"):
        run("time-offsets", reference, late, "--output", output)


def test_what_is_left_of_a_corrected_offset_is_added_to_it(tmp_path: Path) -> None:
    reference = write_signal(tmp_path / "imu.csv", recorded("imu", 50))
    late = write_signal(tmp_path / "camera.csv", recorded("camera", 30, 20, seed=1))
    names = ["--frame", "camera_front", "--against", "lidar_top"]
    output = tmp_path / "a.yaml"
    for options, late_ms in (([], 20), ([], 20), (["--corrected"], 40)):
        run("time-offsets", reference, late, *names, "--output", output, *options)
        offset = read_calibration_file(output).time_offsets["camera_front"]
        assert offset.offset_ms == pytest.approx(late_ms, abs=2)


CALIBRATION = """
provenance: {method: x}
transforms: {base_from_audio_array: {translation_m: [1, 0, 1.5], yaw_deg: 0}}
microphones: {audio_array: [[0.1, 0.1, 0], [-0.1, 0.1, 0], [-0.1, -0.1, 0], [0.1, -0.1, 0]]}
"""


def test_an_array_is_checked_and_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(CALIBRATION)
    for name, azimuth_deg in (("left", 60), ("right", 280)):
        write_wav(tmp_path / f"{name}.wav", sound(SQUARE, azimuth_deg) / 10, 16_000)
    wavs = [tmp_path / "left.wav", tmp_path / "right.wav"]
    result = run("microphones", path, *wavs, "--bearing", 90, "--bearing", 310, "--output", path)
    assert "yaw of audio_array in base: 30." in result.stdout or "29.9" in result.stdout
    pose = load_calibration(path).base_from["audio_array"]
    assert np.degrees(pose.yaw_rad) == pytest.approx(30, abs=1)
    assert pose.translation_m.tolist() == [1, 0, 1.5]
    with pytest.raises(CalibrationError, match=r"expected microphones.other, got audio_array"):
        run("microphones", path, *wavs, "--frame", "other")
    noise = np.random.default_rng(0).normal(0, 0.1, (20_000, 4))
    write_wav(tmp_path / "noise.wav", noise.clip(-1, 1), 16_000)
    with pytest.raises(CalibrationError, match="no direction stands out"):
        run("microphones", path, tmp_path / "noise.wav")


def test_the_demo_rig_is_checked_and_drawn(tmp_path: Path) -> None:
    result = run("check-rig", "demo", "--picture", tmp_path / "rig.png")
    assert result.exit_code == 0
    assert "demo: 5 frames, one tree, right-handed" in result.stdout
    assert cv2.imread(str(tmp_path / "rig.png")) is not None


def test_a_rig_with_a_mirrored_frame_and_a_missing_one_is_faulty(tmp_path: Path) -> None:
    (tmp_path / "car.yaml").write_text(
        "rig: car\ncalibration: c.yaml\nsensors: {lidar/top: {driver: synthetic}}\n"
    )
    (tmp_path / "c.yaml").write_text(
        "provenance: {method: x}\ntransforms: {base_from_gps: {translation_m: [0,0,1],"
        " rotation: [[1,0,0],[0,-1,0],[0,0,1]]}}\n"
    )
    result = run("check-rig", tmp_path / "car.yaml", "--json")
    assert result.exit_code == 1
    (mirrored,) = json.loads(result.stdout)
    assert "it mirrors, one axis points the wrong way" in mirrored["problem"]
    (tmp_path / "c.yaml").write_text("provenance: {method: x}\n")
    result = run("check-rig", tmp_path / "car.yaml")
    assert result.exit_code == 1
    assert 'expected a transform for its frame "lidar_top"' in result.stdout


def test_an_overlay_needs_frames_that_are_there(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((720, 1280), np.uint8))
    np.save(tmp_path / "a.npy", np.random.default_rng(0).uniform([5, -5, -2], [40, 5, 2], (500, 3)))
    draw = ["--picture", tmp_path / "o.png", "--image", tmp_path / "a.png"]
    draw += ["--sweep", tmp_path / "a.npy"]
    assert run("check-rig", "demo", *draw).exit_code == 0
    assert cv2.imread(str(tmp_path / "o.png")).max() > 0
    with pytest.raises(CalibrationError, match="expected a frame, got camera_rear"):
        run("check-rig", "demo", *draw, "--camera", "camera_rear")
    with pytest.raises(CalibrationError, match=r"expected cameras.gps_main, got none"):
        run("check-rig", "demo", *draw, "--camera", "gps_main")
    with pytest.raises(CalibrationError, match="expected an image, got none or a damaged one"):
        run("check-rig", "demo", *draw, "--image", tmp_path / "none.png")


def test_without_opencv_the_way_out_is_named(monkeypatch) -> None:
    monkeypatch.setattr("fusion_rt.commands.calibrate.find_spec", lambda _: None)
    with pytest.raises(CalibrationError, match=r"found none; pip install 'fusion_rt\[calibrate\]'"):
        run("check-rig", "demo")


def test_help_of_a_program_names_its_options() -> None:
    result = run("intrinsics", "--help")
    assert result.exit_code == 0
    assert "--square-mm" in result.stdout


OPTICAL = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


def car(tmp_path: Path, pose: RigidTransform, camera: Pinhole) -> Path:
    """A calibration file in which the LiDAR is base and the camera sits at `pose` from it."""
    path = tmp_path / "car.calibration.yaml"
    made = Made(method="x", date=datetime.date(2026, 1, 1), data_sha256="0" * 64)
    file = read_calibration_file(path)
    file = with_transform(file, "base", "lidar_top", RigidTransform.identity(), made)
    file = with_transform(file, "base", "camera_front", pose.inverse(), made)
    write_calibration_file(with_camera(file, "camera_front", camera, made), path)
    return path


def test_a_board_gives_the_pose_by_command(tmp_path: Path) -> None:
    true = RigidTransform(OPTICAL, [0.05, -0.35, -0.3])
    path = car(tmp_path, RigidTransform(OPTICAL, [0, 0, 0]), PINHOLE)
    holes_m = np.array([[-0.2, -0.15], [0.2, -0.15], [0.2, 0.15], [-0.2, 0.15]])
    middle = CHESSBOARD.corners_m.mean(axis=0)
    rows = []
    for k, pose in enumerate(poses(6, 1.3, reach=0.6)):
        cv2.imwrite(str(tmp_path / f"{k}.png"), photograph(PINHOLE, CHESSBOARD, pose))
        in_camera = pose.apply(np.hstack([holes_m, np.zeros((4, 1))]) + middle)
        numbers = true.inverse().apply(in_camera).ravel()
        rows.append(",".join([f"{k}.png", *map(str, numbers)]))
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((600, 960), 90, np.uint8))
    rows.append("empty.png," + ",".join(["0"] * 12))
    (tmp_path / "views.csv").write_text("# image, four holes\n" + "\n".join(rows))
    sizes = ["--columns", 9, "--rows", 6, "--square-mm", 60, "--holes-mm", 400, 300, 50]
    result = run("camera-lidar", "board", path, tmp_path / "views.csv", *sizes, "--output", path)
    assert "left out: empty.png shows no board" in result.stdout
    assert "16 holes, 0 left out" in result.stdout
    found = load_calibration(path).transform("camera_front", "lidar_top")
    degrees, metres = difference(found, true)
    assert degrees < 0.3
    assert metres < 0.01
    (tmp_path / "views.csv").write_text("0.png,1,2\n")
    with pytest.raises(CalibrationError, match="expected image,sweep,x,y,z or image and 12"):
        run("camera-lidar", "board", path, tmp_path / "views.csv", *sizes)
    (tmp_path / "views.csv").write_text(rows[-1])
    with pytest.raises(CalibrationError, match="expected views of the board, got none"):
        run("camera-lidar", "board", path, tmp_path / "views.csv", *sizes)
    with pytest.raises(CalibrationError, match="expected a table of views, got"):
        run("camera-lidar", "board", path, tmp_path / "none.csv", *sizes)


def test_what_refining_cannot_start_from_is_refused(tmp_path: Path) -> None:
    path = car(tmp_path, RigidTransform(OPTICAL, [0, 0, 0]), PINHOLE)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((600, 960), np.uint8))
    np.save(tmp_path / "a.npy", np.zeros((10, 4)))
    pair = ["--image", tmp_path / "a.png", "--sweep", tmp_path / "a.npy"]
    with pytest.raises(CalibrationError, match="expected a sweep per image, got 2 for 1"):
        run("camera-lidar", "refine", path, *pair, "--sweep", tmp_path / "a.npy")
    with pytest.raises(CalibrationError, match=r"expected cameras.rear, got camera_front"):
        run("camera-lidar", "refine", path, *pair, "--camera", "rear")
    with pytest.raises(CalibrationError, match="expected transforms that place camera_front and x"):
        run("camera-lidar", "refine", path, *pair, "--lidar", "x")
    with pytest.raises(CalibrationError, match="expected an image, got none or a damaged one"):
        run("camera-lidar", "refine", path, "--image", "no", "--sweep", tmp_path / "a.npy")
