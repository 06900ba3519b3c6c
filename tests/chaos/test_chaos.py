import mmap
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.transport.wire import WIRE_VERSION, Header
from tests.chaos.chaos import ChaosRun
from tests.chaos.frames import MAX_AGE_NS, TOPIC, Judge
from tests.chaos.remains import Before

NOW_NS = 1_000 * NS_PER_S


def header(seq=0, incarnation=1, age_ns=0):
    sent_ns = NOW_NS - age_ns
    body = msgspec.Raw(b"\x80")
    return Header(WIRE_VERSION, TOPIC, "load", incarnation, seq, sent_ns, sent_ns, body)


def faults_of(*headers, away_ns=0):
    judge = Judge()
    for one in headers:
        judge.judge(one, NOW_NS, away_ns)
    return [fault for fault, count in judge.faults.items() for _ in range(count)]


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_two_hundred_kills_hurt_nobody_but_the_killed():
    report = ChaosRun(rounds=200, seed=1).run()
    assert report["faults"] == []
    assert report["back_ms"]["all"]["count"] == 200
    assert {"load", "node", "reader", "supervisor"} <= report["back_ms"].keys()
    # A second; more only where a bare start of Python with our imports takes a quarter of that
    # limit by itself, because the machine has other work.
    limit_ms = max(1000, 4 * report["bare_start_ms"]["median"])
    for kind in ("node", "reader", "load"):
        assert report["back_ms"][kind]["median"] <= limit_ms, report
    assert report["shown_ms"]["node"]["median"] <= limit_ms, report
    assert report["shown_ms"]["supervisor"]["median"] <= limit_ms, report


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_torn_frames_are_caught():
    report = ChaosRun(rounds=20, seed=1, is_tearing=True).run()
    assert any("torn: the checksum does not fit" in fault for fault in report["faults"]), report


def test_what_is_too_old_is_caught():
    assert faults_of(header(age_ns=MAX_AGE_NS)) == []
    assert faults_of(header(age_ns=MAX_AGE_NS + 1)) == ["stale: 2.0 s old on delivery"]


def test_only_a_readers_own_absence_excuses_age():
    old = header(age_ns=5 * NS_PER_S)
    assert faults_of(old, away_ns=4 * NS_PER_S) == []
    assert faults_of(old, away_ns=2 * NS_PER_S) == ["stale: 5.0 s old on delivery"]


def test_a_message_of_a_replaced_publisher_is_caught():
    caught = faults_of(header(0, incarnation=1), header(0, incarnation=2), header(1, incarnation=1))
    assert caught == ["a message of a replaced publisher"]


@pytest.mark.parametrize("seqs", [(1, 1), (2, 1)])
def test_a_message_delivered_again_or_out_of_order_is_caught(seqs):
    caught = faults_of(*[header(seq) for seq in seqs])
    assert caught == ["a message that was delivered before, or out of order"]


def test_an_orphan_is_caught(tmp_path):
    before, run_dir = Before(), tmp_path / "run"
    command = [sys.executable, "-c", "input()", str(run_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as orphan:
        assert list(before.faults_since(run_dir)) == [f"orphans: [{orphan.pid}]"]
    assert list(before.faults_since(run_dir)) == []


def test_files_that_are_left_are_caught(tmp_path):
    before, run_dir = Before(), tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "gps=main.sock").touch()
    left = Path("/dev/shm", f"fusion_rt-{tmp_path.name}")
    left.touch()
    try:
        caught = list(before.faults_since(run_dir))
    finally:
        left.unlink()
    assert caught == [
        "left in the run directory: ['gps=main.sock']",
        f"left in /dev/shm: ['{left.name}']",
    ]


def test_files_that_others_use_are_not_blamed_on_us(tmp_path):
    before, shared = Before(), Path("/dev/shm", f"fusion_rt-{tmp_path.name}")
    with shared.open("w+b") as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096):
            shared_by_now = list(before.faults_since(tmp_path / "run"))
    left = list(before.faults_since(tmp_path / "run"))
    shared.unlink()
    assert (shared_by_now, left) == ([], [f"left in /dev/shm: ['{shared.name}']"])
