import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the extra sim is not installed")
pytest.importorskip("cv2", reason="the extra sim is not installed")

import cv2

from fusion_rt.errors import ConfigError, SimulationError
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import CameraFrame, LidarSweep
from fusion_rt.rig import Rig, find_rig, load_rig
from fusion_rt.sim.dataset import DatasetWriter, read_head, read_messages, read_truths
from fusion_rt.sim.drive import Digest, Drive
from fusion_rt.sim.log_dataset import TRUTH, TruthRow
from fusion_rt.sim.scenario import load_scenario
from fusion_rt.sim.truth import is_seen_by_camera, is_seen_by_lidar, seen_ids

SECONDS = 0.7


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fusion_rt", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig(find_rig("sim"))


def digest_of(rig: Rig, scenario: str, seed: int) -> str:
    drive, digest = Drive(rig, load_scenario(scenario), seed), Digest()
    for made in drive.messages(SECONDS):
        digest.add(made)
    for truth in drive.truths(SECONDS):
        digest.add_truth(truth.row())
    return digest.hex()


def test_two_processes_make_the_same_drive_and_say_so(tmp_path: Path, rig: Rig) -> None:
    """One of them keeps it as a dataset, with a picture; here it is made once more."""
    arguments = ["siren_behind", "--seconds", str(SECONDS), "--seed", "5"]
    kept = simulate(*arguments, "-o", str(tmp_path / "drive"), "--preview", str(tmp_path / "a.png"))
    line = kept.stdout.splitlines()[-1]
    assert kept.returncode == 0, kept.stderr
    assert line == f"digest: {read_head(tmp_path / 'drive').digest}"
    assert line == simulate(*arguments).stdout.splitlines()[-1]
    assert line == f"digest: {digest_of(rig, 'siren_behind', 5)}"
    assert cv2.imread(str(tmp_path / "a.png")).shape == (840, 1500, 3)


def test_other_seeds_and_scenarios_make_other_drives(rig: Rig) -> None:
    digests = {
        digest_of(rig, "urban_day", 1),
        digest_of(rig, "urban_day", 2),
        digest_of(rig, "fog", 1),
    }
    assert len(digests) == 3


def test_a_dataset_gives_back_what_was_made(tmp_path: Path, rig: Rig) -> None:
    drive = Drive(rig, load_scenario("siren_behind"), 2)
    made, truths = list(drive.messages(SECONDS)), list(drive.truths(SECONDS))
    with DatasetWriter(tmp_path / "set", rig) as writer:
        for one in made:
            writer.add(one)
        for truth in truths:
            writer.add_truth(truth.row())
        writer.finish("siren_behind", drive.world.scenario, 2, SECONDS, "0" * 64)

    head, rows = read_head(tmp_path / "set"), list(read_messages(tmp_path / "set"))
    assert head.world == drive.world.scenario
    assert sum(head.topics.values()) == len(rows) == len(made) == drive.count(SECONDS)
    assert [row.sent_ns for row in rows] == sorted(row.sent_ns for row in rows)
    for row, one in zip(rows, made, strict=True):
        assert (row.topic, row.true_ns, row.stamp_ns) == (
            one.topic,
            one.shot.true_ns,
            one.shot.stamp_ns,
        )
        assert {int(n): c for n, c in row.seen.items()} == one.seen
        if isinstance(one.message, LidarSweep):
            stored = np.load(tmp_path / "set" / row.file)
            assert stored["points"].tobytes() == one.message.points.tobytes()
            assert np.array_equal(stored["object_ids"], one.point_ids)
        elif isinstance(one.message, CameraFrame):
            picture = cv2.imread(str(tmp_path / "set" / row.file)).astype(float)
            assert np.abs(picture - one.message.image).mean() < 3  # JPEG
    assert [row["ids"] for row in read_truths(tmp_path / "set")] == [t.ids.tolist() for t in truths]


def test_a_recording_is_all_chunks_end_to_end(tmp_path: Path, rig: Rig) -> None:
    drive = Drive(rig, load_scenario("sensor_storm"), 2)
    made = [one for one in drive.messages(0.3) if one.topic == "audio/array"]
    with DatasetWriter(tmp_path / "set", rig) as writer:
        for one in made:
            writer.add(one)
        writer.finish("sensor_storm", drive.world.scenario, 2, 0.3, "0" * 64)
    with wave.open(str(tmp_path / "set" / "audio_array.wav")) as recording:
        sound = np.frombuffer(recording.readframes(recording.getnframes()), np.int16).reshape(-1, 4)
    for row, one in zip(read_messages(tmp_path / "set"), made, strict=True):
        assert row.offset is not None
        assert row.samples is not None
        assert np.array_equal(sound[row.offset : row.offset + row.samples], one.message.samples)  # type: ignore[attr-defined]


def test_messages_are_valid_and_in_the_order_they_are_sent(rig: Rig) -> None:
    made = list(Drive(rig, load_scenario("sensor_storm"), 1).messages(SECONDS))
    assert {one.message.problem() for one in made} == {None}
    sent = [one.shot.sent_ns for one in made]
    assert sent == sorted(sent)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path, rig: Rig) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(SimulationError, match="expected a new or empty folder, found something"):
        DatasetWriter(tmp_path, rig)


def test_a_drive_cut_short_is_no_dataset(tmp_path: Path, rig: Rig) -> None:
    with DatasetWriter(tmp_path / "set", rig) as writer:
        writer.add_truth({})
    with pytest.raises(
        SimulationError, match=r"expected a dataset with a dataset\.json, found none"
    ):
        read_head(tmp_path / "set")


def test_a_damaged_head_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(SimulationError, match=r"dataset\.json is damaged"):
        read_head(tmp_path)


def test_a_log_holds_the_same_drive_as_it_would_have_been_received(
    tmp_path: Path, rig: Rig
) -> None:
    made = simulate("siren_behind", "--seconds", "0.3", "-o", str(tmp_path / "a.mcap"))
    assert made.returncode == 0, made.stderr
    drive = Drive(rig, load_scenario("siren_behind"), 1)
    with LogReader(tmp_path / "a.mcap") as log:
        read = list(log.messages())
        truths = list(log.rows(TRUTH, TruthRow))
        assert log.about["rig_digest"] == rig.digest
    shots = [(one.topic, one.shot.stamp_ns, one.shot.sent_ns) for one in drive.messages(0.3)]
    logged = [(one.header.topic, one.message.stamp_ns, one.header.sent_ns) for one in read]
    assert sorted(logged) == sorted(shots)
    assert [truth.t_ns for truth in truths] == [truth.t_ns for truth in drive.truths(0.3)]
    assert all(one.header.fingerprint for one in read if one.header.topic != "gps/main")


def test_a_wrong_scenario_is_refused_in_one_line() -> None:
    refused = simulate("urban_dya")
    assert refused.returncode == 2
    assert 'did you mean "urban_day"' in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_rig_without_simulated_sensors_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r'sensors\."camera/front": expected the driver sim, got synth'
    ):
        Drive(load_rig(find_rig("demo")), load_scenario("urban_day"), 1)


def test_an_object_no_sensor_sees_is_no_miss() -> None:
    camera = {1: (400, 400), 2: (20, 20), 3: (40, 4000), 4: (0, 900)}
    lidar = {2: (2,), 4: (3,)}
    assert [n for n, counts in camera.items() if is_seen_by_camera(counts)] == [1]
    assert [n for n, counts in lidar.items() if is_seen_by_lidar(counts)] == [4]
    assert seen_ids(camera, lidar) == {1, 4}
