import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fusion_rt.cli import app_for
from fusion_rt.datasets.annotated import AnnotatedBox, AnnotatedFrame, count_points
from fusion_rt.datasets.moments import annotated_frames, moment_from_frame
from fusion_rt.errors import DatasetError
from fusion_rt.geometry import RigidTransform
from fusion_rt.model.moments import all_moments, transform_from_mount
from fusion_rt.sim.models import CLASSES
from fusion_rt.sim.preview import corners_of

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LIST = "nuscenes/n015-2018-07-24-11-22-45+0800.json"


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no recordings in {DATA}")
    return path


def kitti() -> list[AnnotatedFrame]:
    return list(annotated_frames(real("kitti/training")))


def rectangle(frame: AnnotatedFrame, box: AnnotatedBox) -> np.ndarray:
    """Left, top, right, bottom of a box in the picture, cut at its edges."""
    corners = corners_of(box.box.astype(np.float32))
    pixels = frame.pinhole.project(frame.base_from_camera.inverse().apply(corners))
    edge = (frame.pinhole.width - 1, frame.pinhole.height - 1)
    return np.concatenate(
        [np.clip(pixels.min(axis=0), 0, edge), np.clip(pixels.max(axis=0), 0, edge)]
    )


def test_kittis_points_lie_in_its_boxes() -> None:
    points = {(f.name, box.kind): box.points for f in kitti() for box in f.boxes}
    # Counted apart from ours, by corners in the camera's frame: 376, 70, 9, 18.
    assert points["000000", "Pedestrian"] == pytest.approx(376, abs=4)
    assert points["000001", "Truck"] == pytest.approx(70, abs=4)
    assert points["000001", "Car"] == pytest.approx(9, abs=1)
    assert points["000001", "Cyclist"] == pytest.approx(18, abs=1)


def test_kittis_boxes_lie_on_the_picture_where_its_labels_say() -> None:
    folder = real("kitti/training")
    for frame in kitti():
        lines = (folder / "label_2" / f"{frame.name}.txt").read_text().splitlines()
        labelled = [line.split() for line in lines if not line.startswith("DontCare")]
        for box, fields in zip(frame.boxes, labelled, strict=True):
            expected = np.array([float(value) for value in fields[4:8]])
            # Both were drawn by hand, each for itself.
            off_px = 3 + 0.07 * (expected[3] - expected[1])
            assert rectangle(frame, box) == pytest.approx(expected, abs=off_px), box.kind


def test_nuscenes_boxes_hold_as_many_points_as_its_list_counts() -> None:
    path = real(LIST)
    (frame,) = annotated_frames(path)
    info = json.loads(path.read_bytes())["data_list"][0]
    counted = [one["num_lidar_pts"] for one in info["instances"] if one["bbox_label_3d"] >= 0]
    ours = [box.points for box in frame.boxes]
    # Boxes here stand upright in `base`, theirs in the LiDAR, which leans by a degree.
    assert np.mean(np.array(ours) == counted) > 0.9
    assert ours == pytest.approx(counted, rel=0.1)


def test_nuscenes_boxes_lie_on_the_picture_where_its_list_says() -> None:
    path = real(LIST)
    (frame,) = annotated_frames(path)
    info = json.loads(path.read_bytes())["data_list"][0]
    camera_from_base = frame.base_from_camera.inverse()
    middles = np.array([camera_from_base.apply(box.box[:3]) for box in frame.boxes])
    ours = frame.pinhole.project(middles)
    for one in info["cam_instances"]["CAM_FRONT"]:
        if one["bbox_label_3d"] >= 0:
            apart = np.nanmin(np.linalg.norm(ours - one["center_2d"], axis=1))
            assert apart < 0.02 * frame.pinhole.width  # we drove on between the two sensors


def test_nuscenes_stamps_are_each_sensors_own() -> None:
    (frame,) = annotated_frames(real(LIST))
    assert (frame.stamp_ns - frame.camera_ns) / 1e6 == pytest.approx(35.5, abs=0.1)


def test_a_frame_becomes_a_moment_whose_points_lie_in_its_boxes() -> None:
    for frame in kitti():
        moment = moment_from_frame(frame, 7)
        assert moment.image.shape[1] == 448
        base_from_lidar = transform_from_mount(moment.base_from_lidar)
        named = [box for box in frame.boxes if box.class_name]
        for label, box in zip(moment.labels, named, strict=True):
            assert CLASSES[label.class_id] == box.class_name
            inside = count_points(moment.sweep, base_from_lidar, np.array(label.box))
            assert inside == pytest.approx(box.points, rel=0.02, abs=1)  # kept to 5 mm
            assert label.pixels[1] >= label.pixels[0] > 0
            assert label.box[7:] == (0, 0)


def write_tables(folder: Path) -> Path:
    """Three samples 0.5 s apart; we stand at (100, 50) facing north, a car 10 m ahead drives on."""
    tables = folder / "v1.0-mini"
    tables.mkdir(parents=True)
    cv2.imwrite(str(folder / "cam.jpg"), np.zeros((90, 160, 3), np.uint8))
    np.array([[0.5, 11, 0, 51, 7]], np.float32).tofile(folder / "lidar.bin")
    half = float(np.sqrt(0.5))
    north = [half, 0, 0, half]
    rows: dict[str, list[dict[str, Any]]] = {
        "scene": [{"token": "s", "name": "scene-0001"}],
        "sample": [
            {"token": f"p{n}", "scene_token": "s", "timestamp": 500_000 * n} for n in range(3)
        ],
        "sensor": [
            {"token": "c", "channel": "CAM_FRONT"},
            {"token": "l", "channel": "LIDAR_TOP"},
        ],
        "calibrated_sensor": [
            {
                "token": "kc",
                "sensor_token": "c",
                "translation": [1, 0, 1.5],
                "rotation": [0.5, -0.5, 0.5, -0.5],
                "camera_intrinsic": [[80, 0, 80], [0, 80, 45], [0, 0, 1]],
            },
            {
                "token": "kl",
                "sensor_token": "l",
                "translation": [0, 0, 1],
                "rotation": [half, 0, 0, -half],
                "camera_intrinsic": [],
            },
        ],
        "ego_pose": [{"token": "e", "translation": [100, 50, 0], "rotation": north}],
        "sample_data": [
            {
                "token": f"{key}{n}",
                "sample_token": f"p{n}",
                "ego_pose_token": "e",
                "calibrated_sensor_token": f"k{key}",
                "timestamp": 500_000 * n,
                "filename": file,
                "is_key_frame": True,
            }
            for n in range(3)
            for key, file in (("c", "cam.jpg"), ("l", "lidar.bin"))
        ],
        "category": [{"token": "v", "name": "vehicle.emergency.ambulance"}],
        "instance": [{"token": "i", "category_token": "v"}],
        "sample_annotation": [
            {
                "token": f"a{n}",
                "sample_token": f"p{n}",
                "instance_token": "i",
                "translation": [100, 60 + 2 * n, 1],
                "size": [2, 4, 1.5],
                "rotation": north,
                "prev": f"a{n - 1}" if n else "",
                "next": f"a{n + 1}" if n < 2 else "",
                "visibility_token": "2",
            }
            for n in range(3)
        ],
    }
    for name, table in rows.items():
        (tables / f"{name}.json").write_text(json.dumps(table))
    return folder


def test_boxes_of_nuscenes_tables_come_into_our_frame_and_move(tmp_path: Path) -> None:
    frames = list(annotated_frames(write_tables(tmp_path / "set")))
    assert [frame.stamp_ns for frame in frames] == [0, 500_000_000, 1_000_000_000]
    for number, frame in enumerate(frames):
        (box,) = frame.boxes
        assert box.class_name == "emergency"
        assert box.box == pytest.approx([10 + 2 * number, 0, 1, 4, 2, 1.5, 0, 4, 0], abs=1e-9)
        assert box.shown == 0.5
    assert [frame.boxes[0].points for frame in frames] == [1, 1, 0]


def test_a_lonely_annotation_has_no_velocity_and_its_moment_zero(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "set")
    path = folder / "v1.0-mini" / "sample_annotation.json"
    rows = [row | {"prev": "", "next": ""} for row in json.loads(path.read_text())]
    path.write_text(json.dumps(rows))
    frame = next(annotated_frames(folder))
    assert np.isnan(frame.boxes[0].box[7:]).all()
    assert moment_from_frame(frame, 1).labels[0].box[7:] == (0, 0)


def test_tables_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "set")
    (folder / "v1.0-mini" / "category.json").write_text("[{}]")
    with pytest.raises(DatasetError, match=r"category.json: expected a table of nuScenes"):
        next(annotated_frames(folder))
    (folder / "v1.0-mini" / "category.json").unlink()
    with pytest.raises(DatasetError, match=r"category.json: expected a table; No such file"):
        next(annotated_frames(folder))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected KITTI's `training`, nuScenes' folder or a"):
        annotated_frames(tmp_path)


def write_kitti(folder: Path, label: str) -> Path:
    for name in ("label_2", "velodyne", "calib", "image_2"):
        (folder / name).mkdir(parents=True)
    (folder / "label_2" / "000003.txt").write_text(label)
    np.array([[10, 0, 0, 0.5]], np.float32).tofile(folder / "velodyne" / "000003.bin")
    cv2.imwrite(str(folder / "image_2" / "000003.png"), np.zeros((90, 160, 3), np.uint8))
    (folder / "calib" / "000003.txt").write_text(
        "P2: 80 0 80 0 0 80 45 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
        "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )
    return folder


def test_a_kitti_label_stands_on_its_bottom_and_turns_about_the_cameras_y(tmp_path: Path) -> None:
    label = "Car 0.00 1 0 0 0 9 9 1.50 1.60 4.00 -2.00 1.73 10.00 -1.5707963\n"
    (frame,) = annotated_frames(write_kitti(tmp_path, label))
    (box,) = frame.boxes
    assert box.box[:7] == pytest.approx([10.76, 2, 0.75, 4, 1.6, 1.5, 0], abs=1e-6)
    assert (box.class_name, box.shown) == ("car", 0.6)
    assert frame.stamp_ns == 300_000_000


def test_a_kitti_label_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    folder = write_kitti(tmp_path, "DontCare -1\nCar 0.00 1\n")
    with pytest.raises(DatasetError, match=r"000003.txt:2: expected a class and 14 numbers"):
        list(annotated_frames(folder))
    (folder / "image_2" / "000003.png").unlink()
    with pytest.raises(DatasetError, match="expected a picture, found none that OpenCV reads"):
        list(annotated_frames(folder))


def test_a_data_set_is_turned_into_a_folder_of_moments(tmp_path: Path) -> None:
    source, output = write_tables(tmp_path / "set"), tmp_path / "moments"
    preview = tmp_path / "first.jpg"
    arguments = ["moments", str(source), str(output), "--preview", str(preview)]
    result = CliRunner().invoke(app_for(arguments), arguments, catch_exceptions=False)
    assert "3 moments in" in result.output
    picture = cv2.imread(str(preview))
    assert picture is not None
    assert picture.shape == (504, 896 + 504, 3)
    assert [moment.anchor_ns for moment in all_moments(output)] == [0, 500_000_000, 1_000_000_000]
    with pytest.raises(DatasetError, match="expected a new or empty folder, found something"):
        CliRunner().invoke(app_for(arguments), arguments, catch_exceptions=False)


def test_points_are_counted_in_the_turned_box_only() -> None:
    points = np.array([[2, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 2, 0, 0]], np.float32)
    box = np.array([0, 0, 0, 5, 1, 1, np.pi / 2, 0, 0])
    assert count_points(points, RigidTransform.identity(), box) == 1
