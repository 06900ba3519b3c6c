"""A station that has a vehicle's LiDAR over an encrypted link records, fuses and replays it."""

import json
import shutil
import socket

import pytest

import tests.fusion_world as world
from fusion_rt.clock import NS_PER_S
from fusion_rt.logs.read import LogReader
from tests.process.rigs import directory, fusion_rt, is_nothing_left, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
SENSORS = world.SYNTHETIC.splitlines(keepends=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def hosts(tmp_path):
    """The rig files of both; LiDAR and GPS there, camera and microphones here."""
    vehicle, station = tmp_path / "vehicle", tmp_path / "station"
    for host in (vehicle, station):
        host.mkdir()
        assert fusion_rt("keys", host / "keys", "--host", host.name).returncode == 0
    shutil.copy(vehicle / "keys/vehicle.key", station / "keys/allowed/127.0.0.1.key")
    shutil.copy(station / "keys/station.key", vehicle / "keys/allowed/")
    there, here = [SENSORS[1], SENSORS[3]], [SENSORS[0], SENSORS[2]]
    at = {topic: f'"tcp://127.0.0.1:{free_port()}"' for topic in ("lidar/top", "gps/main")}
    links = ", ".join(f"{topic}: {address}" for topic, address in at.items())
    offering = world.write_rig(vehicle, "".join(there))
    with offering.open("a") as file:
        file.write(f"remote: {{keys: keys, listen: {{{links}}}}}\n")
    hearing = world.write_rig(station, "".join(here))
    with hearing.open("a") as file:
        file.write(f"remote: {{keys: keys, topics: {{{links}}}}}\n")
        file.write(f"record: {{folder: {station / 'logs'}, min_free_mb: 1}}\n")
    return offering, hearing


def test_what_another_host_sees_is_fused_recorded_and_replayed(hosts, tmp_path):
    offering, hearing = hosts
    logs, run = hearing.parent / "logs", tmp_path / "run.json"
    with directory() as far, directory() as near:
        with running(far, offering) as vehicle, running(near, hearing) as station:
            begun = station.wait_until_ready()
            station.health_when(lambda h: h.stamp_ns > begun.stamp_ns + NS_PER_S, "a second")
            assert station.stop() == 0
            assert vehicle.stop() == 0
        assert is_nothing_left(near / "run")
    model = hearing.parent / "tiny"
    ran = fusion_rt("replay", logs, "--model", model, "--json", run)
    assert ran.returncode == 0, ran.stderr
    again = fusion_rt("replay-rig", logs, "--model", model, "--record", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    with LogReader(logs) as before, LogReader(tmp_path / "again") as after:
        assert after.streams()["lidar/top"].messages == before.streams()["lidar/top"].messages > 5
        assert after.streams()["detections/fused"].messages > 5
    last = json.loads(run.read_text())["sets"][-2]
    assert last["boxes"]
    assert {m["topic"] for m in last["members"] if m["quality"] != "missing"} == set(world.RATES_HZ)
