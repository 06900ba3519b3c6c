"""docs/messages.md and its example, held against the code and the wire."""

import importlib
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from docs.generate_messages import PAGE, page
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, Message
from fusion_rt.session import start_session
from fusion_rt.topics import KINDS
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.wire import Header

plain_subscriber = importlib.import_module("examples.plain_subscriber")


def test_the_page_is_what_the_code_says():
    assert page() == PAGE.read_text(), "run: python docs/generate_messages.py"


@pytest.mark.parametrize("message", [*Message.__subclasses__(), Header], ids=lambda m: m.__name__)
def test_the_page_has_every_field_of_every_message(message):
    section = PAGE.read_text().split(f"### {message.__name__}\n")[1].split("\n#")[0]

    own = [name for name in message.__annotations__ if name in message.__struct_fields__]
    assert all(f"| `{name}` |" in section for name in own)


def test_the_page_has_every_kind_of_topic_and_every_cause_of_a_drop():
    text = PAGE.read_text()

    assert all(f"| `{kind}/*` |" in text for kind in KINDS)
    assert all(f"- `{drop.value}`" in text for drop in Drop)


@pytest.fixture
def session():
    with (
        tempfile.TemporaryDirectory() as parent,  # tmp_path is too long for sockets
        start_session(Path(parent, "run"), "test") as session,
    ):
        yield session


def read_published(session, topic, message):
    """What the example reads of a real publisher; a subscription takes a moment to arrive."""
    socket = plain_subscriber.subscribe(session.run_dir, topic)
    try:
        with Publisher(topic, session, session.clock(), node="test") as publisher:
            for _ in range(500):
                publisher.publish(message)
                if socket.poll(10):
                    return plain_subscriber.read(socket)
    finally:
        socket.close(linger=0)
    pytest.fail("nothing arrived in 500 messages")


@pytest.mark.parametrize("side", [4, 400])  # inline by size, and of a size that takes the ring
def test_the_example_reads_an_image(session, side):
    image = np.arange(side * side, dtype=np.uint32).astype(np.uint8).reshape(side, side)
    sent = CameraFrame(stamp_ns=5, encoding="mono8", width=side, height=side, image=image)
    header, arrays = read_published(session, "camera/front", sent)

    assert (header["topic"], header["node"], header["stamp_ns"]) == ("camera/front", "test", 5)
    assert header["body"]["encoding"] == "mono8"
    np.testing.assert_array_equal(arrays[header["body"]["image"]], image)


def test_the_example_reads_a_message_without_arrays(session):
    sent = GpsFix(stamp_ns=5, fix="3d", latitude_deg=48.1, longitude_deg=11.6, satellites=9)
    header, arrays = read_published(session, "gps/main", sent)

    assert arrays == []
    assert header["body"] == msgspec.to_builtins(sent)


def test_the_example_reads_sound(session):
    samples = np.linspace(-1, 1, 320 * 4, dtype=np.float32).reshape(320, 4)
    sent = AudioChunk(stamp_ns=5, samples=samples, rate_hz=16000, first_sample=640)
    header, arrays = read_published(session, "audio/array", sent)

    np.testing.assert_array_equal(arrays[header["body"]["samples"]], samples)
