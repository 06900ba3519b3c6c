import msgspec
import pytest

from fusion_rt.config import Problems, checked
from fusion_rt.latency.budgets import LatencyOptions, budgets_in_ms, check_budgets
from fusion_rt.yaml_file import read_yaml

TOPICS = ("camera/front", "lidar/top")


def read(tmp_path, text):
    """The section `latency` of a rig file, and what is wrong with it."""
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    file = read_yaml(path)
    problems = Problems(file)
    options = checked(file.tree["latency"], LatencyOptions, ("latency",), problems)
    if options is not None:
        check_budgets(options, TOPICS, problems)
    return options, [str(error).removeprefix(str(tmp_path) + "/") for error in problems.errors]


def test_budgets_are_read_by_percentile(tmp_path):
    lines = ["end_to_end: {p50_ms: 80, p99_ms: 150}", "encode lidar/top: {p99_ms: 30}"]
    text = "".join(f"    {line}\n" for line in lines)
    options, problems = read(tmp_path, f"latency:\n  budgets:\n{text}")
    assert problems == []
    assert options.budgets["end_to_end"].limits() == {50: 80_000_000, 99: 150_000_000}
    assert budgets_in_ms(options.budgets)["encode lidar/top"] == {"99": 30.0}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("end_to_and: {p99_ms: 1}", 'unknown budget; did you mean "end_to_end"?'),
        ("encode lidar/left: {p99_ms: 1}", 'expected a sensor of this rig, got "lidar/left"'),
        ("decode lidar/top: {p99_ms: 1}", 'expected STAGE TOPIC, got the stage "decode"'),
        ("fuse: {}", "expected at least one of p50_ms, p90_ms, p99_ms, p999_ms"),
        ("fuse: {p50_ms: 9, p99_ms: 3}", "expected limits that rise with the percentile, got 9, 3"),
        ("fuse: {p95_ms: 9}", "unknown field"),
        ("fuse: {p99_ms: 0}", "expected a number > 0 and <= 600000 ms, got 0"),
    ],
)
def test_a_budget_that_limits_nothing_is_refused_with_its_line(tmp_path, line, problem):
    _, problems = read(tmp_path, f"latency:\n  budgets:\n    {line}\n")
    assert len(problems) == 1
    assert problems[0].startswith("rig.yaml:3: latency.budgets")
    assert problem in problems[0]


def test_the_defaults_need_no_section():
    assert msgspec.convert({}, LatencyOptions) == LatencyOptions()
