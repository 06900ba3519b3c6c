"""Sensors out of a log, at the pace at which they were recorded: the same rig, without devices.

All of a rig's replay drivers start at the same instant of the log: at the session's start, or where
a file `go` is named, at the rig time that it will hold once everybody is ready.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import (
    KIND_OPTIONS,
    READ_DEADLINE_NS,
    Driver,
    DriverPort,
    Messages,
    SensorOptions,
)
from fusion_rt.errors import DriverError
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import Message
from fusion_rt.pacing import wait_until
from fusion_rt.topics import sensor_kinds
from fusion_rt.transport.inbox import Received

SKIPPED = "skipped"
"""Counter of messages whose time had passed before their turn came: the process was held up."""
ENDED = "recording_ended"
_LATE_NS = NS_PER_S // 2


_LOG = Annotated[str, msgspec.Meta(description="an .mcap file or a folder of parts")]
_FROM_S = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_FIELDS: list[tuple[str, Any] | tuple[str, Any, Any]] = [
    ("log", _LOG),
    ("source", str | None, None),  # topic in the log; None: the same
    ("from_s", _FROM_S, 0),  # where in the log to start
    ("repeat", bool, False),  # at the end, from the start again
    ("go", str | None, None),  # file that says when to start, as rig time in nanoseconds
]


def _options(kind: str) -> type[SensorOptions]:
    """A kind's own options and ours: struct types with fields cannot be inherited from twice."""
    base = KIND_OPTIONS.get(kind, SensorOptions)
    made = msgspec.defstruct(
        f"Replay{base.__name__}", _FIELDS, bases=(base,), frozen=True, kw_only=True
    )
    return cast("type[SensorOptions]", made)


def replayed(options: Any, port: DriverPort) -> Generator[Message | None, None, None]:
    """What was recorded, each when it would be sent; its stamps moved to rig time."""
    topic = options.source or port.topic
    with LogReader(Path(options.log)) as log:
        _check(log, topic, options.log)
        origin_ns = log.start_ns + round(options.from_s * NS_PER_S)
        length_ns = max(log.end_ns - origin_ns, 1)
        start_ns = yield from _start(options, port)
        while True:
            into_ns = min(max(0, port.clock.now_ns() - start_ns), length_ns)
            messages = log.messages([topic], start_ns=origin_ns + into_ns)
            yield from _played(messages, start_ns - origin_ns, port)
            port.counters[ENDED] += 1
            if not options.repeat:
                break
            start_ns += length_ns
            yield from wait_until(start_ns, port.clock)
    while True:
        yield from wait_until(port.clock.now_ns() + 2 * READ_DEADLINE_NS, port.clock)


def _check(log: LogReader, topic: str, name: str) -> None:
    streams = log.streams()
    ours = ", ".join(t for t, stream in streams.items() if not stream.problem) or "none"
    if topic not in streams:
        raise DriverError("replay", f"expected {topic} in {name}", f"it has {ours}")
    if problem := streams[topic].problem:
        raise DriverError("replay", f"{topic} in {name}: {problem}", f"it has {ours}")


def _start(options: Any, port: DriverPort) -> Generator[None, None, int]:
    """Rig time of the log's start, once it is known."""
    if options.go is None:
        return port.session_start_ns
    while not (text := _read(Path(options.go))):
        port.clock.sleep_until_ns(port.clock.now_ns() + READ_DEADLINE_NS // 10)
        yield None
    return int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _played(
    messages: Iterator[Received], shift_ns: int, port: DriverPort
) -> Generator[Message | None, None, None]:
    for received in messages:
        due_ns = received.header.sent_ns + shift_ns
        if due_ns < port.clock.now_ns() - _LATE_NS:
            port.counters[SKIPPED] += 1
            continue
        yield from wait_until(due_ns, port.clock)
        stamp_ns = max(0, received.message.stamp_ns + shift_ns)
        yield msgspec.structs.replace(received.message, stamp_ns=stamp_ns)


def _open(options: Any, port: DriverPort) -> Messages:
    return closing(replayed(options, port))


DRIVERS = {kind: Driver(_options(kind), _open, is_in_time=True) for kind in sensor_kinds()}
