import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fusion_rt.datasets.nuscenes import read_infos, read_scan, read_scene
from fusion_rt.errors import DatasetError, ForeignLogError
from fusion_rt.imports.open import open_source
from fusion_rt.imports.source import ImportOptions
from fusion_rt.messages import CameraFrame, LidarSweep
from tests.imports.recordings import real

SAMPLE = ("nuscenes", "n015-2018-07-24-11-22-45+0800.json")


def test_a_real_sample_has_the_stamps_of_its_shutters() -> None:
    path = real(*SAMPLE)
    (info,) = json.loads(path.read_text())["data_list"]
    with open_source(path, ImportOptions()) as source:
        assert sum(topic.count for topic in source.topics) == 7
        found = {one.topic: one for one in source.messages()}
    stamps = {topic: one.message.stamp_ns for topic, one in found.items()}
    assert stamps.pop("lidar/top") == 1532402927_647951_000
    assert stamps == {
        f"camera/{name[4:].lower()}": round(image["timestamp"] * 1e6) * 1000
        for name, image in info["images"].items()
    }
    front = found["camera/front"].message
    assert isinstance(front, CameraFrame)
    assert (front.encoding, front.width, front.height) == ("jpeg", 1600, 900)
    assert (
        front.image.tobytes()
        == (path.parent / info["images"]["CAM_FRONT"]["img_path"]).read_bytes()
    )


def test_real_points_lie_where_the_reference_projects_them() -> None:
    """Ours, by way of base, and MMDetection3D's own lidar2cam agree on every camera."""
    path = real(*SAMPLE)
    (info,) = json.loads(path.read_text())["data_list"]
    with open_source(path, ImportOptions()) as source:
        mounting = source.mounting()
        (sweep,) = (one.message for one in source.messages() if one.topic == "lidar/top")
    assert mounting is not None
    assert isinstance(sweep, LidarSweep)
    scan = read_scan(path.parent / info["lidar_points"]["lidar_path"])
    assert len(sweep.points) == len(scan) == 34688
    np.testing.assert_allclose(sweep.points[:, 3] * 255, scan[:, 3], atol=1e-4)
    assert sweep.ring is not None
    np.testing.assert_array_equal(sweep.ring, scan[:, 4])
    for name, image in info["images"].items():
        frame = f"camera_{name[4:].lower()}"
        theirs = np.array(image["lidar2cam"])
        # cam2ego and lidar2ego are of two moments, lidar2cam is not: the car moved in between.
        base_from_lidar = mounting.base_from["lidar_top"]
        expected = np.array(image["cam2ego"])
        np.testing.assert_allclose(mounting.base_from[frame].matrix, expected, atol=1e-6)
        ours = mounting.base_from[frame].inverse() @ base_from_lidar
        apart_m = ours.apply(sweep.points[:, :3]) - (scan[:, :3] @ theirs[:3, :3].T + theirs[:3, 3])
        near = np.linalg.norm(scan[:, :3], axis=1) < 20
        assert np.abs(apart_m[near]).max() < 0.6
        assert mounting.cameras[frame].fx_px == pytest.approx(image["cam2img"][0][0])


def tables(folder: Path, scenes: int = 2) -> Path:
    """A data set of one key frame and one sweep between for each scene, as its own tables."""
    (folder / "v1.0-mini").mkdir(parents=True)
    (folder / "samples").mkdir()
    image = np.zeros((9, 16, 3), np.uint8)
    cv2.imwrite(str(folder / "samples" / "cam.jpg"), image)
    np.array([[1, 2, 3, 51, 7]], np.float32).tofile(folder / "samples" / "lidar.bin")
    sensors = {"c": "CAM_FRONT", "l": "LIDAR_TOP", "r": "RADAR_FRONT"}
    none = {"translation": [1, 0, 2], "rotation": [1, 0, 0, 0]}
    rows: dict[str, list[dict[str, Any]]] = {
        "scene": [{"token": f"s{n}", "name": f"scene-{n:04}"} for n in range(scenes)],
        "sample": [{"token": f"p{n}", "scene_token": f"s{n}"} for n in range(scenes)],
        "sensor": [{"token": key, "channel": name} for key, name in sensors.items()],
        "calibrated_sensor": [
            {
                "token": f"k{key}",
                "sensor_token": key,
                "camera_intrinsic": [[8, 0, 7], [0, 8, 4], [0, 0, 1]] if key == "c" else [],
                **none,
            }
            for key in sensors
        ],
        "ego_pose": [{"token": "e", **none}],
        "sample_data": [
            {
                "token": f"{n}{key}{k}",
                "sample_token": f"p{n}",
                "ego_pose_token": "e",
                "calibrated_sensor_token": f"k{key}",
                "timestamp": 1_532_402_927_000_000 + 100_000 * k + at_us,
                "filename": f"samples/{file}",
                "is_key_frame": k == 0,
            }
            for n in range(scenes)
            for k in range(2)
            for key, at_us, file in (
                ("c", 2, "cam.jpg"),
                ("l", 1, "lidar.bin"),
                ("r", 3, "radar.pcd"),
            )
        ],
    }
    for name, table in rows.items():
        (folder / "v1.0-mini" / f"{name}.json").write_text(json.dumps(table))
    return folder


def test_one_scene_of_the_tables_is_one_drive(tmp_path: Path) -> None:
    folder = tables(tmp_path / "set")
    with open_source(folder, ImportOptions(scene="scene-0001")) as source:
        counts = {topic.name: (topic.count, topic.reason) for topic in source.topics}
        messages = list(source.messages())
        mounting = source.mounting()
    assert counts == {
        "CAM_FRONT": (2, ""),
        "LIDAR_TOP": (2, ""),
        "RADAR_FRONT": (2, "unknown type"),
    }
    assert [one.topic for one in messages] == ["lidar/top", "camera/front"] * 2
    sweep = messages[0].message
    assert isinstance(sweep, LidarSweep)
    np.testing.assert_allclose(sweep.points, [[2, -1, 3, 0.2, 0]])
    assert mounting is not None
    assert mounting.cameras["camera_front"].width == 16
    turned = mounting.base_from["lidar_top"].apply(sweep.points[:, :3])
    np.testing.assert_allclose(turned, [[1 + 1, 2, 3 + 2]])


def test_scenes_are_to_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    folder = tables(tmp_path / "set")
    with (
        pytest.raises(ForeignLogError, match=r"one scene, got 2: .*; choose by --scene"),
        open_source(folder, ImportOptions()),
    ):
        pass
    with pytest.raises(DatasetError, match=r"one of the scenes scene-0000, .*, got scene-9"):
        read_scene(folder / "v1.0-mini", "scene-9")


def test_tables_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = tables(tmp_path / "set", scenes=1)
    table = folder / "v1.0-mini" / "calibrated_sensor.json"
    whole = table.read_text()
    table.write_text("[]")
    with pytest.raises(DatasetError, match="expected the token 'kc', no table has it"):
        read_scene(folder / "v1.0-mini", "scene-0000")
    table.write_text(whole[:-3])
    with pytest.raises(DatasetError, match=r"calibrated_sensor.json: expected a table of nuScenes"):
        read_scene(folder / "v1.0-mini", "scene-0000")
    table.unlink()
    with pytest.raises(DatasetError, match=r"expected a table; No such file"):
        read_scene(folder / "v1.0-mini", "scene-0000")
    (tmp_path / "infos.json").write_text('{"data_list": 3}')
    with pytest.raises(DatasetError, match="expected a list of MMDetection3D; Expected `array`"):
        read_infos(tmp_path / "infos.json")
