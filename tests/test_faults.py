import re
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import ConfigErrors, FaultError
from fusion_rt.faults import FAULT_KINDS, Fault, load_fault_file, parse_fault, parse_schedule


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "lidar drop 10s..15s",
            Fault(
                who="lidar",
                kind="drop",
                amount=1.0,
                start_ns=10 * NS_PER_S,
                end_ns=15 * NS_PER_S,
            ),
        ),
        ("lidar/top drop 30%", Fault(who="lidar/top", kind="drop", amount=0.3)),
        ("camera delay 80ms", Fault(who="camera", kind="delay", amount=80 * NS_PER_MS)),
        (
            "gps clock +2s at 20s",
            Fault(who="gps", kind="clock", amount=2 * NS_PER_S, start_ns=20 * NS_PER_S),
        ),
        ("gps clock -1.5s", Fault(who="gps", kind="clock", amount=-1.5 * NS_PER_S)),
        ("gps drift -200ppm", Fault(who="gps", kind="drift", amount=-0.0002)),
        (
            "camera corrupt 0.5min..",
            Fault(who="camera", kind="corrupt", start_ns=30 * NS_PER_S),
        ),
        (
            "camera kill at 10s",
            Fault(who="camera", kind="kill", start_ns=10 * NS_PER_S, end_ns=10 * NS_PER_S),
        ),
        (
            "audio rate 50% 1s..2s",
            Fault(who="audio", kind="rate", amount=0.5, start_ns=NS_PER_S, end_ns=2 * NS_PER_S),
        ),
    ],
)
def test_a_short_form_is_read(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lidar", r'fault "lidar": expected WHO KIND \[AMOUNT\] \[A..B \| at A\]; for example'),
        ("lidar drop 10..15", r"expected WHO KIND"),
        ("lidar dorp", r'unknown kind of fault "dorp"; did you mean "drop"'),
        ("fuse drop", "fuse: expected kill, got drop"),
        ("radar drop", r'expected a kind of sensor, a topic or fuse, got "radar"; '),
        ("camera delay", r"delay: expected a time such as 80ms, got nothing"),
        ("camera delay 30%", r"delay: expected a time such as 80ms, got 30%"),
        ("camera delay -5ms", r"delay: expected a time such as 80ms, got -5ms"),
        ("camera drop 130%", r"drop: expected a share such as 30%, or nothing, got 130%"),
        ("camera freeze 3s", r"freeze: expected no amount, got 3s"),
        ("camera kill", r"kill: expected a time such as at 10s, got nothing"),
        ("camera drop 9s..5s", r"expected a window that ends after it begins"),
        ("gps clock 5ppm", r"clock: expected a time such as \+2s, got 5ppm"),
    ],
)
def test_what_is_no_fault_is_refused_in_a_sentence(text, problem):
    with pytest.raises(FaultError, match=problem):
        parse_fault(text)


def test_several_faults_may_share_a_text():
    schedule = parse_schedule(["lidar drop; gps drop 1s..2s", "camera freeze"], seed=3)
    assert [fault.kind for fault in schedule.faults] == ["drop", "drop", "freeze"]
    assert [fault.who for fault in schedule.for_topic("gps/main")] == ["gps"]


def test_every_kind_has_a_short_form_in_the_docstring():
    from fusion_rt import faults

    forms = [line.split("  ")[2] for line in faults.__doc__.splitlines() if line[:4] == "    "]
    assert {parse_fault(form).kind for form in forms} == set(FAULT_KINDS)


def test_a_file_of_faults_is_read(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text("seed: 7\nfaults:\n  - lidar drop 1s..2s\n  - camera kill at 3s\n")
    written = load_fault_file(path)
    assert (written.seed, len(written.faults)) == (7, 2)


def test_a_wrong_line_of_a_file_is_told_with_its_number(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n  - lidar drop 1s..2s\n  - camera explode\nsede: 4\n")
    with pytest.raises(ConfigErrors, match=r'sede: unknown field; did you mean "seed"'):
        load_fault_file(path)
    path.write_text("faults:\n  - lidar drop 1s..2s\n  - camera explode\n")
    with pytest.raises(ConfigErrors, match=r'faults.yaml:3: .*unknown kind of fault "explode"'):
        load_fault_file(path)


PAGE = (Path(__file__).parents[1] / "docs/faults.md").read_text().partition("## The degr")[0]


def test_the_page_tells_of_every_kind_and_its_example_can_be_read(tmp_path):
    forms = re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE)
    assert {parse_fault(form).kind for form in forms} == set(FAULT_KINDS)
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "bad_day.yaml").write_text(example)
    assert len(load_fault_file(tmp_path / "bad_day.yaml").faults) == 4
