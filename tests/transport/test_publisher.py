"""What a publisher lends, and what it refuses."""

import fcntl

import msgspec
import numpy as np
import pytest

from fusion_rt.clock import RigClock
from fusion_rt.errors import MessageError, PublisherError, TopicError
from fusion_rt.messages import Health
from fusion_rt.session import Session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import (
    CAMERA,
    SIDE,
    camera_frame,
    every_message,
    gps_fix,
    is_whole,
)
from tests.transport.waiting import (
    join,
    open_files,
    receive,
    waiting,
)

MESSAGES = every_message()


def test_a_second_publisher_of_a_topic_is_refused(
    session: Session, clock: RigClock, camera: Publisher
) -> None:
    assert camera
    before = open_files()
    with pytest.raises(PublisherError, match='topic "camera/front": is being published already'):
        Publisher(CAMERA, session, clock)
    assert open_files() == before


def test_the_topic_is_free_again_when_its_publisher_has_left(
    session: Session, clock: RigClock
) -> None:
    for _ in range(5):
        Publisher(CAMERA, session, clock).close()


def test_a_loan_arrives_without_a_copy_of_it(camera: Publisher, queue: Subscriber) -> None:
    join(camera, queue, camera_frame(0))
    for number in range(1, 20):
        with camera.loan((SIDE, SIDE), np.uint8) as image:
            image[:] = number % 251
            camera.publish(msgspec.structs.replace(camera_frame(number), image=image))
        assert is_whole(receive(queue).message)
        assert not image.flags.writeable
    assert camera.counters["ring_full"] == 0


def test_a_loan_of_nobody_listening_is_over_with_publish(camera: Publisher) -> None:
    for _ in range(20):
        with camera.loan((SIDE, SIDE), np.uint8) as image:
            image[:] = 1
            camera.publish(msgspec.structs.replace(camera_frame(1), image=image))
            assert not image.flags.writeable


def test_a_second_loan_is_refused_and_the_first_still_good(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    with camera.loan((SIDE, SIDE), np.uint8) as image:
        with pytest.raises(PublisherError, match="lends one array at a time, got a second loan"):
            camera.loan((SIDE, SIDE), np.uint8)
        image[:] = 1
        camera.publish(msgspec.structs.replace(camera_frame(1), image=image))
        with camera.loan((SIDE, SIDE), np.uint8) as following:  # the first one is over
            following[:] = 2
            camera.publish(msgspec.structs.replace(camera_frame(2), image=following))
    assert all(is_whole(received.message) for received in waiting(queue))


def test_a_message_of_another_type_is_refused(camera: Publisher) -> None:
    expected = 'topic "camera/front": carries CameraFrame, got GpsFix from nodes.camera'
    with pytest.raises(MessageError, match=expected):
        camera.publish(gps_fix(1))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"width": 7}, r"image: mono8 7x200 expected \(200, 7\), got \(200, 200\)"),
        ({"encoding": "jpeg"}, r"image: jpeg expected \(N,\), got \(200, 200\)"),
        ({"stamp_ns": -1}, r"stamp_ns: expected 0\.\.9223372036854775807, got -1"),
        ({"stamp_ns": 2**63}, "stamp_ns: expected"),
    ],
)
def test_a_message_whose_values_cannot_be_is_refused(
    camera: Publisher, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(MessageError, match=problem):
        camera.publish(msgspec.structs.replace(camera_frame(1), **changes))
    assert camera.counters["published"] == 0


def test_a_message_too_long_for_a_header_is_refused(session: Session, clock: RigClock) -> None:
    with (
        Publisher("health/rig", session, clock) as publisher,
        Subscriber(["health/rig"], session, clock) as subscriber,
    ):
        join(publisher, subscriber, MESSAGES["health/rig"])
        long = Health(stamp_ns=1, rig="demo", mode="BLIND", mode_reasons=("dark",) * 20_000)
        with pytest.raises(MessageError, match="expected a header of at most 65536 bytes, got"):
            publisher.publish(long)


def test_a_topic_nobody_knows_is_refused(session: Session, clock: RigClock) -> None:
    with pytest.raises(TopicError, match='topic "radar/front": unknown kind'):
        Publisher("radar/front", session, clock)
    with pytest.raises(TopicError, match=r'topic "camera/\.\./x": expected KIND/NAME'):
        Subscriber(["camera/../x"], session, clock)


def test_a_topic_whose_lock_was_cleared_meanwhile_is_refused(
    session: Session, clock: RigClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = session.lock_path(CAMERA).unlink  # as a rig does that starts at this moment
    monkeypatch.setattr(fcntl, "flock", lambda *_: remove())
    with pytest.raises(PublisherError, match="lost its lock to a rig that starts; start it again"):
        Publisher(CAMERA, session, clock)


def test_publishing_says_when_it_sent(camera: Publisher, queue: Subscriber) -> None:
    join(camera, queue, camera_frame(0))
    sent_ns = camera.publish(camera_frame(1))
    assert receive(queue).header.sent_ns == sent_ns
