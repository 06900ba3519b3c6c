import itertools
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.rig import RestartPolicy, SupervisorPolicy, find_rig, load_rig
from fusion_rt.session import start_session
from fusion_rt.supervisor import HEALTH_TOPIC, MOUNTING_TOPIC, Supervisor
from fusion_rt.systemd import Notifier
from fusion_rt.transport.subscriber import Subscriber

pytestmark = pytest.mark.process
FAKE = str(Path(__file__).with_name("fake_node.py"))
DEMO = load_rig(find_rig("demo"))
PATIENCE_NS = 30 * NS_PER_S
HASTY = SupervisorPolicy(
    heartbeat_ms=1000,
    stop_ms=500,
    restart=RestartPolicy(backoff_ms=1, backoff_max_ms=1, limit=3),
)
HASTY_AT_THE_START = msgspec.structs.replace(HASTY, startup_ms=4000)
PATIENT_AT_THE_END = msgspec.structs.replace(HASTY, stop_ms=20_000)


class Told(Notifier):
    """Remembers what systemd would have been told."""

    def __init__(self):
        super().__init__()
        self.states = []

    def ready(self, status):
        self.states.append(f"ready: {status}")

    def stopping(self):
        self.states.append("stopping")


def rig_of(topics, policy):
    gps = DEMO.sensors["gps/main"]
    sensors = {t: msgspec.structs.replace(gps, topic=t) for t in topics if t != MOUNTING_TOPIC}
    watched = {"camera/a": "lidar/a"} if MOUNTING_TOPIC in topics else {}
    return msgspec.structs.replace(
        DEMO, sensors=sensors, supervisor=policy, watch_mountings=watched
    )


def supervise(hows, until, policy=HASTY, notifier=None, seen=None):
    """Run fake nodes {topic: how} until `until(processes, health)`; returns every Health seen."""

    def command(session, topic):
        words = ["--run-dir", session.run_dir, "--topic", topic, "--parent", str(os.getpid())]
        return [sys.executable, FAKE, hows[topic], *words]

    seen = [] if seen is None else seen
    with (
        tempfile.TemporaryDirectory() as short,  # tmp_path is too long for the names of sockets
        start_session(Path(short, "run"), "rig") as session,
        Subscriber([HEALTH_TOPIC], session, session.clock()) as subscriber,
    ):
        clock = session.clock()
        due_ns = clock.now_ns() + PATIENCE_NS
        rig = rig_of(hows, policy)
        supervisor = Supervisor(rig, session, clock, notifier or Told(), command)

        def should_stop():
            while received := subscriber.receive(0):
                seen.append(received.message)
            assert clock.now_ns() < due_ns, seen[-1] if seen else "no Health"
            return until(supervisor.processes)

        supervisor.run(should_stop)
    return seen


def states_of(seen, topic):
    """The states Health has shown of a node, without repeats in a row."""
    states = []
    for health in seen:
        state = next(process.state for process in health.processes if process.node == topic)
        if states[-1:] != [state]:
            states.append(state)
    return states


def reasons_of(seen, topic):
    return {p.reason for health in seen for p in health.processes if p.node == topic} - {""}


def is_ready(process):
    return process.watch.state == "ready"


def test_ready_is_told_once_when_all_nodes_are():
    told = Told()
    ready_when = []

    def until(processes):
        if told.states and not ready_when:
            ready_when.extend(is_ready(process) for process in processes.values())
        return bool(told.states)

    supervise({"gps/a": "good", "gps/b": "good"}, until, notifier=told)
    assert ready_when == [True, True]
    assert told.states == ["ready: running", "stopping"]


def test_a_node_that_never_gets_ready_delays_ready_no_longer_than_its_time_and_is_restarted():
    told = Told()
    seen = supervise(
        {"gps/a": "good", "gps/b": "never_ready"},
        lambda processes: processes["gps/b"].watch.restarts >= 1,
        HASTY_AT_THE_START,
        told,
    )
    assert told.states == ["ready: without gps/b", "stopping"]
    assert states_of(seen, "gps/a")[-1] == "ready"
    assert "ready" not in states_of(seen, "gps/b")
    assert reasons_of(seen, "gps/b") >= {"not ready 4.0 s after its start"}


def test_health_repeats_what_the_mounting_watch_warns_of():
    seen = []

    def until(_):
        return any(health.warnings for health in seen)

    supervise({"gps/a": "good", MOUNTING_TOPIC: "warning"}, until, seen=seen)
    assert seen[-1].warnings == ("it moved",)
    assert MOUNTING_TOPIC not in {stream.topic for stream in seen[-1].streams}


def test_a_crash_loop_is_given_up_and_reported_while_the_others_go_on():
    seen = supervise(
        {"gps/a": "good", "gps/b": "crashing"},
        lambda processes: (
            processes["gps/b"].watch.state == "failed" and is_ready(processes["gps/a"])
        ),
    )
    reason = "exited with code 3: crash loop, 4 exits in 60 s; see its log"
    assert reason in reasons_of(seen, "gps/b")
    assert states_of(seen, "gps/b")[-1] == "failed"


def test_a_node_whose_loop_stands_still_is_killed_and_comes_back():
    stopped = []

    def until(processes):
        process = processes["gps/a"]
        if is_ready(process) and not stopped:
            stopped.append(process.pid)
            os.kill(process.pid, signal.SIGSTOP)
        return is_ready(process) and process.watch.restarts == 1

    seen = supervise({"gps/a": "good"}, until)
    states = states_of(seen, "gps/a")
    assert [state for state in states if state != "backing_off"] in (
        ["starting", "ready", "hung", "starting"],
        ["starting", "ready", "hung", "starting", "ready"],
    )
    reasons = reasons_of(seen, "gps/a")
    assert any(reason.startswith("its loop has not come round for 1.") for reason in reasons)


def test_nodes_end_on_sigterm(caplog):
    pids = []

    def until(processes):
        pids[:] = [process.pid for process in processes.values()]
        return all(is_ready(process) for process in processes.values())

    supervise({"gps/a": "good", "gps/b": "good"}, until, PATIENT_AT_THE_END)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert "still there after SIGTERM" not in caplog.text


def test_a_node_that_ignores_sigterm_is_killed_after_its_time(caplog):
    pids = []

    def until(processes):
        pids[:] = [process.pid for process in processes.values()]
        return all(is_ready(process) for process in processes.values())

    supervise({"gps/a": "stubborn"}, until)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert "gps/a: still there after SIGTERM, killing it" in caplog.text


def test_health_comes_twice_a_second_and_with_every_change():
    ready_ns = []

    def until(processes):
        process = processes["gps/a"]
        if is_ready(process) and not ready_ns:
            ready_ns.append(process.watch.since_ns)
            os.kill(process.pid, signal.SIGKILL)
        return is_ready(process) and process.watch.restarts == 1

    seen = supervise({"gps/a": "good"}, until)
    gaps_ns = [after.stamp_ns - before.stamp_ns for before, after in itertools.pairwise(seen)]
    assert max(gaps_ns) < 2 * NS_PER_S  # generous for a loaded machine: it is due every 500 ms
    assert min(gaps_ns) < NS_PER_S // 4  # the changes
    assert states_of(seen, "gps/a")[:3] == ["starting", "ready", "starting"]
    assert "killed by SIGKILL" in reasons_of(seen, "gps/a")
