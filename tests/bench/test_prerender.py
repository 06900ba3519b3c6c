"""A rig of simulated sensors, rendered once and played: the same messages, at their pace."""

import pytest

from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.played import PlayedFile
from fusion_rt.rig import find_rig, load_rig

pytest.importorskip("embreex", reason="needs the extra sim")
TEXT = """rig: small
calibration: {calibration}
sensors:
  lidar/top: {{driver: sim, beams: vlp16, columns: 180}}
  gps/main: {{driver: sim}}
  audio/array: {{driver: synthetic}}
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    path = tmp_path_factory.mktemp("rig") / "small.yaml"
    path.write_text(TEXT.format(calibration=find_rig("sim").with_name("demo.calibration.yaml")))
    return load_rig(path)


def test_simulated_sensors_are_rendered_and_the_others_left_alone(rig, tmp_path):
    told = []
    files = prerender(rig, tmp_path, 0.5, told.append)
    assert list(files) == told == ["lidar/top", "gps/main"]
    index = PlayedFile(files["lidar/top"]).index
    assert (index.topic, index.rate_hz, index.loop_ns) == ("lidar/top", 10.0, 500_000_000)
    assert 4 <= len(index.entries) <= 5
    assert all(entry.sent_ns >= entry.stamp_ns for entry in index.entries)


def test_frames_of_a_slower_rig_may_lie_farther_from_each_other(tmp_path):
    fused = load_rig(find_rig("sim"))
    slow = load_rig(write_rig(played_tree(fused, {}, speed=0.25), tmp_path / "rig.yaml"))
    assert [one.tolerance_ns for one in slow.fusion.streams] == [
        4 * one.tolerance_ns for one in fused.fusion.streams
    ]


def test_the_played_rig_is_a_rig_wherever_it_is_written(rig, tmp_path):
    files = prerender(rig, tmp_path, 0.3, lambda _: None)
    (tmp_path / "elsewhere").mkdir()
    path = write_rig(played_tree(rig, files, speed=2.0), tmp_path / "elsewhere" / "rig.yaml")
    played = load_rig(path)
    assert played.sensors["lidar/top"].options.driver == "player"
    assert played.sensors["lidar/top"].rate_hz == 20.0
    assert played.sensors["audio/array"].options.driver == "synthetic"
    assert played.calibration.raw == rig.calibration.raw
