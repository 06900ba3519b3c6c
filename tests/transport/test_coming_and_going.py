"""Publishers and subscribers that leave and come back: heard again, and nothing is left over."""

import gc

import numpy as np

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.session import Session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import (
    CAMERA,
    SIDE,
    camera_frame,
    is_whole,
)
from tests.transport.waiting import (
    is_alone,
    join,
    open_files,
    stamps,
    until,
    waiting,
)


def test_a_restarted_publisher_is_heard_again_while_old_views_are_held(
    session: Session, clock: RigClock, queue: Subscriber
) -> None:
    held = []
    for number in range(5):
        with Publisher(CAMERA, session, clock) as publisher:
            held.append(join(publisher, queue, camera_frame(number)).message)
        assert all(is_whole(message) for message in held)
    assert queue.inboxes[CAMERA].restarts == 4


def test_the_last_messages_of_a_publisher_that_left_are_delivered(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    for number in (1, 2, 3):
        camera.publish(camera_frame(number))
    camera.close()
    received = list(waiting(queue))
    assert stamps(iter(received)) == [1, 2, 3]
    assert all(is_whole(each.message) for each in received)
    assert queue.inboxes[CAMERA].drops == {}


def test_a_publisher_may_leave_between_header_and_payload(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    camera.publish(camera_frame(1))
    arrival = queue.receive_header(NS_PER_S)
    camera.close()
    assert queue.receive_header(20 * NS_PER_MS) is None  # sees the end of the lane
    assert is_whole(queue.open(arrival).message)


def test_nothing_is_left_of_many_reconnects(session: Session, clock: RigClock) -> None:
    def reconnect() -> None:
        with (
            Publisher(CAMERA, session, clock) as publisher,
            Subscriber([CAMERA], session, clock) as subscriber,
        ):
            held = join(publisher, subscriber, camera_frame(1)).message
        assert is_whole(held)

    reconnect()
    gc.collect()
    before = open_files(), mapped_files()
    for _ in range(30):
        reconnect()
    gc.collect()
    assert (open_files(), mapped_files()) == before


def mapped_files() -> int:
    with open("/proc/self/maps") as maps:
        return sum("memfd:" in line for line in maps)


def test_subscribers_that_come_and_go_cost_a_publisher_nothing(
    session: Session, clock: RigClock, camera: Publisher
) -> None:
    def visit() -> None:
        with Subscriber([CAMERA], session, clock) as subscriber:
            join(camera, subscriber, camera_frame(1))

    visit()
    until(lambda: is_alone(camera), "the lane to end")
    before = open_files()
    for _ in range(20):
        visit()
    until(lambda: is_alone(camera), "the lanes to end")
    assert open_files() == before


def test_closing_twice_is_closing_once(session: Session, clock: RigClock) -> None:
    publisher = Publisher(CAMERA, session, clock)
    subscriber = Subscriber([CAMERA], session, clock)
    held = join(publisher, subscriber, camera_frame(1)).message
    with publisher.loan((SIDE, SIDE), np.uint8) as image:
        for each in (publisher, subscriber, publisher, subscriber):
            each.close()
        image_is_ours = not image.flags.writeable
    assert image_is_ours
    assert is_whole(held)
