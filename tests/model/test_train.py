"""Training: the loss falls, a killed run goes on, the curves are readable."""

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="needs the extra train")

from fusion_rt.clock import NS_PER_S, SettableClock  # noqa: E402
from fusion_rt.datasets.moments import annotated_frames, moment_from_frame  # noqa: E402
from fusion_rt.errors import ConfigError, ConfigErrors  # noqa: E402
from fusion_rt.model.event_log import EventLog, crc32c  # noqa: E402
from fusion_rt.model.loading import batches, kept_share  # noqa: E402
from fusion_rt.model.moments import all_moments, write_moments  # noqa: E402
from fusion_rt.model.steps import step_losses, weighted  # noqa: E402
from fusion_rt.model.train import CHECKPOINT, LOG, Trainer  # noqa: E402
from fusion_rt.model.train_config import (  # noqa: E402
    Beginning,
    LearningRates,
    LossWeights,
    load_train_config,
)
from tests.model.small import small_config, small_model  # noqa: E402

torch.set_num_threads(1)  # where others work too, threads mostly wait for one another
DATA = Path(__file__).parents[2].parent / "shared" / "data"


def _trainer(data: Path, run: Path, **fields: object) -> Trainer:
    return Trainer(small_config(data, **fields), run, SettableClock())


def test_the_loss_falls_and_the_log_says_so(moments_folder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    trainer = _trainer(moments_folder, tmp_path, samples=32, learning_rate=0.01)
    trainer.run(rows.append)
    heat = [row["heat"] + row["box"] for row in rows]
    assert len(rows) == 16
    assert sum(heat[-4:]) < 0.75 * sum(heat[:4])
    logged = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert logged == rows


def test_a_run_goes_on_where_it_was_saved(moments_folder: Path, tmp_path: Path) -> None:
    first = _trainer(moments_folder, tmp_path, samples=4)
    first.run()
    again = _trainer(moments_folder, tmp_path, samples=8)
    assert (again.steps, again.samples, again.sittings) == (2, 4, 2)
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    again.run()
    assert again.steps == 4


@pytest.mark.process
def test_a_run_that_was_killed_goes_on(moments_folder: Path, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "small.yaml"
    config = small_config(moments_folder, samples=100_000, checkpoint_s=0.01)
    file.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
    command = [sys.executable, "-m", "fusion_rt", "train", str(file), "-o", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not (run / CHECKPOINT).exists():
            assert process.poll() is None, process.communicate()[0].decode()
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    resumed = Trainer(config, run, SettableClock())
    assert resumed.steps >= 1
    resumed.step(batches(config, resumed.sittings))


@pytest.mark.process
@pytest.mark.timeout(240)
def test_two_processes_train_one_model(moments_folder: Path, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(msgspec.to_builtins(small_config(moments_folder, samples=8))))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "fusion_rt", "train", str(file), "-o", str(run), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "finished: 2 steps, 8 moments" in done.stdout
    assert len((run / LOG).read_text().splitlines()) == 2


def test_asked_to_stop_it_saves_and_stops(moments_folder: Path, tmp_path: Path) -> None:
    trainer = _trainer(moments_folder, tmp_path, samples=1000)
    trainer.run(should_stop=lambda: trainer.steps == 1)
    assert trainer.steps == 1
    assert (tmp_path / CHECKPOINT).exists()


def test_another_model_does_not_go_on_with_a_run(moments_folder: Path, tmp_path: Path) -> None:
    _trainer(moments_folder, tmp_path).save()
    config = msgspec.structs.replace(small_config(moments_folder), model=small_model("early"))
    with pytest.raises(ConfigError, match="expected the model of the run that is there"):
        Trainer(config, tmp_path, SettableClock())


@pytest.mark.parametrize(
    "source",
    ["kitti/training", "nuscenes/n015-2018-07-24-11-22-45+0800.json"],
    ids=["KITTI", "nuScenes"],
)
def test_a_real_data_set_trains(source: str, tmp_path: Path) -> None:
    folder = DATA / source
    if not folder.exists():
        pytest.skip(f"no recordings in {DATA}")
    moments = [moment_from_frame(frame, 7) for frame in annotated_frames(folder)]
    write_moments(tmp_path, 7, moments)
    rows: list[dict[str, float]] = []
    _trainer(tmp_path, tmp_path / "run", samples=4).run(rows.append)
    assert len(rows) == 2
    for row in rows:
        assert np.isfinite(list(row.values())).all()
        assert row["heat"] > 0
        assert row["box"] > 0
        assert row["depth"] > 0


def test_a_run_begins_with_another_and_keeps_what_is_frozen(
    moments_folder: Path, tmp_path: Path
) -> None:
    first = _trainer(moments_folder, tmp_path / "first", samples=2)
    first.run()
    begin = Beginning(run=str(tmp_path / "first"), graphs=("camera", "lidar", "audio"))
    rates = LearningRates(camera=0, lidar=0, audio=0)
    config = small_config(moments_folder, samples=2, seed=2, begin=begin, learning_rates=rates)
    config = msgspec.structs.replace(config, model=small_model("attention"))
    second = Trainer(config, tmp_path / "second", SettableClock())
    fusion = [p.detach().clone() for p in second.model.fusion.parameters()]
    second.run()
    for name in ("camera", "lidar", "audio"):
        taken, kept = (getattr(run, name).state_dict() for run in (first.average, second.model))
        assert all(torch.equal(taken[key], kept[key]) for key in taken)
    now = second.model.fusion.parameters()
    assert any(not torch.equal(*pair) for pair in zip(fusion, now, strict=True))


def test_a_run_does_not_begin_with_graphs_of_another_size(
    moments_folder: Path, tmp_path: Path
) -> None:
    _trainer(moments_folder, tmp_path).save()
    config = small_config(moments_folder, begin=Beginning(run=str(tmp_path)))
    config = msgspec.structs.replace(config, model=small_model("attention"))
    with pytest.raises(ConfigError, match="expected a fusion graph of the same sizes"):
        Trainer(config, tmp_path / "other", SettableClock())


def test_minutes_end_a_run_whatever_the_samples(moments_folder: Path, tmp_path: Path) -> None:
    clock = SettableClock()
    config = small_config(moments_folder, minutes=1.0, samples=1_000_000)
    trainer = Trainer(config, tmp_path, clock)
    trainer.run(lambda _: clock.advance_ns(25 * NS_PER_S))
    assert trainer.steps == 4  # the fourth sees that 75 s have passed


def test_all_losses_have_a_gradient_also_the_optional_ones(
    moments_folder: Path, tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    _trainer(moments_folder, teacher).save()
    loss = LossWeights(pairing=0.1)
    trainer = _trainer(moments_folder, tmp_path, teacher=str(teacher), loss=loss)
    losses = step_losses(
        trainer.model, next(batches(trainer.config, 1)), trainer.config, trainer.teacher
    )
    weighted(losses, trainer.config).backward()
    assert {"pairing", "teacher"} <= set(losses)
    unused = [
        name
        for name, p in trainer.model.named_parameters()
        if p.grad is None and not name.startswith("fusion.join.missing")
    ]
    assert unused == []


def test_accumulated_batches_make_one_step(moments_folder: Path, tmp_path: Path) -> None:
    trainer = _trainer(moments_folder, tmp_path, accumulate=2)
    trainer.step(batches(trainer.config, 1))
    assert (trainer.steps, trainer.samples) == (1, 4)


def test_moments_of_rare_things_are_taken_more_often(moments_folder: Path) -> None:
    for moment in all_moments(moments_folder):
        seen = {label.class_id for label in moment.labels if label.points > 3}
        assert kept_share(moment) == 1.0 or not seen & {1, 3, 4}


def test_an_unknown_field_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("data: moments\nmodel: {fuson: gate}\n")
    with pytest.raises(ConfigErrors, match=r"train\.yaml:2: model\.fuson: unknown field"):
        load_train_config(file)


@pytest.mark.parametrize("name", ["reference", "smoke"])
def test_the_shipped_training_files_are_valid(name: str) -> None:
    load_train_config(Path(__file__).parents[2] / "configs" / f"{name}.yaml")


def test_checksums_are_those_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720's polynomial


def test_an_event_file_holds_records_of_scalars(tmp_path: Path) -> None:
    with EventLog(tmp_path, SettableClock(5 * NS_PER_S)) as log:
        log.scalars(300, {"heat": 0.5})
    (path,) = tmp_path.iterdir()
    data, payloads = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        payloads.append(data[12 : 12 + length])
        data = data[16 + length :]
    assert b"brain.Event:2" in payloads[0]
    assert payloads[1].startswith(b"\x09" + struct.pack("<d", 5.0) + b"\x10\xac\x02")
    assert payloads[1].endswith(b"\x0a\x04heat\x15" + struct.pack("<f", 0.5))
