"""The audience: who asked is served, floods are bounded, broken lanes are had again."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest
import zmq

from fusion_rt.clock import RigClock
from fusion_rt.session import Session
from fusion_rt.transport import audience as audience_module
from fusion_rt.transport import subscriber as subscriber_module
from fusion_rt.transport.audience import Audience
from fusion_rt.transport.lane import LaneListener, lane_request
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.ring import RingReader
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import CAMERA, camera_frame, is_whole
from tests.transport.waiting import join, receive, until, waiting


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as own:
        yield own


@pytest.fixture
def audience(context: zmq.Context) -> Iterator[Audience]:
    with context.socket(zmq.XPUB) as socket:
        own = Audience(socket, CAMERA)
        socket.bind("inproc://audience")
        yield own
        own.close()


@pytest.fixture
def asking(context: zmq.Context, audience: Audience) -> Iterator[zmq.Socket]:
    assert audience
    with context.socket(zmq.SUB) as socket:
        socket.connect("inproc://audience")
        yield socket


def test_nobody_listens_at_first(audience: Audience) -> None:
    audience.refresh()
    assert not audience.has_lanes
    assert not audience.has_plain


@pytest.mark.parametrize("subscription", ["", "cam", CAMERA])
def test_a_subscription_to_the_topic_is_plain(
    audience: Audience, asking: zmq.Socket, subscription: str
) -> None:
    asking.subscribe(subscription)
    audience.refresh()
    assert audience.has_plain
    asking.unsubscribe(subscription)
    audience.refresh()
    assert not audience.has_plain


def test_a_flood_of_other_subscriptions_is_not_kept(audience: Audience, asking: zmq.Socket) -> None:
    for number in range(1000):
        asking.subscribe(f"camera/{number}")
    asking.subscribe(CAMERA)
    until(lambda: audience.refresh() or audience.has_plain, "the last subscription")
    assert len(audience._plain) == 1


def test_a_flood_of_lane_requests_is_bounded(audience: Audience, asking: zmq.Socket) -> None:
    for number in range(1000):
        asking.subscribe(lane_request(b"%016d" % number))
    for _ in range(20):
        audience.refresh()
    assert len(audience._wanted) == audience_module._MAX_LANES
    assert not audience.has_lanes


def test_a_lane_refused_at_first_is_tried_again(audience: Audience, asking: zmq.Socket) -> None:
    listener = LaneListener()
    token = listener.token
    asking.subscribe(lane_request(b"0" * 16))
    audience.refresh()
    assert not audience.has_lanes
    asking.subscribe(lane_request(token))
    audience.refresh()
    assert audience.has_lanes
    lane = listener.accept()
    lane.close()
    audience.send_to_lanes(b"header", None, Counter())
    assert not audience.has_lanes
    audience.refresh()
    assert audience.has_lanes
    listener.close()


def test_a_listener_whose_queue_of_callers_was_full_gets_its_lane_later(
    audience: Audience, asking: zmq.Socket
) -> None:
    listener = LaneListener()
    listener._socket.listen(0)
    others = []
    with contextlib.suppress(BlockingIOError):
        while len(others) < 10:
            others.append(audience_module.Lane(listener.token))
    assert len(others) < 10
    asking.subscribe(lane_request(listener.token))
    audience.refresh()
    assert not audience.has_lanes
    for lane in others:
        listener.accept().close()
        lane.close()
    audience.refresh()
    assert audience.has_lanes
    listener.close()


def test_a_subscriber_that_could_not_open_the_ring_gets_it_again(
    session: Session, clock: RigClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Publisher(CAMERA, session, clock) as publisher,
        Subscriber([CAMERA], session, clock) as subscriber,
    ):
        join(publisher, subscriber, camera_frame(0, 8))  # small: no ring yet
        with monkeypatch.context() as short_of_files:
            short_of_files.setattr(RingReader, "__init__", _fail)
            publisher.publish(camera_frame(1))
            assert list(waiting(subscriber)) == []
        assert is_whole(join(publisher, subscriber, camera_frame(2)).message)


def _fail(*_: object) -> None:
    raise OSError(24, "Too many open files")


def test_lanes_beyond_the_bound_are_not_taken(
    session: Session, clock: RigClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber_module, "_MAX_LANES", 2)
    with Subscriber([CAMERA], session, clock) as subscriber:
        lanes = [audience_module.Lane(subscriber._listener.token) for _ in range(5)]
        subscriber.receive(0)
        assert len(subscriber._lanes) == 2
        for lane in lanes:
            lane.close()
        subscriber.receive(0)
        with Publisher(CAMERA, session, clock) as publisher:
            assert is_whole(join(publisher, subscriber, camera_frame(1)).message)
            publisher.publish(camera_frame(2))
            assert is_whole(receive(subscriber).message)
