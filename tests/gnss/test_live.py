import logging
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.gnss.live import OUT_OF_ORDER, PULSES, LiveFixes
from fusion_rt.gnss.options import LiveGpsOptions
from fusion_rt.gnss.pps import PulseSource
from fusion_rt.gnss.solution import Solution
from tests.gnss.ports import START_NS, port

OPTIONS = LiveGpsOptions(driver="serial", latency_ms=0)
UTC_NS = 1_774_267_200 * NS_PER_S


def solution(second: int, arrival_s: float | None = None, **said: object) -> Solution:
    arrival_ns = START_NS + round((second if arrival_s is None else arrival_s) * NS_PER_S)
    known: dict[str, object] = {
        "fix": "3d",
        "position_deg": (48.1, 11.5),
        "utc_ns": UTC_NS + second * NS_PER_S,
        **said,
    }
    return Solution(source="x", arrival_ns=arrival_ns, **known)  # type: ignore[arg-type]


def test_fixes_carry_rig_time_and_the_receiver_s_own() -> None:
    (fix,) = LiveFixes(OPTIONS, port()).fixes([solution(3)])
    assert (fix.stamp_ns, fix.utc_ns) == (START_NS + 3 * NS_PER_S, UTC_NS + 3 * NS_PER_S)
    assert fix.stamp_uncertainty_ns == 5 * NS_PER_MS


def test_stale_solutions_are_counted_and_not_published() -> None:
    here = port()
    fixes = LiveFixes(OPTIONS, here).fixes([solution(3), solution(3), solution(2), solution(4)])
    assert len(list(fixes)) == 2
    assert here.counters[OUT_OF_ORDER] == 2


def test_a_cold_receiver_is_stamped_by_arrival() -> None:
    cold = solution(3, fix="none", utc_ns=0)
    (fix,) = LiveFixes(OPTIONS, port()).fixes([cold])
    assert (fix.fix, fix.stamp_ns) == ("none", START_NS + 3 * NS_PER_S)


def test_a_solution_out_of_memory_moves_no_clock() -> None:
    here = port()
    live = LiveFixes(OPTIONS, here)
    assert list(live.fixes([solution(-50, 0, is_history=True)])) == []
    live_fix, *rest = live.fixes([solution(3), solution(-50, 4, is_history=True), solution(5)])
    assert [live_fix.stamp_ns, *(fix.stamp_ns for fix in rest)] == [
        START_NS + 3 * NS_PER_S,
        START_NS + 5 * NS_PER_S,
    ]
    assert here.counters[OUT_OF_ORDER] == 2


def test_pulses_come_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_hand = "fusion_rt.gnss.live.PulseSource"
    monkeypatch.setattr(at_hand, lambda device: PulseSource(device, tmp_path))
    edge = tmp_path / "pps0/assert"
    edge.parent.mkdir()
    clock = SettableClock(START_NS)
    here = port(clock=clock)
    edge.write_text("0.000000000#0\n")
    options = LiveGpsOptions(driver="serial", pps="/dev/pps0")
    live = LiveFixes(options, here)
    for second in range(6):
        edge.write_text(f"{START_NS // NS_PER_S + second}.000250000#{second + 1}\n")
        clock.set_ns(START_NS + second * NS_PER_S)
        (fix,) = live.fixes([solution(second, second + 0.17)])
    assert here.counters[PULSES] == 6
    assert fix.stamp_ns == START_NS + 5 * NS_PER_S + 250_000
    assert fix.stamp_uncertainty_ns == 1000


def test_a_pulse_is_told_once_and_nonsense_never(tmp_path: Path) -> None:
    edge = tmp_path / "pps0/assert"
    edge.parent.mkdir()
    edge.write_text("12.000000034#7\n")
    source = PulseSource("/dev/pps0", tmp_path)
    assert [source.system_ns(), source.system_ns()] == [12 * NS_PER_S + 34, None]
    edge.write_text("nonsense")
    assert source.system_ns() is None
    edge.unlink()
    assert source.system_ns() is None


def test_a_pps_device_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pps1").mkdir()
    with caplog.at_level(logging.WARNING):
        PulseSource("/dev/pps0", tmp_path)
    assert "pps: expected /dev/pps0, found /dev/pps1" in caplog.text


def test_a_pulse_of_another_age_is_not_taken() -> None:
    here = port()
    LiveFixes(OPTIONS, here).pulse(2**80)
    assert here.counters[PULSES] == 0
