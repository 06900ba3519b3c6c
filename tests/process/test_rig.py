import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from fusion_rt import __version__
from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import Health
from tests.chaos.remains import processes_of
from tests.process.rigs import (
    CLOCK,
    directory,
    fusion_rt,
    is_nothing_left,
    json_of,
    running,
    wait_until,
)

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
NODES = ("camera/front", "lidar/top", "audio/array", "gps/main")


@pytest.fixture(scope="module")
def healthy():
    with directory() as at, running(at) as rig:
        rig.wait_until_ready()
        yield rig


@pytest.fixture
def rig():
    """One to be hurt."""
    with directory() as at, running(at) as rig:
        rig.wait_until_ready()
        yield rig


def findings(ran):
    return {one["subject"]: one for one in json_of(ran)}


def test_top_once_prints_a_table_of_all_streams_and_processes(healthy):
    ran = fusion_rt("top", "--run-dir", healthy.run_dir, "--once")
    assert ran.returncode == 0
    assert "rig demo" in ran.stdout
    assert all(ran.stdout.count(node) == 2 for node in NODES)


def test_top_json_is_health_as_it_is_published(healthy):
    ran = fusion_rt("top", "--run-dir", healthy.run_dir, "--once", "--json")
    assert ran.returncode == 0
    assert json_of(ran).keys() == set(Health.__struct_fields__)
    assert [stream["topic"] for stream in json_of(ran)["streams"]] == list(NODES)


def test_doctor_finds_a_healthy_rig_well(healthy):
    ran = fusion_rt("doctor", "demo", "--run-dir", healthy.run_dir, "--json")
    assert ran.returncode == 0, ran.stdout
    found = findings(ran)
    assert found["mode"]["found"] == "NORMAL"
    assert {found[node]["verdict"] for node in NODES} == {"ok"}
    assert {found[f"node {node}"]["verdict"] for node in NODES} == {"ok"}


def test_a_second_rig_in_the_same_directory_is_refused(healthy):
    ran = fusion_rt("run", "demo", "--run-dir", healthy.run_dir)
    assert ran.returncode == 2
    running_pid = f"a rig already runs here (supervisor pid {healthy.process.pid})"
    assert running_pid in ran.stderr
    assert "stop it, or choose another --run-dir" in ran.stderr
    assert healthy.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_rig_in_order_and_leaves_nothing(number):
    with directory() as at, running(at) as rig:
        rig.health_when(lambda _: True, "it runs")
        assert rig.stop(number) == 0, rig.log_path.read_text()
        assert is_nothing_left(rig.run_dir)
        assert "Traceback" not in rig.log_path.read_text()


def test_a_rig_ends_by_itself_after_the_seconds_it_was_given():
    with directory() as at:
        ran = fusion_rt("run", "demo", "--run-dir", at / "run", "--seconds", 2)
        assert ran.returncode == 0
        assert "all 4 nodes ready" in ran.stderr
        assert is_nothing_left(at / "run")


def test_a_second_ctrl_c_waits_for_nobody_and_still_leaves_nothing(rig):
    gps = rig.node("gps/main")
    os.kill(gps, signal.SIGSTOP)  # it cannot act on SIGTERM
    rig.process.send_signal(signal.SIGINT)
    stuck = {gps, rig.process.pid}
    wait_until(lambda: processes_of(rig.run_dir) <= stuck, "the other nodes have ended")
    assert rig.stop(signal.SIGINT) == 130
    assert "gps/main: still there after SIGTERM, killing it" in rig.log_path.read_text()
    assert is_nothing_left(rig.run_dir)


def test_a_killed_supervisor_takes_its_nodes_along_and_blocks_no_new_one(rig):
    os.kill(rig.process.pid, signal.SIGKILL)
    rig.process.wait()
    wait_until(lambda: not processes_of(rig.run_dir), "the nodes are gone")
    assert rig.run_dir.exists()  # nobody was there to clear it
    with running(rig.run_dir.parent) as successor:
        successor.wait_until_ready()
        assert successor.stop() == 0
        assert is_nothing_left(successor.run_dir)


def test_a_killed_node_degrades_the_rig_until_its_successor_is_heard(rig):
    rig_before = rig.wait_until_ready()
    os.kill(rig.node("camera/front"), signal.SIGKILL)
    hurt = rig.health_when(lambda health: health.mode == "MINIMAL", "the camera is missed")
    assert any("camera/front silent" in reason for reason in hurt.mode_reasons)
    healed = rig.wait_until_ready()
    restarts = {process.node: process.restarts for process in healed.processes}
    assert restarts == {node: int(node == "camera/front") for node in NODES}
    others = {s.topic: s for s in rig_before.streams if s.topic != "camera/front"}
    after = {s.topic: s for s in healed.streams if s.topic != "camera/front"}
    assert all(after[t].received > others[t].received for t in others)


def test_doctor_names_the_stream_and_the_node_that_hang(rig):
    os.kill(rig.node("lidar/top"), signal.SIGSTOP)
    rig.health_when(lambda health: health.mode == "MINIMAL", "the LiDAR is missed")
    ran = fusion_rt("doctor", "--run-dir", rig.run_dir, "--json")
    assert ran.returncode == 1
    found = findings(ran)
    assert found["lidar/top"]["verdict"] == "failure"
    assert "no message for" in found["lidar/top"]["way_out"]
    assert found["camera/front"]["verdict"] == "ok"


def test_nobody_is_killed_because_the_supervisor_was_paused(rig):
    before = rig.wait_until_ready()
    os.kill(rig.process.pid, signal.SIGSTOP)
    CLOCK.sleep_until_ns(CLOCK.now_ns() + 3 * NS_PER_S)  # longer than heartbeats may stay away
    os.kill(rig.process.pid, signal.SIGCONT)
    after = rig.health_when(
        lambda health: health.stamp_ns > before.stamp_ns + 4 * NS_PER_S, "later"
    )
    assert [process.restarts for process in after.processes] == [0, 0, 0, 0]
    assert rig.wait_until_ready().utc_drift_ns < NS_PER_S


@contextlib.contextmanager
def demo(at):
    """`fusion-rt demo` with its rig up, in temporary files below `at`."""
    command = [sys.executable, "-m", "fusion_rt", "demo"]
    environment = {**os.environ, "TMPDIR": str(at)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: len(processes_of(at)) == 1 + len(NODES), "its rig runs")
        yield process


def test_a_demo_ends_by_itself_and_leaves_nothing():
    with directory() as at:
        ran = fusion_rt("demo", "--seconds", 3, env={**os.environ, "TMPDIR": str(at)})
        assert ran.returncode == 0, ran.stderr
        assert all(ran.stdout.count(node) >= 2 for node in NODES)
        assert not list(at.iterdir())
        assert not processes_of(at)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_told_to_end_leaves_nothing(number):
    with directory() as at:
        with demo(at) as process:
            process.send_signal(number)
        assert not list(at.iterdir())
        assert not processes_of(at)


def test_a_killed_demo_takes_its_rig_along():
    with directory() as at:
        with demo(at) as process:
            process.kill()
        wait_until(lambda: not processes_of(at), "no process is left")


def test_commands_on_a_rig_that_does_not_run_say_so():
    with directory() as at:
        top = fusion_rt("top", "--run-dir", at)
        assert top.returncode == 2
        assert "no rig runs here; start one with `fusion-rt run RIG`" in top.stderr
        doctor = fusion_rt("doctor", "demo", "--run-dir", at, "--json")
        assert doctor.returncode == 0, doctor.stdout
        assert findings(doctor)["supervisor"]["found"] == f"no rig runs in {at}"


def test_a_rig_that_cannot_be_run_is_refused_before_anything_starts():
    with directory() as at:
        (at / "bad.yaml").write_text("rig: bad\nsensors: {}\n")
        ran = fusion_rt("run", at / "bad.yaml", "--run-dir", at / "run")
        assert ran.returncode == 2
        assert "bad.yaml" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert not (at / "run").exists()


def test_the_version_is_the_packages():
    assert fusion_rt("--version").stdout == f"fusion-rt {__version__}\n"


def test_systemd_hears_that_the_rig_is_ready_alive_and_stopping():
    with directory() as at, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(at / "notify"))
        systemd.settimeout(40)
        told = {"NOTIFY_SOCKET": str(at / "notify"), "WATCHDOG_USEC": "400000"}
        heard = []
        with running(at, "demo", "--seconds", "3", environment=os.environ | told) as rig:
            while heard[-1:] != ["STOPPING=1"]:
                heard.append(systemd.recv(1000).decode().splitlines()[0])
            assert rig.process.wait(40) == 0
    assert heard.count("READY=1") == 1
    assert heard.count("WATCHDOG=1") >= 5  # every 200 ms for 3 s
