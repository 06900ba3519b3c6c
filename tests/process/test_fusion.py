"""The fusion as a process among the others: killed, or left without a sensor."""

import os
import signal

import pytest

import tests.fusion_world as world
import tests.tiny_model as tiny
from fusion_rt.clock import NS_PER_S
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.session import attach_session
from fusion_rt.transport.subscriber import Subscriber
from tests.process.rigs import CLOCK, directory, fusion_rt, is_nothing_left, running, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def fused():
    with directory() as at, running(at, world.write_rig(at)) as rig:
        rig.health_when(lambda health: health.processes[-1].state == "ready", "fusion is ready")
        rig.wait_until_ready()
        yield rig
        assert rig.stop() == 0
        assert is_nothing_left(rig.run_dir)


@pytest.fixture
def answers(fused):
    """Receives answers until one holds what is wanted."""
    session = attach_session(fused.run_dir)
    with Subscriber([FUSION_TOPIC], session, session.clock()) as subscriber:

        def answer_when(holds, what):
            def wanted():
                received = subscriber.receive(NS_PER_S)
                return received if received and holds(received.message) else None

            return wait_until(wanted, what)

        yield answer_when


def missing(answer):
    return {member.topic for member in answer.members if member.quality == "missing"}


def test_answers_come_from_all_sensors_with_their_trace(answers):
    received = answers(lambda answer: not missing(answer), "every sensor is in")
    trace = dict(received.header.trace)
    assert list(trace) == ["opened", "closed", "started", "fused"]
    assert list(trace.values()) == sorted(trace.values())
    assert trace["fused"] <= received.header.sent_ns
    assert received.message.track_ids is not None


def test_a_killed_sensor_is_a_missing_member_and_comes_back(fused, answers):
    os.kill(fused.node("lidar/top"), signal.SIGSTOP)
    answers(lambda answer: "lidar/top" in missing(answer), "the LiDAR is missed")
    answers(lambda answer: answer.mode == "MINIMAL", "the mode says so")
    os.kill(fused.node("lidar/top"), signal.SIGKILL)
    answers(lambda answer: not missing(answer), "the LiDAR is back")
    answers(lambda answer: answer.mode == "NORMAL", "all is well again")


def test_a_killed_fusion_is_back_and_the_rig_goes_on(fused, answers):
    pid = fused.node("fuse")
    os.kill(pid, signal.SIGKILL)
    killed_ns = CLOCK.now_ns()
    answers(lambda answer: answer.stamp_ns > killed_ns, "there are answers again")
    health = fused.health_when(
        lambda health: health.processes[-1].restarts == 1, "the restart is told"
    )
    assert health.processes[-1].node == "fuse"
    assert fused.node("fuse") != pid


def test_a_network_that_never_returns_is_told_and_started_anew():
    with directory() as at:
        path = world.write_rig(at)
        tiny.never_return_without_lidar(at / "tiny")
        with running(at, path) as rig:
            rig.wait_until_ready()
            os.kill(rig.node("lidar/top"), signal.SIGSTOP)
            hung = rig.health_when(lambda health: health.processes[-1].restarts == 1, "a restart")
            rig.health_when(
                lambda health: health.processes[-1].state == "ready" and health.mode == "NORMAL",
                "all is well again",
            )
            assert rig.stop() == 0
            assert "detections/fused has not returned for 5 s" in rig.log_path.read_text()
    assert "its loop has not come round" in hung.processes[-1].reason


def test_the_demo_loses_sensors_and_leaves_a_report_with_pictures(tmp_path):
    rig = world.write_rig(tmp_path)
    ran = fusion_rt("demo", rig, "--seconds", 12, "--output", tmp_path / "report")
    assert ran.returncode == 0, ran.stderr
    assert "fused: MINIMAL without" in ran.stdout
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<figure><img src='data:image/jpeg") >= 3
    assert (tmp_path / "report" / "scene0.jpg").stat().st_size > 10_000
