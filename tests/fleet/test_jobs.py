import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fusion_rt.cli import app_for
from fusion_rt.errors import ConfigError, LogError
from fusion_rt.fleet.jobs import RECORDED, named_model, open_job
from fusion_rt.fleet.run import detections_of
from fusion_rt.fleet.task import Job, Slice, slices_of
from fusion_rt.logs.entry import entry
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.replay.plan import DECISIONS, ReplayOptions
from fusion_rt.rig import find_rig, load_rig
from tests.exports.drive import write_drive
from tests.fusion_world import world
from tests.logs.drives import drive


def write_log(path: Path, seconds: float, seed: int) -> Path:
    with LogWriter(path, logged_rig(load_rig(find_rig("demo")))) as writer:
        for received in drive(seconds, seed):
            writer.write(received)
    return path


def opened(model: str, runs: Path | None = None) -> Job:
    return open_job(runs, ReplayOptions(), model)


def test_a_replay_is_a_row_and_the_same_one_each_time(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.mcap", 3, 1)
    job = opened(DECISIONS)
    one, again = (job(Slice(log=str(log))) for _ in range(2))
    assert one["digest"] == again["digest"]
    assert isinstance(one["sets"], int)
    assert one["sets"] >= 28
    assert one["run"] is None
    other = opened(DECISIONS)(Slice(log=str(write_log(tmp_path / "b.mcap", 3, 2))))
    assert other["digest"] != one["digest"]


def test_slices_together_have_the_sets_of_the_whole(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.mcap", 4, 1)
    job = opened(DECISIONS)
    with LogReader(log) as whole:
        parts = slices_of(str(log), whole.start_ns, whole.end_ns + 1, 2_000_000_000)
    rows = [job(part) for part in parts]
    counts = [row["sets"] for row in rows if isinstance(row["sets"], int)]
    assert len(counts) == 3
    in_one = job(Slice(log=str(log)))["sets"]
    assert isinstance(in_one, int)
    # Each slice goes on for half a second after its last message.
    assert in_one <= sum(counts) <= in_one + 3 * 6


def test_what_was_recorded_is_measured_as_it_stands(tmp_path: Path) -> None:
    log = write_drive(tmp_path / "a.mcap")
    row = opened(RECORDED)(Slice(log=str(log)))
    assert (row["sets"], row["detections"], row["run"]) == (2, 2, str(log))


def test_what_cannot_be_replayed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"best: expected a directory with model.yaml"):
        named_model("best")
    with pytest.raises(LogError, match=r"expected the rig's files inside, rig.yaml missing"):
        opened(DECISIONS)(Slice(log=str(write_drive(tmp_path / "a.mcap"))))


def write_world(path: Path, seconds: float) -> Path:
    with LogWriter(path, logged_rig(load_rig(find_rig("demo")))) as writer:
        for sent in world(seconds):
            header, message = sent.header, sent.message
            assert message is not None
            times = {"seq": sent.seq, "sent_ns": header.sent_ns, "recv_ns": sent.recv_ns}
            writer.write(entry(sent.topic, message, node=sent.topic, **times))
    return path


def test_a_model_is_opened_once_and_answers_log_after_log(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the model is made with it")
    from tests.tiny_model import write_model

    job = opened(str(write_model(tmp_path / "tiny")), tmp_path / "runs")
    log = write_world(tmp_path / "a.mcap", 2)
    one, again = (job(Slice(log=str(log))) for _ in range(2))
    assert one["digest"] == again["digest"]
    assert one["failed_sets"] == 0
    assert isinstance(one["detections"], int)
    assert one["detections"] > 0
    kept = list(detections_of(Path(str(one["run"]))))
    assert len(kept) == one["sets"]
    assert sum(len(found.boxes) for found in kept) == one["detections"]


def run(*arguments: str | Path) -> Result:
    words = ["replay", *map(str, arguments)]
    result = CliRunner().invoke(app_for(words), words)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.process
def test_many_logs_have_the_digests_that_each_has_alone(tmp_path: Path) -> None:
    """With a network and faults, which many take as one does."""
    pytest.importorskip("onnx", reason="the model is made with it")
    from tests.tiny_model import write_model

    logs = [
        write_world(tmp_path / f"{name}.mcap", seconds) for name, seconds in (("a", 2), ("b", 3))
    ]
    table, one = tmp_path / "table.json", tmp_path / "one.json"
    with_it = "--model", write_model(tmp_path / "tiny"), "--fault", "lidar drop 0.5s..1s"
    run(f"{tmp_path}/*.mcap", "--jobs", "2", "--table", table, *with_it)
    rows = {row["log"]: row for row in json.loads(table.read_text())}
    assert set(rows) == {str(log) for log in logs}
    for log, row in rows.items():
        run(log, "--json", one, *with_it)
        alone = json.loads(one.read_text())
        assert row["digest"] == alone["digest"]
        assert row["sets"] == len(alone["sets"])
        assert row["detections"] == sum(len(each["boxes"]) for each in alone["sets"]) > 0
        assert "lidar/top" in {m["topic"] for s in alone["sets"] for m in s["members"]}


@pytest.mark.process
def test_two_answers_to_the_same_logs_are_set_side_by_side(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.mcap", 2, 1)
    job = opened(DECISIONS, tmp_path / "first")
    replayed = str(job(Slice(log=str(log)))["run"])
    with LogReader(log) as one, LogReader(Path(replayed)) as other:
        both = tmp_path / "both.mcap"
        with LogWriter(both, logged_rig(load_rig(find_rig("demo")))) as writer:
            received = [*one.messages(), *other.messages()]
            for message in sorted(received, key=lambda each: each.recv_ns):
                writer.write(message)
    page, table = tmp_path / "page.html", tmp_path / "table.json"
    models = ["--model", RECORDED, "--model", DECISIONS]
    run(both, "--table", table, "--html", page, *models)
    assert "100.0 %" in page.read_text()
    rows = {row["model"]: row for row in json.loads(table.read_text())}
    assert rows[RECORDED]["sets"] == rows[DECISIONS]["sets"] > 10
