"""One message of a log: the very struct a subscriber gets (`Received`), so that whoever consumes
messages cannot tell a log from a rig.
"""

from typing import Any

import msgspec
import numpy as np

from fusion_rt.kernels import fingerprint
from fusion_rt.messages import Message, StampNs
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.wire import U64, WIRE_VERSION, Header, Topic

_NO_BODY = msgspec.Raw()


class Aside(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a log keeps beside a message because its schema has no place for it."""

    watermark_ns: StampNs | None = None
    fingerprint: U64 = 0
    trace: tuple[tuple[Topic, StampNs], ...] = ()
    fields: dict[str, Any] = {}
    """Fields of the message itself."""


def fingerprint_of(message: Message) -> int:
    """Of its first array, as a publisher takes it; 0 where there is none.

    Liveness tells a frozen sensor by it.
    """
    for field in message.__struct_fields__:
        if isinstance(array := getattr(message, field), np.ndarray):
            return fingerprint(np.ascontiguousarray(array))
    return 0


def aside_of(header: Header) -> Aside:
    """What stands in the header and not in the schema; the fields of the message are still out."""
    return Aside(header.watermark_ns, header.fingerprint, header.trace)


def entry(
    topic: str,
    message: Message,
    *,
    seq: int,
    sent_ns: int,
    recv_ns: int,
    node: str = "",
    incarnation: int = 0,
    aside: Aside | None = None,
) -> Received:
    """A message as if it had been received: what importers, the simulator and the reader make."""
    aside = aside or Aside()
    header = Header(
        version=WIRE_VERSION,
        topic=topic,
        node=node,
        incarnation=incarnation,
        seq=seq,
        stamp_ns=message.stamp_ns,
        sent_ns=sent_ns,
        body=_NO_BODY,
        watermark_ns=aside.watermark_ns,
        fingerprint=aside.fingerprint,
        trace=aside.trace,
    )
    return Received(header, recv_ns, message)
