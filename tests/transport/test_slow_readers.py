"""Readers that are slow, or hold on to what they have: they alone pay, and nothing tears."""

import contextlib
import threading

from fusion_rt.clock import RigClock
from fusion_rt.messages import CameraFrame
from fusion_rt.session import Session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import (
    CAMERA,
    camera_frame,
    is_whole,
)
from tests.transport.waiting import (
    MANY,
    join,
    receive,
    stamps,
    waiting,
)


def test_a_slow_reader_loses_frames_and_only_it(
    session: Session, clock: RigClock, camera: Publisher, queue: Subscriber
) -> None:
    with Subscriber([CAMERA], session, clock, queue_depth=4) as slow:
        join(camera, queue, camera_frame(0))
        join(camera, slow, camera_frame(0))
        list(waiting(queue))
        for number in range(1, 51):
            camera.publish(camera_frame(number))
            assert receive(queue).header.stamp_ns == number
        drops = queue.inboxes[CAMERA].drops
        assert not drops, drops
        assert stamps(waiting(slow)) == [47, 48, 49, 50]
        assert slow.inboxes[CAMERA].drops == {"overflow": 46}


def test_a_reader_that_never_reads_holds_up_nobody(
    session: Session, clock: RigClock, camera: Publisher, queue: Subscriber
) -> None:
    with Subscriber([CAMERA], session, clock, queue_depth=4) as asleep:
        join(camera, queue, camera_frame(0))
        join(camera, asleep, camera_frame(0))
        list(waiting(queue))
        number = 0
        while not camera.counters["reader_behind"]:
            number += 1
            camera.publish(camera_frame(number, 64))
            assert receive(queue).header.stamp_ns == number
            assert number < MANY
        late = list(waiting(asleep))
        camera.publish(camera_frame(1, 8))
        late.append(receive(asleep))
        inbox = asleep.inboxes[CAMERA]
        assert inbox.drops["lost"] == camera.counters["reader_behind"]
        assert len(late) + inbox.drops["overflow"] + inbox.drops["lost"] == number + 1


def test_a_reader_that_holds_many_frames_gets_private_copies(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    held = []
    for number in range(1, 30):
        camera.publish(camera_frame(number))
        held.append(receive(queue).message)
    assert all(is_whole(message) for message in held)
    assert camera.counters["ring_full"] == 0
    assert not any(message.image.flags.writeable for message in held)


def test_a_ring_that_readers_hold_entirely_is_counted_full(
    session: Session, clock: RigClock, camera: Publisher
) -> None:
    held = []
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(Subscriber([CAMERA], session, clock, MANY)) for _ in range(4)
        ]
        for reader in readers:
            join(camera, reader, camera_frame(0))
        for reader in readers:  # each holds two slots that no other one holds: all eight
            list(waiting(reader))
            for number in (1, 2):
                camera.publish(camera_frame(number))
                held.append([*waiting(reader)][-1].message)
        camera.publish(camera_frame(3))
        assert camera.counters["ring_full"] == 1
        assert all(is_whole(message) for message in held)
        held.pop()
        camera.publish(camera_frame(4))
        assert is_whole(receive(readers[-1]).message)
        assert readers[-1].inboxes[CAMERA].drops["lost"] == 1


def test_frames_that_outgrow_the_ring_open_a_larger_one(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    held = []
    for number, side in enumerate([150, 200, 400, 390, 800, 1000, 150], start=1):
        camera.publish(camera_frame(number, side))
        held.append(receive(queue).message)
        assert held[-1].width == side
        assert all(is_whole(message) for message in held)
    assert queue.inboxes[CAMERA].drops == {}


def test_headers_that_wait_while_rings_grow_end_in_a_message_or_an_overrun(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    for number, side in enumerate([200, 400, 800, 1600], start=1):
        camera.publish(camera_frame(number, side))
    received = list(waiting(queue))
    assert stamps(iter(received)) == [3, 4]
    assert all(is_whole(each.message) for each in received)
    assert queue.inboxes[CAMERA].drops == {"overrun": 2}


def test_a_view_freed_in_another_thread_frees_its_slot(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    stop = threading.Event()
    hands: list[CameraFrame] = []

    def free() -> None:
        while not stop.is_set() or hands:
            if hands:
                hands.pop()

    thread = threading.Thread(target=free)
    thread.start()
    try:
        for number in range(1, 300):
            camera.publish(camera_frame(number))
            hands.extend(received.message for received in waiting(queue))
    finally:
        stop.set()
        thread.join()
    inbox = queue.inboxes[CAMERA]
    lost = inbox.drops["overrun"] + inbox.drops["lost"]
    assert lost == inbox.drops.total()
    assert camera.counters["ring_full"] == 0
