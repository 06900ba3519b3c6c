from pathlib import Path

import numpy as np
import pytest

from fusion_rt.imports.import_log import import_log
from fusion_rt.imports.open import open_source
from fusion_rt.imports.source import ImportOptions
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import CALIBRATION_FILE, RIG_FILE, rig_from
from fusion_rt.rig import Rig
from tests.imports.recordings import STAMP_NS, Ros, real
from tests.imports.test_ros import PIXELS, XYZI


def rig_in(path: Path) -> Rig:
    with LogReader(path) as log:
        files = {name: log.attachment(name) for name in (RIG_FILE, CALIBRATION_FILE)}
    return rig_from({name: raw for name, raw in files.items() if raw is not None}, path)


@pytest.mark.parametrize(
    ("source", "topics"),
    [
        (("kitti", "training"), {"camera/front", "lidar/top"}),
        (("nuscenes", "n015-2018-07-24-11-22-45+0800.json"), {"camera/front", "camera/back"}),
    ],
)
def test_an_imported_log_holds_a_rig_that_it_can_be_replayed_with(
    tmp_path: Path, source: tuple[str, ...], topics: set[str]
) -> None:
    path = tmp_path / "2011 Drive.mcap"
    with open_source(real(*source), ImportOptions()) as opened:
        import_log(opened, real(*source), path)
    rig = rig_in(path)
    assert rig.name == "log_2011_drive"
    assert topics <= rig.sensors.keys()


def test_a_sensor_nobody_placed_is_in_the_log_and_not_in_the_rig(tmp_path: Path) -> None:
    ros = Ros(2)
    link = ros.transforms({("base_link", "velodyne"): (1.0, 0.0, 1.8)})
    clouds = [
        (STAMP_NS + n * 100_000_000, ros.cloud(STAMP_NS, np.ones(1, XYZI))) for n in range(11)
    ]
    source = ros.write(
        tmp_path / "bag",
        {
            "/tf_static": [(STAMP_NS, link)],
            "/points": clouds,
            "/image": [(STAMP_NS, ros.image(STAMP_NS, PIXELS, "bgr8"))],
        },
    )
    with open_source(source, ImportOptions()) as opened:
        report = import_log(opened, source, tmp_path / "a.mcap")
    assert [t.imported for t in report.topics if t.ours] == [11, 1]
    assert any("no transforms lead from its frame" in note for note in report.notes)
    with LogReader(tmp_path / "a.mcap") as log:
        assert set(log.streams()) >= {"lidar/main", "camera/main"}
    rig = rig_in(tmp_path / "a.mcap")
    assert list(rig.sensors) == ["lidar/main"]
    assert rig.sensors["lidar/main"].rate_hz == 10.0
