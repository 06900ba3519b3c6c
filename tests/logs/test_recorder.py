"""The recorder as a process beside publishers: told to stop, killed, asked to save."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.recorder import LEDGER, Ledger
from fusion_rt.logs.rig import RIG_FILE, logged_rig
from fusion_rt.messages import CameraFrame, GpsFix, Health
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.session import Session, Setup, start_session
from fusion_rt.topics import heartbeat_topic
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber

pytestmark = pytest.mark.process
FRAME = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)


@contextmanager
def rig(tmp_path: Path, **record: Any) -> Iterator[Session]:
    demo = load_rig(find_rig("demo"))
    record = {"folder": str(tmp_path / "logs"), **record}
    sensors = {"camera/front": {"driver": "synthetic"}, "gps/main": {"driver": "synthetic"}}
    setup = Setup(sensors=sensors, record=record, files=dict(logged_rig(demo).files))
    with (
        tempfile.TemporaryDirectory() as short,  # sockets have short paths
        start_session(Path(short, "run"), "demo", setup) as session,
    ):
        yield session


@contextmanager
def recorder(session: Session) -> Iterator[subprocess.Popen[str]]:
    """Ready when it is handed out; gone afterwards."""
    command = [sys.executable, "-m", "fusion_rt.nodes.record"]
    arguments = ["--run-dir", session.run_dir, "--topic", "record"]
    with Subscriber([heartbeat_topic("record")], session, session.clock()) as inbox:
        process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        try:
            beat = inbox.receive(20 * NS_PER_S)
            while beat is not None and beat.message.state != "ready":
                beat = inbox.receive(20 * NS_PER_S)
            assert beat is not None, process.stderr.read() if process.stderr else ""
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


def publish(session: Session, seconds: float, sent: dict[str, list[int]]) -> None:
    """A raw camera at 30 Hz, 2.8 MB each, and GPS at 10 Hz; notes when each was sent."""
    clock = session.clock()
    start_ns = clock.now_ns()
    with (
        Publisher("camera/front", session, clock) as camera,
        Publisher("gps/main", session, clock) as gps,
    ):
        for number in range(round(seconds * 30)):
            clock.sleep_until_ns(start_ns + number * NS_PER_S // 30)
            now_ns = clock.now_ns()
            camera.publish(
                CameraFrame(stamp_ns=now_ns, encoding="bgr8", width=1280, height=720, image=FRAME)
            )
            sent["camera/front"].append(now_ns)
            if number % 3 == 0:
                gps.publish(GpsFix(stamp_ns=now_ns, fix="3d"))
                sent["gps/main"].append(now_ns)


def recorded(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {"camera/front": [], "gps/main": []}
    with LogReader(folder) as log:
        for one in log.messages(list(found)):
            found[one.header.topic].append(one.message.stamp_ns)
    return found


def test_stopped_it_leaves_a_whole_log_with_everything_in_it(tmp_path: Path) -> None:
    sent: dict[str, list[int]] = {"camera/front": [], "gps/main": []}
    with rig(tmp_path) as session, recorder(session) as process:
        publish(session, 2, sent)
        assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    got = recorded(tmp_path / "logs")
    with LogReader(tmp_path / "logs", check_crc=True) as log:
        assert log.is_finished
        assert log.damages == []
        assert log.about["rig"] == "demo"
        assert log.attachment(RIG_FILE)
        ledger = list(log.rows(LEDGER, Ledger))[-1]
    for topic, stamps in sent.items():
        first = stamps.index(got[topic][0])
        assert first <= 5  # sent before it had subscribed
        account = ledger.topics[topic]
        assert account.recorded == len(got[topic])
        assert set(got[topic]) <= set(stamps)
        # A busy machine may cost some; each of them is in the account.
        assert sum(account.drops.values()) == len(stamps) - first - len(got[topic])


@pytest.fixture
def fast_disk(tmp_path: Path) -> Iterator[Path]:
    """Memory, where there is some: what a kill costs is asked, not what this disk manages."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


def test_killed_at_full_rate_it_loses_less_than_half_a_second(fast_disk: Path) -> None:
    sent: dict[str, list[int]] = {"camera/front": [], "gps/main": []}
    with rig(fast_disk) as session, recorder(session) as process:
        publisher = threading.Thread(target=publish, args=(session, 2.5, sent))
        publisher.start()
        time.sleep(2)  # somewhere in the midst of a write
        process.send_signal(signal.SIGKILL)
        killed_ns = session.clock().now_ns()
        publisher.join()
    command = [sys.executable, "-m", "fusion_rt", "recover", "--json"]
    (log,) = (fast_disk / "logs").iterdir()
    done = subprocess.run([*command, str(log)], capture_output=True, check=False, timeout=30)
    assert done.returncode == 3
    statement = json.loads(done.stdout)
    assert not statement["was_finished"]
    recovered = log.with_name(f"{log.stem}.recovered.mcap")
    with LogReader(recovered) as whole:
        waiting = (ledger.queue_bytes for ledger in whole.rows(LEDGER, Ledger))
        behind = max(waiting, default=math.inf) / 1e6
    if behind > 20:
        pytest.skip(f"the recorder was {behind:.0f} MB behind: this machine does not keep up")
    got = recorded(recovered)
    for topic, stamps in sent.items():
        lost = [stamp for stamp in stamps if got[topic][-1] < stamp < killed_ns]
        assert not lost or lost[-1] - lost[0] < NS_PER_S // 2
        assert statement["ends_ns"][topic] >= got[topic][-1]


def test_a_change_of_mode_and_a_request_save_the_last_seconds(tmp_path: Path) -> None:
    sent: dict[str, list[int]] = {"camera/front": [], "gps/main": []}
    with rig(tmp_path, mode="snapshot", snapshot_s=30) as session, recorder(session) as process:
        with Publisher("health/rig", session, session.clock()) as health:
            publish(session, 0.5, sent)
            for mode in ("NORMAL", "NORMAL", "MINIMAL"):
                health.publish(Health(stamp_ns=1, rig="demo", mode=mode))
                time.sleep(0.2)
        saved = wait_for(tmp_path / "logs", "*-minimal")
        publish(session, 0.5, sent)
        command = [sys.executable, "-m", "fusion_rt", "record", "demo", "--save"]
        command += ["--run-dir", session.run_dir]
        assert subprocess.run(command, check=False, timeout=20).returncode == 0
        asked = wait_for(tmp_path / "logs", "*-asked")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert 5 <= len(recorded(saved)["camera/front"]) <= 15
    assert 5 <= len(recorded(asked)["camera/front"]) <= 15
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == sorted(
        [saved.name, asked.name]
    )


def wait_for(folder: Path, pattern: str) -> Path:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for path in folder.glob(pattern):
            if os.listdir(path):
                return path
        time.sleep(0.02)
    raise AssertionError(f"no {pattern} in {os.listdir(folder)}")
