import msgspec
import pytest

from fusion_rt.bench.compare import compare, read_gate, read_summary
from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.latency.summary import summarise
from tests.latency.runs import make_run

TOPICS = ("camera/front", "lidar/top")


@pytest.fixture(scope="module")
def usual():
    return summarise(make_run())


@pytest.fixture(scope="module")
def slower():
    return summarise(make_run(slower=1.5))


def test_a_run_is_not_worse_than_itself(usual):
    changes = compare(usual, usual, tolerance=0.0)
    assert len(changes) > 20
    assert all(change.ratio == 1 and not change.is_worse for change in changes)


def test_a_slower_run_is_worse_where_it_is_slower_and_only_there(usual, slower):
    worse = {(c.name, c.percentile) for c in compare(usual, slower, 0.1) if c.is_worse}
    assert ("reaction", "p50") in worse
    assert ("stage encode lidar/top", "p99") in worse
    assert ("stage fuse lidar/top", "p50") in worse
    assert not any("sensor" in name or "transport" in name for name, _ in worse)
    assert not any(change.is_worse for change in compare(slower, usual, 0.1))


def test_what_lies_within_the_tolerance_or_the_noise_is_not_worse(usual, slower):
    assert not any(change.is_worse for change in compare(usual, slower, tolerance=10.0))
    noise = compare(usual, summarise(make_run(slower=1.02)), tolerance=0.0)
    assert not any(change.is_worse for change in noise if change.name == "stage encode audio/array")


def test_a_percentile_that_one_of_them_cannot_tell_is_not_compared(usual):
    few = summarise(make_run(seconds=5))
    assert not any(
        change.percentile == "p99"
        for change in compare(usual, few, 0.1)
        if "audio" not in change.name
    )


def test_a_summary_kept_as_json_is_read_again(usual, tmp_path):
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(usual))
    assert read_summary(tmp_path / "run.json") == usual


def test_another_file_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match=r"No such file or directory; write one with `fusion-rt"):
        read_summary(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigError, match="expected a measured run"):
        read_summary(tmp_path / "other.json")


def test_a_gate_is_a_file_of_budgets(tmp_path):
    (tmp_path / "gate.yaml").write_text("budgets:\n  end_to_end: {p50_ms: 80, p99_ms: 150}\n")
    assert read_gate(tmp_path / "gate.yaml", TOPICS) == {"end_to_end": {"50": 80.0, "99": 150.0}}


def test_a_gate_that_guards_nothing_is_refused(tmp_path):
    (tmp_path / "gate.yaml").write_text("budgets:\n  end_to_and: {p50_ms: 80}\n")
    with pytest.raises(ConfigErrors, match='unknown budget; did you mean "end_to_end"'):
        read_gate(tmp_path / "gate.yaml", TOPICS)
    (tmp_path / "gate.yaml").write_text("limits: {}\n")
    with pytest.raises(ConfigErrors, match="limits: unknown field"):
        read_gate(tmp_path / "gate.yaml", TOPICS)
