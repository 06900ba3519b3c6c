import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import tests.fusion_world as world
import tests.tiny_model as tiny
from fusion_rt.clock import NS_PER_MS, RigClock
from fusion_rt.fusion.ego_motion import EgoMotion
from fusion_rt.fusion.encoding import HANGS_NS, Encoders, Item, SoundCollector, UnderWay
from fusion_rt.fusion.finisher import Finisher
from fusion_rt.fusion.fuser import Fuser
from fusion_rt.fusion.lanes import Lane
from fusion_rt.fusion.shelf import Shelf, tokens
from fusion_rt.messages import AudioChunk, CameraFrame, Detections
from fusion_rt.perception import Answer, open_model

CLOCK = RigClock.starting_now()


class SlowEncoders(Encoders):
    """Encodes only when told to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def encode(self, item: Item) -> None:
        self.begun.release()
        self.go_on.acquire()
        item.state = "ready"


def item(stamp_ns: int) -> Item:
    return Item(topic="camera/front", kind="camera", stamp_ns=stamp_ns)


def test_a_lane_that_is_busy_keeps_the_newest_and_tells_of_the_others() -> None:
    encoders, progress = SlowEncoders(), threading.Condition()
    settled: list[Item] = []
    lane = Lane("camera/front", encoders, CLOCK, progress, settled.append)
    items = [item(n) for n in range(4)]
    lane.submit(items[0])
    encoders.begun.acquire()
    assert lane.busy_since_ns is not None
    for each in items[1:]:
        lane.submit(each)
    assert [each.stamp_ns for each in settled] == [1, 2]
    assert "superseded by a newer one" in items[1].reason
    encoders.go_on.release(2)
    with progress:
        assert progress.wait_for(lambda: items[3].state == "ready", 10)
    lane.close()
    assert lane.busy_since_ns is None
    assert [each.state for each in items] == ["ready", "superseded", "superseded", "ready"]


def test_work_that_is_under_way_is_told_by_its_oldest_unless_that_hangs() -> None:
    under_way, items = UnderWay(), [item(n) for n in range(3)]
    assert under_way.since_ns(0) is None
    for number, each in enumerate(items):
        under_way.begin(each, 10 * number)
    assert under_way.since_ns(30) == 0
    items[1].state = "ready"
    assert under_way.since_ns(30) == 0
    items[0].state = "failed"
    assert under_way.since_ns(30) == 20
    assert under_way.since_ns(20 + HANGS_NS) == 20
    assert under_way.since_ns(21 + HANGS_NS) is None


def test_pictures_are_decoded_and_damaged_ones_say_so(tmp_path: Path) -> None:
    picture = np.full((180, 320, 3), 90, np.uint8)
    data = cv2.imencode(".jpg", picture)[1].reshape(-1)
    half = data.copy()
    half[200:] = 0
    folder = tiny.write_model(tmp_path)
    with open_model(folder, world.demo_mounts(), "onnxruntime") as perception:
        encoders = Encoders(perception)
        whole, damaged = item(1), item(2)
        for each, image in ((whole, data), (damaged, half[:300])):
            each.message = CameraFrame(
                stamp_ns=1, encoding="jpeg", width=320, height=180, image=image
            )
            encoders.encode(each)
    assert whole.features is not None
    assert whole.features["camera_mean"].item() == pytest.approx(90, abs=2)
    assert whole.message is None
    assert damaged.state == "failed"
    assert "camera could not be encoded: its JPEG is damaged" in damaged.reason


def chunk(number: int, *, rate_hz: int = 16000, channels: int = 4, stamp_ns: int = 0) -> AudioChunk:
    samples = np.full((320, channels), number, np.int16)
    return AudioChunk(
        stamp_ns=stamp_ns, samples=samples, rate_hz=rate_hz, first_sample=number * 320
    )


def test_a_window_of_sound_ends_with_the_newest_sample_and_marks_holes_as_silence() -> None:
    sound = SoundCollector(1600, 16000, 4)
    for number in (10, 11, 13, 14):
        assert sound.add(chunk(number)) is None
    window = sound.window()
    assert window is not None
    assert window[::320, 0].tolist() == [10, 11, 0, 13, 14]


def test_too_little_sound_is_none_and_another_device_begins_anew() -> None:
    sound = SoundCollector(1600, 16000, 4)
    for number in range(10, 15):
        sound.add(chunk(number))
    assert sound.window() is not None
    sound.add(chunk(0))
    assert sound.window() is None


def test_a_late_chunk_of_sound_fills_its_hole() -> None:
    sound = SoundCollector(1600, 16000, 4)
    for number in (10, 11, 13, 14, 12):
        assert sound.add(chunk(number, stamp_ns=number * 20 * NS_PER_MS)) is None
    window = sound.window()
    assert window is not None
    assert window[::320, 0].tolist() == [10, 11, 12, 13, 14]
    assert sound.add(chunk(2, stamp_ns=40 * NS_PER_MS)) is None  # older than the window
    assert sound.window() is not None


def test_sound_that_the_model_was_not_made_for_is_refused() -> None:
    sound = SoundCollector(1600, 16000, 4)
    wanted = "expected sound of 16000 Hz and 4 channels for the model, got"
    assert sound.add(chunk(0, channels=2)) == f"{wanted} 16000 Hz and 2"
    assert sound.add(chunk(0, rate_hz=48000)) == f"{wanted} 48000 Hz and 4"


class Outbox:
    """Stands for a publisher."""

    def __init__(self) -> None:
        self.answers: list[Detections] = []

    def publish(self, answer: Detections, trace: tuple[tuple[str, int], ...]) -> int:
        self.answers.append(answer)
        return trace[-1][1]


def test_a_set_that_is_shed_is_answered_from_the_tracks_without_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_model(tiny.write_model(tmp_path), world.demo_mounts(), "onnxruntime") as model:
        fusion = world.inline(model)
        sets = [
            each
            for sent in world.world(3)
            for each in fusion.intake.take(sent.header, sent.recv_ns, lambda s=sent: s.message)[0]
        ]
        calls: list[int] = []
        whole = model.fuse

        def counted(*words: object, **options: object) -> Answer:
            calls.append(1)
            return whole(*words, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(model, "fuse", counted)
        for topic, one in ((t, i) for each in sets for t, i in tokens(each).items()):
            one.features, one.state = {f"{topic.split('/')[0]}_mean": _MEAN}, "ready"
        outbox = Outbox()
        plan = fusion.core.plan
        finisher = Finisher(
            plan,
            Fuser(plan, model),
            Shelf(plan),
            outbox,  # type: ignore[arg-type]
            CLOCK,
            threading.Condition(),
        )
        for number, each in enumerate(sets[-8:]):
            finisher.submit(each, EgoMotion(), is_shed=number in (4, 6))
        finisher.close()
    assert finisher.failed is None
    assert finisher.working_since_ns is None
    assert len(calls) == 6
    assert [answer.stamp_ns for answer in outbox.answers] == [each.time_ns for each in sets[-8:]]
    for number, answer in enumerate(outbox.answers[3:7], 3):
        is_shed = number in (4, 6)
        reasons = {m.reason for m in answer.members if m.topic != "gps/main"}
        assert reasons == ({"shed: the machine is behind"} if is_shed else {""})
        assert answer.is_predicted is not None
        assert answer.is_predicted.tolist() == [int(is_shed)] * 4
    tracks = [answer.track_ids for answer in outbox.answers[3:]]
    assert all(np.array_equal(np.sort(t), np.sort(tracks[0])) for t in tracks if t is not None)


_MEAN = np.zeros((1, 1), np.float32)
