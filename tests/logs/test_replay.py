"""Replay: the same arrivals give the same decisions, at any pace, with faults and without."""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from fusion_rt.cli import app_for
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import FaultError, LogError
from fusion_rt.latency.row_file import read_rows
from fusion_rt.latency.rows import FrameRow
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import NO_RIG, LoggedRig, logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.replay.decisions import read_run
from fusion_rt.replay.open import Networks, opened_replay
from fusion_rt.replay.plan import DECISIONS, ReplayOptions
from fusion_rt.replay.run import RunResult
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.transport.inbox import Received
from fusion_rt.windows import SILENT_PERIODS
from tests.logs.drives import START_NS, drive

FAULTS = "lidar drop 5s..8s", "camera jitter 60ms", "gps clock +2s at 10s", "audio kill at 12s"


SECONDS = 16


def write(path: Path, messages: list[Received], rig: LoggedRig | None = None) -> Path:
    with LogWriter(path, rig or logged_rig(load_rig(find_rig("demo")))) as log:
        for one in messages:
            log.write(one)
    return path


@pytest.fixture(scope="module")
def drive_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("drive") / "a.mcap", drive(SECONDS))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("short") / "a.mcap", drive(3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = pytest.importorskip("tests.tiny_model", reason="onnx is not installed")
    folder: Path = tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")
    return folder


def replayed(path: Path, *faults: str) -> RunResult:
    options = ReplayOptions(model=DECISIONS, faults=faults)
    with LogReader(path) as log, Networks() as networks:
        replay = opened_replay(log, options, networks)
        for _ in replay.answers():
            pass
        return replay.result(faults)


def run(*arguments: str | Path, stdin: str = "") -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app_for(words), words, input=stdin)


@pytest.mark.parametrize("faults", [(), FAULTS])
def test_every_run_has_the_same_digest(drive_log: Path, faults: tuple[str, ...]) -> None:
    """One here, two at the same time in threads, one in another process."""
    results = [replayed(drive_log, *faults) for _ in range(1)]
    with ThreadPoolExecutor(2) as pool:
        results += pool.map(lambda _: replayed(drive_log, *faults), range(2))
    options = [word for fault in faults for word in ("--fault", fault)]
    command = [sys.executable, "-m", "fusion_rt", "replay", str(drive_log), *options]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run(
        command, capture_output=True, text=True, timeout=50, check=True, env=environment
    )
    digests = {result.digest for result in results}
    assert len(digests) == 1
    assert other.stdout.splitlines()[-1] == f"digest: {digests.pop()}"
    assert len(results[0].sets) > 10 * SECONDS - 10


def test_a_healthy_drive_is_answered_in_full(drive_log: Path) -> None:
    result = replayed(drive_log)
    modes = [change.mode for change in result.modes]
    assert (modes[0], modes[-1]) == ("BLIND", "NORMAL")
    assert len(set(modes)) == len(modes)  # up, and never down again
    later = [one for one in result.sets if one.stamp_ns > START_NS + 3 * NS_PER_S]
    missing = [m for one in later[:-5] for m in one.members if m.quality == "missing"]
    assert len(missing) < 0.02 * len(later) * 4
    assert result.wait_ms["p50"] < 100


def test_faults_show_in_the_modes_and_members(drive_log: Path) -> None:
    result = replayed(drive_log, "lidar drop 5s..10s")
    modes = {change.mode for change in result.modes}
    assert modes >= {"NORMAL", "MINIMAL"}
    without = [
        one.stamp_ns
        for one in result.sets
        if any(m.topic == "lidar/top" and m.quality == "missing" for m in one.members)
    ]
    middle = [t for t in without if 5.5 < (t - START_NS) / NS_PER_S < 9.9]
    assert len(middle) > 40


def test_a_message_that_came_later_is_found_as_the_first_difference(
    drive_log: Path, tmp_path: Path
) -> None:
    """A run perturbed by one arrival, 300 ms late: the set that had to do without it is named."""
    messages = drive(SECONDS)
    late = next(n for n, one in enumerate(messages) if one.header.topic == "lidar/top" and n > 800)
    messages[late].recv_ns += 300 * NS_PER_MS
    write(tmp_path / "b.mcap", sorted(messages, key=lambda one: one.recv_ns))
    for name, path in (("a", drive_log), ("b", tmp_path / "b.mcap")):
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(replayed(path)))
    result = run("diff", tmp_path / "a.json", tmp_path / "b.json", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    stamp_ns = messages[late].message.stamp_ns
    reference = json.loads((tmp_path / "a.json").read_text())["sets"][found["number"]]
    assert abs(reference["stamp_ns"] - stamp_ns) < 200 * NS_PER_MS
    assert run("diff", tmp_path / "a.json", tmp_path / "a.json").exit_code == 0


@pytest.mark.parametrize("pace", [["--asap"], ["--lockstep"], ["--paced", "x6"], ["--step"]])
def test_the_pace_decides_nothing(short: Path, pace: list[str]) -> None:
    result = run("replay", short, *pace, stdin="\n" * 100)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"digest: {replayed(short).digest}"


def test_paced_it_takes_as_long_as_recorded(short: Path) -> None:
    with LogReader(short) as log:
        seconds = (log.end_ns - log.start_ns) / NS_PER_S
    result = run("replay", short, "--paced", "x3")
    speed = float(result.stdout.splitlines()[-3].rsplit("x", 1)[1])
    assert speed < 3.6
    assert seconds > 2.9


def test_stepping_ends_when_told(short: Path) -> None:
    result = run("replay", short, "--step", stdin="\n\nq\n")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[2].endswith("gps/main nearest")
    assert "3 sets in" in result.stdout


def test_a_part_of_a_log_is_replayed(short: Path) -> None:
    result = run("replay", short, "--from", "1", "--to", "2", "--json", short.with_name("p.json"))
    assert result.exit_code == 0
    stamps = [one["stamp_ns"] for one in json.loads(short.with_name("p.json").read_text())["sets"]]
    assert 8 <= len(stamps) <= 18
    assert min(stamps) > START_NS + 0.9 * NS_PER_S


def test_a_schedule_file_does_as_its_short_forms(short: Path, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("seed: 7\nfaults: [camera drop 50%]\n")
    result = run("replay", short, "--faults", tmp_path / "f.yaml", "--json", tmp_path / "r.json")
    written = json.loads((tmp_path / "r.json").read_text())
    assert result.exit_code == 0
    assert (written["seed"], written["faults"]) == (7, ["camera drop 50%"])
    assert written["digest"] != replayed(short).digest


class TestRefusals:
    def test_a_log_without_a_rig_names_the_way_out(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mcap", drive(1), NO_RIG)
        result = run("replay", path)
        assert isinstance(result.exception, LogError)
        said = "rig.yaml and calibration.yaml missing; name the rig: --rig RIG"
        assert said in str(result.exception)
        assert run("replay", path, "--rig", "demo").exit_code == 0

    def test_a_log_without_the_rigs_streams_is_said(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mcap", [])
        result = run("replay", path)
        assert isinstance(result.exception, LogError)
        assert "lidar/top, audio/array, gps/main, it has nothing" in str(result.exception)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--from", "9"], "expected a part of its 3.0"),
            (["--fault", "radar drop"], "expected a kind of sensor"),
            (["--fault", "camera/rear drop"], "expected a sensor of the rig demo"),
        ],
    )
    def test_what_cannot_be_is_refused(self, short: Path, options: list[str], said: str) -> None:
        result = run("replay", short, *options)
        assert isinstance(result.exception, (LogError, FaultError))
        assert said in str(result.exception)

    @pytest.mark.parametrize("options", [["--paced", "fast"], ["--asap", "--step"]])
    def test_wrong_paces_are_refused(self, short: Path, options: list[str]) -> None:
        result = run("replay", short, *options)
        assert result.exit_code == 2

    def test_damage_is_said_and_the_rest_replayed(self, short: Path, tmp_path: Path) -> None:
        raw = short.read_bytes()
        (tmp_path / "cut.mcap").write_bytes(raw[: len(raw) // 2])
        result = run("replay", tmp_path / "cut.mcap")
        assert result.exit_code == 0
        assert "left out: cut.mcap: ends inside the record" in result.stderr
        assert "digest: " in result.stdout


class TestWithNetworks:
    def test_two_runs_agree_in_every_detection(
        self, short: Path, model: Path, tmp_path: Path
    ) -> None:
        for name in ("a", "b"):
            result = run("replay", short, "--model", model, "--json", tmp_path / f"{name}.json")
            assert result.exit_code == 0
        written = json.loads((tmp_path / "a.json").read_text())
        assert written["model"] == str(model)
        assert sum(len(one["boxes"]) for one in written["sets"]) > 20
        same = run("diff", tmp_path / "a.json", tmp_path / "b.json", "--tolerance", "0")
        assert same.exit_code == 0
        assert written["digest"] == json.loads((tmp_path / "b.json").read_text())["digest"]

    def test_faults_take_their_stream_out_of_the_answers(
        self, short: Path, model: Path, tmp_path: Path
    ) -> None:
        arguments = ["--fault", "lidar corrupt", "--fault", "camera drop"]
        run("replay", short, "--model", model, *arguments, "--json", tmp_path / "a.json")
        sets = json.loads((tmp_path / "a.json").read_text())["sets"]
        qualities = {
            (member["topic"], member["quality"]) for one in sets for member in one["members"]
        }
        assert ("lidar/top", "missing") in qualities
        assert not {("lidar/top", "exact"), ("camera/front", "nearest")} & qualities

    def test_a_model_that_is_not_there_is_said(self, short: Path) -> None:
        result = run("replay", short, "--model", "nowhere")
        assert "expected a directory with model.yaml" in str(result.exception)


@pytest.mark.process
def test_a_live_run_decided_as_lock_step_does_with_the_same_arrivals(tmp_path: Path) -> None:
    """The whole rig live, recorded with its own decisions; then the same log once more."""
    tiny = pytest.importorskip("tests.tiny_model", reason="onnx is not installed")
    tiny.write_model(tmp_path / "tiny")
    calibration = find_rig("demo").with_name("demo.calibration.yaml")
    (tmp_path / "rig.yaml").write_text(
        f"""\
rig: live
calibration: {calibration}
fusion: {{model: tiny}}
record: {{folder: {tmp_path / "logs"}, min_free_mb: 1}}
sensors:
  lidar/top: {{driver: synthetic, rate_hz: 10, points: 4096}}
  audio/array: {{driver: synthetic, channels: 4, sample_rate_hz: 16000, chunk_ms: 20}}
  gps/main: {{driver: synthetic, rate_hz: 10}}
"""
    )
    rows, logs = tmp_path / "rows", tmp_path / "logs"
    with tempfile.TemporaryDirectory() as short_path:
        command = [sys.executable, "-m", "fusion_rt", "run", str(tmp_path / "rig.yaml")]
        options = ["--seconds", "8", "--rows", str(rows), "--run-dir", f"{short_path}/run"]
        subprocess.run([*command, *options], capture_output=True, timeout=50, check=True)
    model = ["--model", tmp_path / "tiny"]
    again = run("replay", logs, *model, "--arrivals", rows, "--json", tmp_path / "again.json")
    assert again.exit_code == 0, again.exception
    live, replayed_sets = list(read_run(logs)), list(read_run(tmp_path / "again.json"))
    assert len(live) > 10
    both = {one.stamp_ns for one in live} & {one.stamp_ns for one in replayed_sets}
    assert len(both) > 0.8 * len(live)
    if (gap_ns := longest_gap_ns(rows, "audio/array")) > SILENT_PERIODS * 20 * NS_PER_MS:
        # Whether that is silence follows from the jitter seen before the recorder joined, too.
        pytest.skip(f"this machine held the rig's processes up for {gap_ns / NS_PER_MS:.0f} ms")
    # Modes rise slowly: the live one may be ahead by as much as the recorder joined later.
    normal_ns = min(one.stamp_ns for one in replayed_sets if one.mode == "NORMAL")
    settled = [stamp_ns for stamp_ns in sorted(both)[10:] if stamp_ns >= normal_ns]
    assert len(settled) >= 10
    decided = [{one.stamp_ns: one for one in sets} for sets in (live, replayed_sets)]
    for stamp_ns in settled:
        assert decided[0][stamp_ns].decision == decided[1][stamp_ns].decision


def longest_gap_ns(rows: Path, topic: str) -> int:
    """Between two messages as the fusion received them."""
    times_ns = sorted(
        row.recv_ns
        for row in read_rows(rows)
        if isinstance(row, FrameRow) and row.topic == topic and row.recv_ns
    )
    return max(later - earlier for earlier, later in pairwise(times_ns))
