"""Benchmarks of a whole rig, as small as they can be: they must measure something, not be fast."""

import msgspec
import pytest

from fusion_rt.bench.fault_cases import Slot, cases_of, place
from fusion_rt.bench.fault_run import watch_faults
from fusion_rt.bench.fault_score import rows_of
from fusion_rt.latency.summary import Summary
from fusion_rt.rig import find_rig, load_rig
from tests.process.rigs import fusion_rt
from tests.tiny_model import write_model

pytest.importorskip("embreex", reason="needs the extra sim")
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
RIG = """rig: small
calibration: {calibration}
sensors:
  lidar/top: {{driver: sim, beams: vlp16, columns: 180}}
  gps/main: {{driver: sim}}
fusion: {{model: tiny}}
latency: {{budgets: {{end_to_end: {{p50_ms: 5000}}}}}}
"""
SHORT = ("--seconds", 3, "--warm-up", 0.5)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_model(folder / "tiny")
    calibration = find_rig("sim").with_name("demo.calibration.yaml")
    (folder / "rig.yaml").write_text(RIG.format(calibration=calibration))
    return folder / "rig.yaml"


@pytest.fixture(scope="module")
def measured(rig):
    """A first run, kept."""
    kept, page = rig.with_name("before.json"), rig.with_name("page.html")
    ran = fusion_rt("bench", "latency", rig, *SHORT, "--json", kept, "--report", page)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return kept


def test_a_run_is_measured_and_kept(measured):
    summary = msgspec.json.decode(measured.read_bytes(), type=Summary)
    assert summary.answers > 20
    assert summary.answers_hz == pytest.approx(10, abs=1.5)
    assert {"end_to_end", "reaction"} <= summary.whole.keys()
    assert [verdict.is_broken for verdict in summary.verdicts] == [False]
    assert "<svg" in measured.with_name("page.html").read_text()


def test_a_broken_gate_and_a_better_baseline_are_exit_code_1(rig, measured):
    gate = rig.with_name("gate.yaml")
    gate.write_text("budgets:\n  answer_age: {p50_ms: 0.001}\n")
    before = msgspec.json.decode(measured.read_bytes())
    for one in before["whole"].values():
        one["p50_ms"] = 0.001
    better = rig.with_name("better.json")
    better.write_bytes(msgspec.json.encode(before))
    ran = fusion_rt("bench", "latency", rig, *SHORT, "--gate", gate, "--baseline", better)
    assert ran.returncode == 1, ran.stderr
    assert "budget answer_age p50 0.001 ms: broken" in ran.stdout
    assert "worse" in ran.stdout


def test_a_silent_sensor_is_told_and_comes_back(rig, tmp_path):
    cases = [c for c in cases_of(["gps/main"], is_quick=True) if c.fault in ("none", "silent")]
    slot = Slot(fault_s=1.5, rest_s=2.5)
    placed = place(cases, slot, first_s=9.0)
    told = []
    seen = watch_faults(load_rig(rig), placed, tmp_path, 4.0, told.append)
    healthy, silent = rows_of(placed, seen, lambda _: None)
    assert told[-2:] == ["none: ", "silent: gps/main"]
    assert (healthy.detect_ms, silent.fault) == (None, "silent")
    assert silent.detect_ms is not None
    assert silent.recover_ms is not None
    assert min(healthy.output_rate, silent.output_rate) > 0.8
