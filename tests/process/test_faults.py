"""Faults on purpose in a running rig."""

import pytest

from tests.process.rigs import directory, fusion_rt, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
FAULTS = ["gps drop", "camera corrupt 3s..", "lidar kill at 4s", "audio freeze 3s.."]


def test_faults_befall_the_sensors_they_name():
    words = [word for fault in FAULTS for word in ("--fault", fault)]
    with directory() as at, running(at, "demo", *words) as rig:
        health = rig.health_when(lambda health: restarts(health)["lidar/top"] == 1, "a kill")
        assert state(health, "gps/main") in ("waiting", "silent")
        rig.health_when(lambda health: state(health, "audio/array") == "frozen", "a freeze")
        health = rig.health_when(lambda health: state(health, "lidar/top") == "alive", "it is back")
        assert restarts(health) == {
            "camera/front": 0,
            "lidar/top": 1,
            "audio/array": 0,
            "gps/main": 0,
        }


def test_a_fault_that_would_befall_nobody_is_refused():
    ran = fusion_rt("run", "demo", "--fault", "lidar/left drop")
    assert ran.returncode == 2
    assert 'fault "lidar/left": expected a sensor of the rig demo; did you mean' in ran.stderr


def state(health, topic):
    return next(stream.state for stream in health.streams if stream.topic == topic)


def restarts(health):
    return {process.node: process.restarts for process in health.processes}
