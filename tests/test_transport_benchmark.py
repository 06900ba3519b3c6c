"""benchmarks/transport.py: numbers come out, torn frames would show, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from transport_bench.claims import judge
from transport_bench.results import Results
from transport_bench.run import Outcome
from transport_bench.streams import SCENARIOS, STREAMS, is_intact, mark

_PROGRAM = Path(__file__).parents[1] / "benchmarks" / "transport.py"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(_PROGRAM), *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict]:
    """A short run of our own transport: what it wrote, by scenario and transport."""
    path = tmp_path_factory.mktemp("bench") / "result.json"
    own = ("--only", "fusion_rt,fusion_rt_loan", "--scenarios", "small,slow")
    done = run(*own, "--rounds", "1", "--seconds", "0.6", "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert "fusion_rt_loan" in done.stdout
    return {
        (each["scenario"], each["transport"]): each for each in json.loads(path.read_text())["runs"]
    }


@pytest.mark.process
@pytest.mark.parametrize("transport", ["fusion_rt", "fusion_rt_loan"])
@pytest.mark.parametrize(
    ("scenario", "streams"), [("small", {"audio", "gps"}), ("slow", {"camera fast", "camera slow"})]
)
def test_each_stream_has_numbers(
    measured: dict, scenario: str, streams: set[str], transport: str
) -> None:
    found = measured[scenario, transport]["streams"]
    assert set(found) == streams
    for stream in found.values():
        assert 0 < stream["p50_us"] <= stream["p99_us"] <= stream["max_us"] < 5e6
        assert 0 <= stream["lost"] < stream["sent"]


@pytest.mark.process
@pytest.mark.parametrize("transport", ["fusion_rt", "fusion_rt_loan"])
def test_no_frame_is_torn_and_only_the_slow_reader_loses_any(
    measured: dict, transport: str
) -> None:
    result = measured["slow", transport]
    assert result["torn"] == result["failed"] == 0
    assert result["streams"]["camera slow"]["lost"] > result["streams"]["camera fast"]["lost"]
    assert measured["small", transport]["streams"]["audio"]["lost"] == 0


@pytest.mark.process
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, str(_PROGRAM), "--only", "floor", "--scenarios", "camera_1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    # What a shell starts in the background ignores Ctrl-C, and so would our children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        signal.signal(signal.SIGINT, before)
        while not list(tmp_path.glob("*/plan.json")):
            assert process.poll() is None
        nodes = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert len(nodes) == 2
    assert not any(node.is_running() for node in nodes)
    assert not list(tmp_path.iterdir())


def test_the_list_says_how_to_get_what_is_missing() -> None:
    listed = run("--list").stdout.splitlines()
    lines = {line.split()[0]: line for line in listed if not line.startswith(" ")}
    assert lines["fusion_rt_loan"].endswith("installed")
    assert all("installed" in line or "pip install" in line for line in lines.values())


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    done = run("--only", "carrier_pigeon")
    assert done.returncode == 1
    assert "unknown: carrier_pigeon; known: floor, fusion_rt" in done.stderr


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_torn_array_is_told_from_a_whole_one(stream: object) -> None:
    array = np.zeros(stream.shape, stream.dtype)
    mark(array, 7)
    assert is_intact(array, 7)
    assert not is_intact(array, 8)
    words = array.reshape(-1).view(np.uint64)
    for torn_at in (1, len(words) // 2, len(words) - 1):
        mark(array, 8)
        words[torn_at:] = np.where(words[torn_at:] == 8, 7, words[torn_at:])
        assert not is_intact(array, 8)


def outcome(**latency_us: list[float]) -> Outcome:
    return Outcome(
        latency_us={name: np.array(values, float) for name, values in latency_us.items()},
        sent=dict.fromkeys(latency_us, 1),
        lost=dict.fromkeys(latency_us, 0),
        received_hz=dict.fromkeys(latency_us, 1.0),
        torn=0,
        skipped=0,
        failed=0,
        cpu_pct=1.0,
        foreign_pct=0.0,
    )


def results_of(**p50_by_round_us: list[float]) -> Results:
    results = Results({})
    for transport, rounds in p50_by_round_us.items():
        for number, p50_us in enumerate(rounds):
            results.add(SCENARIOS["camera_1"], transport, number, outcome(camera=[p50_us]))
    return results


def test_a_ratio_is_taken_within_a_round() -> None:
    results = results_of(fusion_rt_loan=[100, 300, 900], iceoryx2_loan=[50, 100, 300])
    assert results.percentile_us("camera_1", "fusion_rt_loan", "camera", 50) == 300
    assert results.ratio("camera_1", "fusion_rt_loan", "iceoryx2_loan", "camera") == 3
    assert results.ratio("camera_1", "fusion_rt_loan", "dora", "camera") is None


@pytest.mark.parametrize(("ours_us", "holds"), [(150.0, True), (151.0, False)])
def test_a_claim_holds_up_to_its_limit(ours_us: float, holds: bool) -> None:
    (claim,) = judge(results_of(fusion_rt_loan=[ours_us], iceoryx2_loan=[100.0]))
    assert claim.text == "camera_1: loaned p50 to iceoryx2 loaned"
    assert claim.holds is holds
