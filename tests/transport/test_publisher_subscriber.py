"""Publisher and subscriber over real sockets: who gets what, and an account of all the rest."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock, SettableClock
from fusion_rt.messages import CameraFrame
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
from tests.transport.waiting import (
    MANY,
    join,
    receive,
    stamps,
    waiting,
)

MESSAGES = every_message()


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
