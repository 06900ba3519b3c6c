"""Publisher and subscriber over real sockets: who gets what, and an account of all the rest."""

import contextlib
import gc
import threading
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock, SettableClock
from fusion_rt.errors import MessageError, PublisherError, TopicError
from fusion_rt.messages import CameraFrame, Health
from fusion_rt.session import Session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.ring import RingReader
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import (
    CAMERA,
    GPS,
    SIDE,
    camera_frame,
    every_message,
    gps_fix,
    is_whole,
)
from tests.transport.test_wire import assert_same
from tests.transport.waiting import join, open_files, receive, until, waiting

MESSAGES = every_message()
MANY = 10_000


@pytest.fixture
def camera(session: Session, clock: RigClock) -> Iterator[Publisher]:
    with Publisher(CAMERA, session, clock, "nodes.camera") as own:
        yield own


@pytest.fixture
def queue(session: Session, clock: RigClock) -> Iterator[Subscriber]:
    """A subscriber that keeps all, so that tests see each message."""
    with Subscriber([CAMERA], session, clock, queue_depth=MANY) as own:
        yield own


@pytest.fixture
def latest(session: Session, clock: RigClock) -> Iterator[Subscriber]:
    with Subscriber([CAMERA], session, clock) as own:
        yield own


def stamps(received: Iterator[object]) -> list[int]:
    return [each.header.stamp_ns for each in received]


@pytest.mark.parametrize("topic", MESSAGES)
def test_every_message_arrives_as_it_was(session: Session, clock: RigClock, topic: str) -> None:
    with (
        Publisher(topic, session, clock, "nodes.test") as publisher,
        Subscriber([topic], session, clock) as subscriber,
    ):
        before_ns = clock.now_ns()
        received = join(publisher, subscriber, MESSAGES[topic])
        assert_same(received.message, MESSAGES[topic])
        header = received.header
        assert (header.topic, header.node) == (topic, "nodes.test")
        assert before_ns <= header.sent_ns <= received.recv_ns <= clock.now_ns()


def test_what_the_publisher_says_beside_the_message_arrives(
    camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    camera.publish(camera_frame(5), watermark_ns=4, trace=(("decode", 3),))
    header = receive(queue).header
    assert (header.watermark_ns, header.trace) == (4, (("decode", 3),))
    camera.publish(camera_frame(6), watermark_ns=-1)
    assert receive(queue).header.watermark_ns == 0


def test_equal_payloads_have_equal_fingerprints(camera: Publisher, queue: Subscriber) -> None:
    join(camera, queue, camera_frame(0))
    for number in (1, 1, 2):
        camera.publish(camera_frame(number))
    first, again, other = (received.header.fingerprint for received in waiting(queue))
    assert first == again != other


def test_order_is_kept_and_nothing_comes_twice(camera: Publisher, queue: Subscriber) -> None:
    join(camera, queue, camera_frame(0))
    for number in range(1, 101):
        camera.publish(camera_frame(number, side=16))
    assert stamps(waiting(queue)) == list(range(1, 101))


def test_topics_come_in_the_order_of_arrival(session: Session, clock: RigClock) -> None:
    with (
        Publisher(CAMERA, session, clock) as camera,
        Publisher(GPS, session, clock) as gps,
        Subscriber([CAMERA, GPS], session, clock, queue_depth=MANY) as subscriber,
    ):
        join(camera, subscriber, camera_frame(0))
        join(gps, subscriber, gps_fix(0))
        for number in range(1, 20):
            publisher = gps if number % 3 else camera
            publisher.publish(gps_fix(number) if number % 3 else camera_frame(number, 16))
            assert receive(subscriber).header.stamp_ns == number


def test_latest_gives_the_newest_and_counts_the_rest(camera: Publisher, latest: Subscriber) -> None:
    join(camera, latest, camera_frame(0))
    before = latest.inboxes[CAMERA].drops["superseded"]
    for number in range(1, 6):
        camera.publish(camera_frame(number))
    assert stamps(waiting(latest)) == [5]
    assert latest.inboxes[CAMERA].drops["superseded"] - before == 4


def test_a_superseded_payload_is_never_looked_at(
    camera: Publisher, latest: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(camera, latest, camera_frame(0))
    taken = []
    take = RingReader.take

    def record(self: RingReader, slot: int, generation: int) -> object:
        taken.append(slot)
        return take(self, slot, generation)

    monkeypatch.setattr(RingReader, "take", record)
    for number in range(1, 6):
        camera.publish(camera_frame(number))
    assert stamps(waiting(latest)) == [5]
    assert len(taken) == 1


def test_a_header_can_be_had_without_its_payload(camera: Publisher, queue: Subscriber) -> None:
    join(camera, queue, camera_frame(0))
    camera.publish(camera_frame(3))
    arrival = queue.receive_header(NS_PER_S)
    assert arrival.header.stamp_ns == 3
    received = queue.open(arrival)
    assert is_whole(received.message)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(["publish", "small", "take", "hold", "free"]), max_size=120))
def test_published_is_received_plus_drops(
    session: Session, clock: RigClock, steps: list[str]
) -> None:
    with (
        Publisher(CAMERA, session, clock) as camera,
        Subscriber([CAMERA], session, clock, queue_depth=4) as subscriber,
    ):
        join(camera, subscriber, camera_frame(0))
        inbox = subscriber.inboxes[CAMERA]
        base = camera.counters["published"], inbox.received, inbox.drops.copy()
        out, held = [], []
        for number, step in enumerate(steps):
            if step in ("publish", "small"):
                camera.publish(camera_frame(number + 1, SIDE if step == "publish" else 8))
            elif step == "free":
                held.clear()
            elif (received := subscriber.receive(0)) is not None:
                out.append(received.header.seq)
                assert is_whole(received.message)
                held += [received.message] if step == "hold" else []
            assert all(is_whole(message) for message in held)
        received = None
        held.clear()
        out += [late.header.seq for late in waiting(subscriber)]
        camera.publish(camera_frame(1, 8))  # shows losses at the very end
        out.append(receive(subscriber).header.seq)
        drops = inbox.drops - base[2]
        published = camera.counters["published"] - base[0]
        assert published == len(out) + drops.total()
        assert inbox.received - base[1] == published - drops["lost"]
        assert drops["lost"] == camera.counters["ring_full"] + camera.counters["reader_behind"]
        assert out == sorted(set(out))
        assert not subscriber.strays


def test_a_late_joiner_gets_what_comes_and_has_lost_nothing(
    session: Session, clock: RigClock, camera: Publisher, queue: Subscriber
) -> None:
    join(camera, queue, camera_frame(0))
    with Subscriber([CAMERA], session, clock, queue_depth=MANY) as late:
        join(camera, late, camera_frame(1))
        camera.publish(camera_frame(2))
        assert is_whole(receive(late).message)
        assert "lost" not in late.inboxes[CAMERA].drops


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


def test_no_message_is_none_when_time_is_up(session: Session, clock: RigClock) -> None:
    with Subscriber([CAMERA, GPS], session, clock) as subscriber:
        assert subscriber.receive(0) is None
        started_ns = clock.now_ns()
        assert subscriber.receive(20 * NS_PER_MS) is None
        assert clock.now_ns() - started_ns >= 20 * NS_PER_MS


def test_a_clock_that_stands_still_holds_nobody_forever(session: Session) -> None:
    with Subscriber([CAMERA], session, SettableClock(5)) as subscriber:
        assert subscriber.receive(20 * NS_PER_MS) is None


def test_a_flood_of_bad_messages_does_not_keep_receive_beyond_its_time(
    camera: Publisher, queue: Subscriber, clock: RigClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(camera, queue, camera_frame(0))
    monkeypatch.setattr(CameraFrame, "problem", lambda _: "dark")
    monkeypatch.setattr(camera, "_check", lambda _: None)
    opened = queue.open

    def open_and_bring_more(arrival: object) -> object:
        camera.publish(camera_frame(1, 8))
        return opened(arrival)

    monkeypatch.setattr(queue, "open", open_and_bring_more)
    camera.publish(camera_frame(1, 8))
    started_ns = clock.now_ns()
    assert queue.receive(50 * NS_PER_MS) is None
    assert clock.now_ns() - started_ns < 10 * NS_PER_S
    assert queue.inboxes[CAMERA].drops["invalid"] > 1


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


def is_alone(publisher: Publisher) -> bool:
    publisher.publish(camera_frame(1))
    audience = publisher._audiences[0]
    return not audience.has_lanes and not audience._wanted


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
