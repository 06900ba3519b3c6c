"""Writes and reads a simulated drive as a folder of plain files (docs/simulator.md)."""

import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import SimulationError
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from fusion_rt.rig import Rig
from fusion_rt.sim.drive import Made
from fusion_rt.sim.scenario import Scenario

with from_extra("sim"):
    import cv2

FORMAT = 1
_HEAD = "dataset.json"
_MESSAGES = "messages.jsonl"
_TRUTH = "truth.jsonl"
_JPEG_QUALITY = 95


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset is."""

    format: int = FORMAT
    scenario: str
    seed: int
    seconds: float
    world: Scenario
    rig: str
    topics: dict[str, int]
    """Messages per topic."""
    digest: str
    """Of what was made, before pictures were compressed."""


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a dataset. Times count from the start of the drive."""

    topic: str
    number: int
    true_ns: int
    stamp_ns: int
    sent_ns: int
    file: str = ""
    """Relative to the dataset; of the whole recording for audio; empty for GPS."""
    first_sample: int | None = None
    """Audio: count of samples before this chunk, holes included."""
    offset: int | None = None
    """Audio: where the chunk begins in the recording, in samples."""
    samples: int | None = None
    exposure_ns: int | None = None
    fix: GpsFix | None = None
    seen: dict[str, tuple[int, ...]] = {}
    """By object's id: pixels shown and pixels if alone (camera), or points (LiDAR)."""


class DatasetWriter:
    """Writes one drive within a `with`; `finish` makes it a dataset."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            problem = "expected a new or empty folder, found something there"
            raise SimulationError(str(folder), problem, "name another, or remove it")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rig = rig
        self._counts: dict[str, int] = {}
        self._open = ExitStack()
        self._messages = self._open.enter_context((folder / _MESSAGES).open("wb"))
        self._truth = self._open.enter_context((folder / _TRUTH).open("wb"))
        self._recordings: dict[str, wave.Wave_write] = {}
        (folder / "rig.yaml").write_bytes(rig.raw)
        (folder / rig.calibration.source.name).write_bytes(rig.calibration.raw)

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, made: Made) -> None:
        """Write one message."""
        shot = made.shot
        row: dict[str, Any] = {
            "topic": made.topic,
            "number": shot.number,
            "true_ns": shot.true_ns,
            "stamp_ns": shot.stamp_ns,
            "sent_ns": shot.sent_ns,
            **self._written(made),
        }
        if made.seen:
            row["seen"] = {str(number): counts for number, counts in made.seen.items()}
        self._counts[made.topic] = self._counts.get(made.topic, 0) + 1
        _write_line(self._messages, row)

    def add_truth(self, row: dict[str, Any]) -> None:
        _write_line(self._truth, row)

    def finish(
        self, scenario: str, world: Scenario, seed: int, seconds: float, digest: str
    ) -> None:
        """Close all files; the head comes last, so that a folder that has one is whole."""
        self._open.close()
        head = Head(
            scenario=scenario,
            seed=seed,
            seconds=seconds,
            world=world,
            rig=self._rig.name,
            topics=self._counts,
            digest=digest,
        )
        text = msgspec.json.format(msgspec.json.encode(head), indent=1)
        (self._folder / _HEAD).write_bytes(text + b"\n")

    def _written(self, made: Made) -> dict[str, Any]:
        """The message's own file, and what else its row says."""
        message, name = made.message, made.topic.replace("/", "_")
        if isinstance(message, CameraFrame):
            return {
                "file": self._write_image(name, made.shot.number, message),
                "exposure_ns": message.exposure_ns,
            }
        if isinstance(message, LidarSweep):
            return {"file": self._write_sweep(name, made.shot.number, message, made.point_ids)}
        if isinstance(message, AudioChunk):
            return self._write_audio(name, message)
        return {"fix": message}

    def _path(self, name: str, number: int, suffix: str) -> Path:
        (self._folder / name).mkdir(exist_ok=True)
        return self._folder / name / f"{number:06}{suffix}"

    def _write_image(self, name: str, number: int, frame: CameraFrame) -> str:
        path = self._path(name, number, ".jpg")
        path.write_bytes(jpeg_from_frame(frame).tobytes())
        return f"{name}/{path.name}"

    def _write_sweep(
        self, name: str, number: int, sweep: LidarSweep, ids: npt.NDArray[np.int32] | None
    ) -> str:
        path = self._path(name, number, ".npz")
        ring = np.zeros(0, np.uint16) if sweep.ring is None else sweep.ring
        np.savez(
            path, points=sweep.points, ring=ring, object_ids=np.zeros(0) if ids is None else ids
        )
        return f"{name}/{path.name}"

    def _write_audio(self, name: str, chunk: AudioChunk) -> dict[str, Any]:
        frames, channels = chunk.samples.shape
        if name not in self._recordings:
            path = self._folder / f"{name}.wav"
            recording = wave.open(str(path), "wb")  # noqa: SIM115  (the next line)
            self._open.enter_context(recording)
            recording.setnchannels(channels)
            recording.setsampwidth(chunk.samples.itemsize)
            recording.setframerate(chunk.rate_hz)
            self._recordings[name] = recording
        offset = self._recordings[name].getnframes()
        self._recordings[name].writeframesraw(chunk.samples.tobytes())
        place = {"first_sample": chunk.first_sample, "offset": offset, "samples": frames}
        return {"file": f"{name}.wav", **place}


def jpeg_from_frame(frame: CameraFrame) -> npt.NDArray[np.uint8]:
    """The bytes of a JPEG of a bgr8 or rgb8 frame."""
    image = frame.image if frame.encoding == "bgr8" else frame.image[..., ::-1]
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return np.asarray(jpeg, np.uint8)


def read_head(folder: Path) -> Head:
    """What a dataset says of itself; raises SimulationError where there is none."""
    try:
        return msgspec.json.decode((folder / _HEAD).read_bytes(), type=Head)
    except FileNotFoundError:
        problem = f"expected a dataset with a {_HEAD}, found none"
        raise SimulationError(str(folder), problem, "a drive that was cut short has none") from None
    except msgspec.DecodeError as error:
        raise SimulationError(str(folder), f"{_HEAD} is damaged ({error})") from error


def read_messages(folder: Path) -> Iterator[MessageRow]:
    """All messages of a dataset, in the order they were sent."""
    decoder = msgspec.json.Decoder(MessageRow)
    with (folder / _MESSAGES).open("rb") as lines:
        for line in lines:
            yield decoder.decode(line)


def read_truths(folder: Path) -> Iterator[dict[str, Any]]:
    """All truths of a dataset, in the order of time; fields as in truth.Truth.row."""
    with (folder / _TRUTH).open("rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line)


def _write_line(file: IO[bytes], row: dict[str, Any]) -> None:
    file.write(msgspec.json.encode(row) + b"\n")
