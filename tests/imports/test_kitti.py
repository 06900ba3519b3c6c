from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_rt.datasets.kitti import read_object_calibration, read_raw_calibration, read_scan
from fusion_rt.errors import DatasetError, ForeignLogError
from fusion_rt.geometry import Pinhole
from fusion_rt.imports.open import open_source
from fusion_rt.imports.source import Imported, ImportOptions
from fusion_rt.messages import CameraFrame, GpsFix, LidarSweep
from tests.imports.recordings import real

SECOND_NS = 1_317_042_145 * 10**9
"""2011-09-26 13:02:25 UTC."""


def test_frames_of_the_object_benchmark_keep_every_pixel_and_point() -> None:
    folder = real("kitti", "training")
    with open_source(folder, ImportOptions()) as source:
        assert {topic.name: topic.count for topic in source.topics} == {"image_2": 2, "velodyne": 2}
        messages = list(source.messages())
    assert [one.topic for one in messages] == ["camera/front", "lidar/top"] * 2
    image, sweep = messages[2].message, messages[3].message
    assert isinstance(image, CameraFrame)
    assert isinstance(sweep, LidarSweep)
    np.testing.assert_array_equal(
        image.image, cv2.imread(str(folder / "image_2" / "000001.png"), cv2.IMREAD_COLOR)
    )
    recorded = np.fromfile(folder / "velodyne" / "000001.bin", np.float32).reshape(-1, 4)
    np.testing.assert_array_equal(sweep.points[:, :4], recorded)
    assert not sweep.points[:, 4].any()
    assert messages[2].recv_ns - messages[0].recv_ns == 100_000_000


def test_points_of_labelled_objects_fall_into_their_image_boxes() -> None:
    """The label's box in the picture and its depth in the scan agree only if all signs do."""
    folder = real("kitti", "training")
    calibration = read_object_calibration(folder / "calib" / "000001.txt")
    points = read_scan(folder / "velodyne" / "000001.bin")[:, :3]
    camera = calibration.pinhole(2, 1242, 375)
    pixels = camera.project(calibration.camera_from_lidar(2).apply(points))
    car = next(
        [float(value) for value in line.split()[1:]]
        for line in (folder / "label_2" / "000001.txt").read_text().splitlines()
        if line.startswith("Car")
    )
    left, top, right, bottom = car[3:7]
    depth_m = car[12]
    ahead_m = calibration.camera_from_lidar(2).apply(points)[:, 2]
    in_box = (
        (pixels[:, 0] > left)
        & (pixels[:, 0] < right)
        & (pixels[:, 1] > top)
        & (pixels[:, 1] < bottom)
    )
    near = np.abs(ahead_m - depth_m) < 2.5
    assert (in_box & near).sum() >= 9  # the reference's count inside the 3D box


def test_camera_and_laser_stand_where_kitti_draws_them() -> None:
    folder = real("kitti", "training")
    calibration = read_object_calibration(folder / "calib" / "000001.txt")
    x_m, y_m, z_m = calibration.base_from_camera(2).translation_m
    assert x_m == pytest.approx(0.76 + 0.27, abs=0.03)
    assert y_m == pytest.approx(0.06, abs=0.02)
    assert z_m == pytest.approx(1.65, abs=0.02)
    forward = calibration.base_from_camera(2).rotation @ [0, 0, 1]
    assert forward[0] > 0.999


def raw_drive(folder: Path) -> Path:
    """Three moments of a day's recording, of which the last scan was lost."""
    day = folder / "2011_09_26"
    drive = day / "2011_09_26_drive_0001_sync"
    stamps = "".join(f"2011-09-26 13:02:25.{n}00000007\n" for n in range(3))
    for name in ("image_00", "image_02", "velodyne_points", "oxts"):
        (drive / name / "data").mkdir(parents=True)
        (drive / name / "timestamps.txt").write_text(stamps)
    for n in range(3):
        grey = np.full((10, 20), n, np.uint8)
        cv2.imwrite(str(drive / f"image_00/data/{n:010}.png"), grey)
        cv2.imwrite(str(drive / f"image_02/data/{n:010}.png"), np.dstack([grey] * 3))
        packet = [49.0, 8.4, 112.0, 0, 0, 0, 5.0, 3.0, 4.0, 0, 0.1, *[0] * 12, 0.5, 0.1]
        values = [*packet, 4, 11, 6, 6, 6]
        (drive / f"oxts/data/{n:010}.txt").write_text(" ".join(str(value) for value in values))
        if n < 2:
            np.full((5, 4), n, np.float32).tofile(drive / f"velodyne_points/data/{n:010}.bin")
    turn = "0 -1 0 0 0 -1 1 0 0"
    (day / "calib_velo_to_cam.txt").write_text(f"calib_time: noon\nR: {turn}\nT: 0 -0.08 -0.27\n")
    (day / "calib_imu_to_velo.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: -0.81 0.32 -0.8\n")
    projection = "10 0 9 {} 0 10 4 0 0 0 1 0"
    (day / "calib_cam_to_cam.txt").write_text(
        "R_rect_00: 1 0 0 0 1 0 0 0 1\n"
        + "".join(f"P_rect_0{n}: {projection.format(-5 * n)}\n" for n in (0, 2))
    )
    return drive


def imported(path: Path) -> tuple[list[Imported], dict[str, int]]:
    with open_source(path, ImportOptions()) as source:
        return list(source.messages()), dict(source.counters)


def test_a_raw_drive_has_its_own_stamps_and_its_fixes(tmp_path: Path) -> None:
    messages, bad = imported(raw_drive(tmp_path))
    assert bad == {"velodyne_points: a stamp without its file": 1}
    assert [one.topic for one in messages[:4]] == [
        "camera/grey_left",
        "camera/front",
        "gps/main",
        "lidar/top",
    ]
    assert len(messages) == 3 + 3 + 3 + 2
    assert messages[4].recv_ns == messages[4].message.stamp_ns == SECOND_NS + 100_000_007
    grey, fix = messages[4].message, messages[6].message
    assert isinstance(grey, CameraFrame)
    assert (grey.encoding, grey.image[0, 0]) == ("mono8", 1)
    assert isinstance(fix, GpsFix)
    assert (fix.fix, fix.latitude_deg, fix.satellites) == ("rtk_fixed", 49.0, 11)
    assert fix.velocity_enu_mps == (3.0, 5.0, 0.1)
    assert fix.horizontal_accuracy_m == 0.5


def test_a_raw_drive_brings_the_calibration_of_its_day(tmp_path: Path) -> None:
    drive = raw_drive(tmp_path)
    with open_source(drive, ImportOptions()) as source:
        mounting = source.mounting()
    assert mounting is not None
    gps_m = mounting.base_from["gps_main"].translation_m
    np.testing.assert_allclose(gps_m, [0.76 - 0.81, 0.32, 1.73 - 0.8])
    shift_m = read_raw_calibration(drive.parent).camera_from_lidar(2).translation_m
    np.testing.assert_allclose(shift_m, [-1.0, -0.08, -0.27])  # P_rect_02 moves it by -10 / 10
    assert mounting.cameras["camera_front"] == Pinhole(
        width=20, height=10, fx_px=10, fy_px=10, cx_px=9, cy_px=4
    )


def test_what_is_missing_or_odd_is_said(tmp_path: Path) -> None:
    drive = raw_drive(tmp_path)
    (drive / "velodyne_points/data/0000000001.bin").write_bytes(b"\0" * 15)
    (drive / "image_00/data/0000000000.png").write_bytes(b"no picture")
    _, bad = imported(drive)
    assert bad["velodyne_points: expected 16 bytes a point, got 15 in all"] == 1
    assert bad["image_00: no picture of 8 bits that OpenCV reads"] == 1
    (drive / "oxts" / "timestamps.txt").write_text("noon\n")
    with pytest.raises(ForeignLogError, match=r"timestamps.txt: expected a UTC time a line"):
        imported(drive)
    (drive.parent / "calib_cam_to_cam.txt").unlink()
    with pytest.raises(DatasetError, match=r"calib_cam_to_cam.txt: expected a calibration file"):
        read_raw_calibration(drive.parent)
    file = tmp_path / "000000.txt"
    file.write_text("R0_rect: 1 0 0 0 1 0 0 0\n")
    with pytest.raises(DatasetError, match="expected R0_rect with 9 numbers, got 8"):
        read_object_calibration(file)
    file.write_text(
        "R0_rect: 1 0 0 0 1 0 0 0 1\nP2: " + "1 " * 12 + "\nTr_velo_to_cam: " + "2 " * 12
    )
    with pytest.raises(DatasetError, match="expected orthonormal rows"):
        read_object_calibration(file)
    with pytest.raises(DatasetError, match="expected a scan; No such file"):
        read_scan(tmp_path / "none.bin")
