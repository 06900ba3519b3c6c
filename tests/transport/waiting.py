"""Waiting for a state, with a deadline, never for a time."""

import os
import time
from collections.abc import Callable, Iterable, Iterator

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import Message
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import camera_frame

MANY = 10_000
"""More messages than any test sends."""
_DEADLINE_S = 20.0
_PAUSE_S = 0.002  # between two looks: leaves the processor to what is waited for


def until(has_come: Callable[[], object], what: str) -> None:
    """Return once `has_come()` is true."""
    due_s = time.monotonic() + _DEADLINE_S
    while not has_come():
        assert time.monotonic() < due_s, f"waited {_DEADLINE_S} s in vain for {what}"
        time.sleep(_PAUSE_S)


def join(publisher: Publisher, subscriber: Subscriber, message: Message) -> Received:
    """Publish until the subscriber hears of it; nothing of that is left waiting afterwards."""
    heard: list[Received] = []

    def hears() -> bool:
        publisher.publish(message)
        received = subscriber.receive(5 * NS_PER_MS)
        if received is not None:
            heard.append(received)
        return bool(heard)

    until(hears, f"a lane from {publisher.topic}")
    return [*heard, *waiting(subscriber)][-1]


def waiting(subscriber: Subscriber) -> Iterator[Received]:
    """What has arrived by now."""
    while (received := subscriber.receive(0)) is not None:
        yield received


def receive(subscriber: Subscriber) -> Received:
    """The next message, which must come."""
    received = subscriber.receive(10 * NS_PER_S)
    assert received is not None, "expected a message, got none in 10 s"
    return received


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def stamps(received: Iterable[Received]) -> list[int]:
    return [each.header.stamp_ns for each in received]


def is_alone(publisher: Publisher) -> bool:
    """Whether the publisher has noticed that nobody is left."""
    publisher.publish(camera_frame(1))
    audience = publisher._audiences[0]
    return not audience.has_lanes and not audience._wanted
