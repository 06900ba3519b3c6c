"""What a benchmark says when there is nothing to measure."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fusion_rt.bench.fault_run import _usual_hz
from fusion_rt.bench.latency_run import Bench, expect_fusion
from fusion_rt.bench.rig_run import RigRun, running
from fusion_rt.cli import app_for
from fusion_rt.clock import RigClock
from fusion_rt.commands.bench import _reference_hz
from fusion_rt.errors import BenchError
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.session import Session
from tests.bench.test_faults_bench import answer
from tests.latency.runs import make_run
from tests.latency.samples import START_NS

UNFUSED = """rig: unfused
calibration: {calibration}
sensors:
  lidar/top: {{driver: synthetic}}
"""


@pytest.fixture
def unfused(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(UNFUSED.format(calibration=find_rig("sim").with_name("demo.calibration.yaml")))
    return load_rig(path)


def ended_run(folder):
    (folder / "log").write_text("ERROR camera/front: no such device\n")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    clock = RigClock.starting_now()
    session = Session(
        run_dir=str(folder), rig="r", clock_offset_ns=clock.offset_ns, supervisor_pid=1
    )
    return RigRun(session, process, folder)


def test_a_rig_that_fuses_nothing_is_refused_before_anything_is_rendered(unfused, tmp_path):
    with pytest.raises(BenchError, match="expected a rig that fuses, unfused has no section"):
        expect_fusion(unfused)
    with pytest.raises(BenchError, match="expected a rig that fuses"):
        Bench(unfused, tmp_path, 1.0, lambda _: None)


def test_a_rig_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path):
    with (
        pytest.raises(BenchError, match=r"(?s)the rig did not start; the end of its log:.*found"),
        running(tmp_path / "none.yaml", tmp_path / "run"),
    ):
        pass


def test_a_rig_that_ends_by_itself_is_told_with_the_end_of_its_log(tmp_path):
    run = ended_run(tmp_path)
    with pytest.raises(BenchError, match=r"(?s)the rig ended by itself.*no such device"):
        run.check()
    with pytest.raises(BenchError, match="the rig ended by itself"):
        run.wait(5)


def test_the_rate_that_is_due_is_that_of_a_sensor():
    rig = load_rig(find_rig("sim"))
    assert _reference_hz(rig, make_run(seconds=5)) == 10
    slow = make_run(seconds=5)
    every_third = [answer for answer in slow.answers if answer.number % 3 == 0]
    slow.answers[:] = every_third
    with pytest.raises(BenchError, match=r"expected answers at a sensor's rate, got 3\.\d+ Hz"):
        _reference_hz(rig, slow)


def test_too_few_healthy_answers_are_told():
    answers = [answer(START_NS + n * 100_000_000) for n in range(20)]
    assert _usual_hz(answers, START_NS + 10**10) == pytest.approx(10)
    with pytest.raises(BenchError, match="expected ten answers before the first fault, got fewer"):
        _usual_hz(answers[:5], START_NS + 10**10)


def test_a_fault_that_there_is_not_is_refused():
    ran = CliRunner().invoke(app_for(["bench"]), ["bench", "faults", "sim", "--fault", "boredom"])
    assert isinstance(ran.exception, BenchError)
    assert "no such fault of camera/front" in str(ran.exception)


def test_the_highest_rate_needs_sensors_that_can_be_played_faster():
    bench = object.__new__(Bench)
    bench.is_played = False
    with pytest.raises(BenchError, match="needs a rig whose sensors are all simulated"):
        bench.sustained(10, 0.05)
