"""Reading ahead of the fusion changes when things happen, and nothing of what comes out."""

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS
from fusion_rt.fusion.options import FusionPlan, planned_stream
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import CameraFrame, Detections, GpsFix
from fusion_rt.replay import run
from fusion_rt.replay.ahead import DecodedAhead, read_ahead
from fusion_rt.replay.open import Networks, opened_replay
from fusion_rt.replay.plan import ReplayOptions
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.transport.inbox import Received
from tests.logs.drives import START_NS, drive

PLAN = FusionPlan(
    streams=(
        planned_stream("camera/front", "camera_front", 30, "a camera"),
        planned_stream("lidar/top", "lidar_top", 10, "a LiDAR"),
    ),
    reference="lidar/top",
)


def as_it_is(received: Received) -> Received:
    return received


def with_jpegs(messages: list[Received]) -> Iterator[Received]:
    """The drive's pictures as a camera with compression sends them, every ninth damaged."""
    rng = np.random.default_rng(1)
    for number, one in enumerate(messages):
        if not isinstance(one.message, CameraFrame):
            yield one
            continue
        picture = rng.integers(0, 256, (180, 320, 3), np.uint8)
        data = cv2.imencode(".jpg", picture)[1].reshape(-1)
        image = data[: len(data) // 2] if number % 9 == 0 else data
        frame = msgspec.structs.replace(
            one.message, encoding="jpeg", width=320, height=180, image=image
        )
        yield Received(one.header, one.recv_ns, frame)


class TestReading:
    def test_everything_comes_in_order_and_prepared(self) -> None:
        messages = drive(1)
        prepared: list[Received] = []

        def prepare(received: Received) -> Received:
            prepared.append(received)
            return received

        assert list(read_ahead(messages, prepare)) == prepared == messages

    def test_no_more_is_kept_than_the_limit_allows(self) -> None:
        """The reader stands until room is made: one waits to be put in, one is in."""
        read = 0

        def messages() -> Iterator[Received]:
            nonlocal read
            for one in drive(1):
                if isinstance(one.message, CameraFrame):
                    read += 1
                    yield one

        taken = 0
        for _ in read_ahead(messages(), as_it_is, limit_bytes=1):
            taken += 1
            assert read <= taken + 2
        assert taken == 30

    def test_what_reading_raises_is_raised_where_it_is_taken(self) -> None:
        def messages() -> Iterator[Received]:
            yield from drive(1)[:3]
            raise ValueError("broken on the way")

        ahead = read_ahead(messages(), as_it_is)
        assert len([next(ahead) for _ in range(3)]) == 3
        with pytest.raises(ValueError, match="broken on the way"):
            next(ahead)

    def test_closed_early_it_leaves_no_thread(self) -> None:
        ahead = read_ahead(drive(2), as_it_is, limit_bytes=1)
        next(ahead)
        assert any(thread.name.startswith("log reader") for thread in threading.enumerate())
        ahead.close()
        assert not any(thread.name.startswith("log reader") for thread in threading.enumerate())


class TestDecoding:
    @pytest.fixture(autouse=True)
    def _decoder(self) -> None:
        pytest.importorskip("simplejpeg", reason="needs the extra `sensors`")

    def test_pictures_near_a_reference_are_decoded_and_damaged_ones_left(self) -> None:
        messages = list(with_jpegs(drive(2)))
        decode = DecodedAhead(PLAN)
        pairs = [(one, decode(one)) for one in messages]
        frames = [(a.message, b.message) for a, b in pairs if isinstance(a.message, CameraFrame)]
        decoded = [b for _, b in frames if isinstance(b, CameraFrame) and b.encoding == "bgr8"]
        assert 0.3 < len(decoded) / len(frames) < 0.6  # a camera three times as fast as the LiDAR
        assert all(frame.problem() is None for frame in decoded)
        for before, after in pairs:
            assert (before.header, before.recv_ns) == (after.header, after.recv_ns)
            if not isinstance(before.message, (CameraFrame, GpsFix)):
                assert after is before

    def test_a_log_that_lies_about_a_size_costs_no_memory(self) -> None:
        (first, *_) = (one for one in with_jpegs(drive(1)) if isinstance(one.message, CameraFrame))
        huge = msgspec.structs.replace(first.message, width=10**6, height=10**6)
        received = Received(first.header, first.recv_ns, huge)
        assert DecodedAhead(PLAN)(received).message is huge


def answers(log: LogReader, options: ReplayOptions) -> tuple[str, list[Detections]]:
    with Networks() as networks:
        replay = opened_replay(log, options, networks)
        found = list(replay.answers())
        return replay.result().digest, found


@pytest.mark.parametrize("faults", [(), ("camera corrupt 1s..1.5s", "lidar delay 40ms")])
def test_answers_are_bit_for_bit_those_of_reading_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]
) -> None:
    pytest.importorskip("simplejpeg", reason="needs the extra `sensors`")
    tiny = pytest.importorskip("tests.tiny_model", reason="onnx is not installed")
    model = tiny.write_model(tmp_path / "tiny")
    path = tmp_path / "a.mcap"
    with LogWriter(path, logged_rig(load_rig(find_rig("demo")))) as writer:
        for one in with_jpegs(drive(2)):
            writer.write(one)
    options = ReplayOptions(model=str(model), faults=faults)
    with LogReader(path) as log:
        digest, ahead = answers(log, options)
        monkeypatch.setattr(run, "read_ahead", lambda messages, _: messages)
        in_line_digest, in_line = answers(log, options)
    assert digest == in_line_digest
    assert msgspec.json.encode([one.boxes.tolist() for one in ahead]) == msgspec.json.encode(
        [one.boxes.tolist() for one in in_line]
    )
    assert sum(len(one.boxes) for one in ahead) > 10
    assert ahead[-1].stamp_ns - START_NS > 1000 * NS_PER_MS
