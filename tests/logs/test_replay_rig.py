"""A log in place of the devices of a rig of real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fusion_rt.errors import LogError
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import logged_rig, sensed, sensors_elsewhere
from fusion_rt.logs.write import LogWriter
from fusion_rt.replay.rig_file import RigReplay, write_replayed_rig
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.session import Session, TcpSource
from tests.logs.drives import drive


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with LogWriter(tmp_path / "a.mcap", logged_rig(load_rig(find_rig("demo")))) as writer:
        for one in drive(1.5):
            writer.write(one)
    return tmp_path / "a.mcap"


@pytest.mark.parametrize(
    ("remote", "topics"),
    [
        ("{keys: k, topics: {lidar/far: 'tcp://a:1', heartbeat/x: 'tcp://a:2'}}", ["lidar/far"]),
        ("{topics: {7: x, 2026-11-21: y}}", []),
        ("{topics: [1]}", []),
        ("[]", []),
        ("{listen: {lidar/top: 'tcp://a:1'}}", []),
    ],
)
def test_sensors_of_other_hosts_are_found_in_whatever_a_log_holds(
    remote: str, topics: list[str]
) -> None:
    assert list(sensors_elsewhere(yaml.safe_load(remote))) == topics


def test_sensors_of_other_hosts_are_recorded_and_shown_like_our_own() -> None:
    there = TcpSource("tcp://a:1", "a.key", "keys")
    session = Session(
        run_dir="run",
        rig="demo",
        clock_offset_ns=0,
        supervisor_pid=1,
        sensors={"camera/front": {}},
        sources={"lidar/far": there, "heartbeat/x": there},
    )
    assert sensed(session) == ("camera/front", "lidar/far")


@pytest.mark.process
def test_everything_recorded_is_sent_once_all_are_ready(log: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fusion_rt", "replay-rig", str(log)]
    again = tmp_path / "again"
    done = subprocess.run(
        [*command, "--record", str(again)], capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stderr
    with LogReader(log) as before, LogReader(again) as after:
        for topic in ("camera/front", "lidar/top", "audio/array", "gps/main"):
            old = [one.message.stamp_ns for one in before.messages([topic])]
            new = [one.message.stamp_ns for one in after.messages([topic])]
            assert len(new) == len(old)
            assert {b - a for a, b in zip(old, new, strict=True)} == {new[0] - old[0]}
        assert after.about["rig"] == "demo"


def test_sensors_that_stay_live_keep_their_entry(log: Path, tmp_path: Path) -> None:
    with LogReader(log) as reader:
        path = write_replayed_rig(
            reader, tmp_path, tmp_path / "go", RigReplay(live=("camera",), from_s=2)
        )
    sensors = yaml.safe_load(path.read_text())["sensors"]
    assert sensors["camera/front"]["driver"] == "synthetic"
    assert sensors["lidar/top"]["driver"] == "replay"
    assert sensors["lidar/top"]["from_s"] == 2
    assert load_rig(path).name == "demo"


def test_a_sensor_that_is_not_there_cannot_stay_live(log: Path, tmp_path: Path) -> None:
    said = 'expected a sensor of the rig to be live, got "radar"; known: camera/front'
    with LogReader(log) as reader, pytest.raises(LogError, match=said):
        write_replayed_rig(reader, tmp_path, tmp_path / "go", RigReplay(live=("radar",)))
