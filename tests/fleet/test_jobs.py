import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from fusion_rt.cli import app_for
from fusion_rt.errors import FleetError, FusionError, LogError
from fusion_rt.fleet.jobs import DECISIONS, RECORDED, open_job
from fusion_rt.fleet.model_job import plan_for
from fusion_rt.fleet.run import detections_of
from fusion_rt.fleet.task import Slice, slices_of
from fusion_rt.logs.entry import entry
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.model_file import load_model
from fusion_rt.rig import find_rig, load_rig
from tests.exports.drive import write_drive
from tests.fusion_world import plan, world
from tests.logs.drives import drive


def write_log(path: Path, seconds: float, seed: int) -> Path:
    with LogWriter(path, logged_rig(load_rig(find_rig("demo")))) as writer:
        for received in drive(seconds, seed):
            writer.write(received)
    return path


def test_a_replay_is_a_row_and_the_same_one_each_time(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.mcap", 3, 1)
    job = open_job(None, DECISIONS)
    one, again = (job(Slice(log=str(log))) for _ in range(2))
    assert one["digest"] == again["digest"]
    assert isinstance(one["sets"], int)
    assert one["sets"] >= 28
    assert one["run"] is None
    other = open_job(None, DECISIONS)(Slice(log=str(write_log(tmp_path / "b.mcap", 3, 2))))
    assert other["digest"] != one["digest"]


def test_slices_together_have_the_sets_of_the_whole(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.mcap", 4, 1)
    job = open_job(None, DECISIONS)
    with LogReader(log) as opened:
        parts = slices_of(str(log), opened.start_ns, opened.end_ns + 1, 2_000_000_000)
    rows = [job(part) for part in parts]
    counts = [row["sets"] for row in rows if isinstance(row["sets"], int)]
    assert len(counts) == 3
    whole = job(Slice(log=str(log)))["sets"]
    assert isinstance(whole, int)
    # Each slice goes on for half a second after its last message.
    assert whole <= sum(counts) <= whole + 3 * 6


def test_what_was_recorded_is_measured_as_it_stands(tmp_path: Path) -> None:
    log = write_drive(tmp_path / "a.mcap")
    row = open_job(None, RECORDED)(Slice(log=str(log)))
    assert (row["sets"], row["detections"], row["run"]) == (2, 2, str(log))


def test_what_cannot_be_replayed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="best"):
        open_job(None, "best")
    with pytest.raises(LogError, match=r"expected the rig's files inside, rig.yaml missing"):
        open_job(None, DECISIONS)(Slice(log=str(write_drive(tmp_path / "a.mcap"))))


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

    job = open_job(tmp_path / "runs", str(write_model(tmp_path / "tiny")))
    log = write_world(tmp_path / "a.mcap", 2)
    one, again = (job(Slice(log=str(log))) for _ in range(2))
    assert one["digest"] == again["digest"]
    assert one["failed_sets"] == 0
    assert isinstance(one["detections"], int)
    assert one["detections"] > 0
    kept = list(detections_of(Path(str(one["run"]))))
    assert len(kept) == one["sets"]
    assert sum(len(found.boxes) for found in kept) == one["detections"]


def test_a_model_gets_the_streams_it_takes_and_refuses_logs_with_none(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the model is made with it")
    from tests.tiny_model import write_model

    folder = write_model(tmp_path / "tiny")
    file = msgspec.structs.replace(load_model(folder).file, lidar=None, audio=None)
    everything = plan()
    assert {stream.kind for stream in plan_for(file, everything).streams} <= {"camera", "gps"}
    sound = tuple(stream for stream in everything.streams if stream.kind == "audio")
    with pytest.raises(FleetError, match=r"expected one of camera.*, got audio"):
        plan_for(file, msgspec.structs.replace(everything, streams=sound))


@pytest.mark.process
def test_replay_of_many_logs_gives_the_digest_of_each_alone(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_log(tmp_path / f"{seed}.mcap", 2, seed)
    table = tmp_path / "table.json"
    result = CliRunner().invoke(
        app_for(["replay"]),
        ["replay", f"{tmp_path}/*.mcap", "--jobs", "2", "--table", str(table)],
    )
    assert result.exit_code == 0, result.stdout
    alone = open_job(None, DECISIONS)
    for row in json.loads(table.read_text()):
        assert row["digest"] == alone(Slice(log=row["log"]))["digest"]


@pytest.mark.process
def test_two_answers_to_the_same_logs_are_set_side_by_side(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.mcap", 2, 1)
    job = open_job(tmp_path / "first", DECISIONS)
    replayed = str(job(Slice(log=str(log)))["run"])
    with LogReader(log) as one, LogReader(Path(replayed)) as other:
        both = tmp_path / "both.mcap"
        with LogWriter(both, logged_rig(load_rig(find_rig("demo")))) as writer:
            received = [*one.messages(), *other.messages()]
            for message in sorted(received, key=lambda each: each.recv_ns):
                writer.write(message)
    page, table = tmp_path / "page.html", tmp_path / "table.json"
    models = ["--model", RECORDED, "--model", DECISIONS]
    result = CliRunner().invoke(
        app_for(["fleet"]),
        ["fleet", str(both), "--table", str(table), "--html", str(page), *models],
    )
    assert result.exit_code == 0, result.stdout
    assert "100.0 %" in page.read_text()
    rows = {row["model"]: row for row in json.loads(table.read_text())}
    assert rows[RECORDED]["sets"] == rows[DECISIONS]["sets"] > 10
