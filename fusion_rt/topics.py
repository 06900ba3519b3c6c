"""One row per kind of topic: what transport, liveness, record and replay need to know of it.

A topic is `KIND/NAME`, for example `camera/front`. Adding a sensor starts with a row here.
"""

import re
from typing import Literal

import msgspec

from fusion_rt.clock import NS_PER_MS
from fusion_rt.errors import TopicError
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    Detections,
    GpsFix,
    Health,
    Heartbeat,
    LidarSweep,
    Message,
    MountingCheck,
)

Policy = Literal["latest", "queue"]
TOPIC_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""What may stand after the slash, as a regular expression."""
_TOPIC = re.compile(f"[a-z][a-z0-9_]*/{TOPIC_NAME}")


class TopicKind(msgspec.Struct, frozen=True, kw_only=True):
    """How every topic of one kind is carried."""

    message: type[Message]
    rate_hz: float
    """Usual rate; a rig entry may state its own."""
    policy: Policy
    """At the consumer's entry: `latest` keeps the newest, `queue` the newest `depth` in order."""
    depth: int = 1
    max_age_ns: int
    """Older than this at arrival is late."""
    is_sensor: bool = False
    is_logged: bool = True


KINDS: dict[str, TopicKind] = {
    "camera": TopicKind(
        message=CameraFrame, rate_hz=30, policy="latest", max_age_ns=200 * NS_PER_MS, is_sensor=True
    ),
    "lidar": TopicKind(
        message=LidarSweep, rate_hz=10, policy="latest", max_age_ns=300 * NS_PER_MS, is_sensor=True
    ),
    "audio": TopicKind(
        message=AudioChunk,
        rate_hz=50,
        policy="queue",
        depth=64,
        max_age_ns=200 * NS_PER_MS,
        is_sensor=True,
    ),
    "gps": TopicKind(
        message=GpsFix,
        rate_hz=10,
        policy="queue",
        depth=64,
        max_age_ns=1500 * NS_PER_MS,
        is_sensor=True,
    ),
    "detections": TopicKind(
        message=Detections, rate_hz=10, policy="queue", depth=16, max_age_ns=500 * NS_PER_MS
    ),
    "health": TopicKind(
        message=Health, rate_hz=2, policy="queue", depth=16, max_age_ns=1500 * NS_PER_MS
    ),
    "mounting": TopicKind(
        message=MountingCheck, rate_hz=0.3, policy="queue", depth=16, max_age_ns=5000 * NS_PER_MS
    ),
    "heartbeat": TopicKind(
        message=Heartbeat,
        rate_hz=5,
        policy="latest",
        max_age_ns=1500 * NS_PER_MS,
        is_logged=False,
    ),
}


def sensor_kinds() -> tuple[str, ...]:
    """The kinds that a rig file may list as sensors."""
    return tuple(kind for kind, row in KINDS.items() if row.is_sensor)


def topic_kind(topic: str) -> TopicKind:
    """The row that governs `topic`; raises TopicError when the name or its kind is unknown."""
    if not _TOPIC.fullmatch(topic):
        raise TopicError(topic, "expected KIND/NAME of letters, digits, '_', '.', '-'")
    kind = KINDS.get(topic.split("/")[0])
    if kind is None:
        raise TopicError(topic, f"unknown kind; known: {', '.join(KINDS)}")
    return kind


def heartbeat_topic(node: str) -> str:
    """Where the node of this name gives its signs of life."""
    return f"heartbeat/{node.replace('/', '.')}"
