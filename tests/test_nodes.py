import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.errors import MessageError
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message
from fusion_rt.node import Node
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.session import Session, Setup, start_session
from fusion_rt.supervisor import node_command
from fusion_rt.topics import topic_kind
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from nodes import audio, camera, gps, lidar

DEMO = load_rig(find_rig("demo"))


class Published(list[Message]):
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.counters: Counter[str] = Counter()

    def publish(self, message: Message) -> None:
        self.append(message)


def frame(stamp_ns: int = 0) -> CameraFrame:
    image = np.zeros((2, 2, 3), np.uint8)
    return CameraFrame(stamp_ns=stamp_ns, encoding="bgr8", width=2, height=2, image=image)


def sweep(points: int) -> LidarSweep:
    return LidarSweep(stamp_ns=0, points=np.zeros((points, 5), np.float32))


def chunk(first_sample: int, samples: int) -> AudioChunk:
    sound = np.zeros((samples, 2), np.int16)
    return AudioChunk(stamp_ns=0, samples=sound, rate_hz=16_000, first_sample=first_sample)


def test_the_camera_node_publishes_every_frame_as_it_is() -> None:
    frames, published = [frame(1), frame(2)], Published()
    camera.run(frames, published)
    assert published == frames


def test_the_lidar_node_counts_sweeps_that_saw_nothing() -> None:
    published = Published()
    lidar.run([sweep(3), sweep(0), sweep(0)], published)
    assert len(published) == 3
    assert published.counters[lidar.EMPTY_SWEEPS] == 2


def test_the_audio_node_counts_the_samples_of_a_hole() -> None:
    published = Published()
    audio.run([chunk(100, 10), chunk(110, 10), chunk(150, 10), chunk(160, 10)], published)
    assert len(published) == 4
    assert published.counters[audio.LOST_SAMPLES] == 30


def test_a_device_that_counts_from_the_start_again_lost_nothing() -> None:
    published = Published()
    audio.run([chunk(100, 10), chunk(0, 10), chunk(10, 10)], published)
    assert published.counters[audio.LOST_SAMPLES] == 0


def test_the_gps_node_publishes_and_counts_solutions_without_position() -> None:
    published = Published()
    gps.run([GpsFix(stamp_ns=0, fix="none"), GpsFix(stamp_ns=1, fix="3d")], published)
    assert len(published) == 2
    assert published.counters[gps.WITHOUT_POSITION] == 1


@pytest.fixture
def session() -> Iterator[Session]:
    entries = {topic: msgspec.to_builtins(s.options) for topic, s in DEMO.sensors.items()}
    with (
        tempfile.TemporaryDirectory() as short,  # tmp_path is too long for the names of sockets
        start_session(Path(short, "run"), "demo", Setup(sensors=entries)) as session,
    ):
        yield session


@pytest.mark.process
@pytest.mark.parametrize("topic", DEMO.sensors)
def test_a_node_carries_its_device_s_messages_until_it_is_told_to_end(
    session: Session, topic: str
) -> None:
    with (
        Subscriber([topic], session, session.clock()) as inbox,
        subprocess.Popen(node_command(session, topic)) as process,
    ):
        received = [inbox.receive(10 * NS_PER_S) for _ in range(3)]
        process.terminate()
    assert process.returncode == 0
    assert [type(one and one.message) for one in received] == [topic_kind(topic).message] * 3


def test_a_program_of_another_kind_refuses_to_start(session: Session) -> None:
    with Publisher("gps/main", session, session.clock()) as publisher:
        node = Node("gps/main", session, session.clock(), publisher)
        expected = 'topic "gps/main": carries GpsFix, got the program for AudioChunk'
        with pytest.raises(MessageError, match=expected):
            node.open_driver(AudioChunk)
