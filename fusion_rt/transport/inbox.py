"""A consumer's entry slot for one topic: newest wins or a bounded queue, every loss counted."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from fusion_rt.messages import Message
from fusion_rt.topics import TopicKind
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.wire import Array, Header, MessageCodec, Payload

_REMEMBERED_INCARNATIONS = 16


class PayloadSource(Protocol):
    """Where an arrival's payloads that are not inline can be had: a lane's rings, or frames."""

    def open(self, payloads: Sequence[Payload]) -> list[Array] | Drop: ...


class Arrival(msgspec.Struct, eq=False):
    """A message of which only the header was looked at."""

    header: Header
    recv_ns: int
    source: PayloadSource


class Received(msgspec.Struct, eq=False):
    """A message with its header. Large arrays are read-only views of the publisher's ring.

    A view keeps its slot from being reused: copy what outlives the next message or two.
    """

    header: Header
    recv_ns: int
    message: Message


class Inbox:
    """One topic's waiting arrivals and the account of what happened to the others."""

    def __init__(self, topic: str, kind: TopicKind, queue_depth: int | None) -> None:
        """`queue_depth` overrides the topic row: keep that many in order."""
        self.topic = topic
        self.received = 0
        """Headers that came in order; each is delivered, waits, or is counted in `drops`."""
        self.restarts = 0
        """How often another publisher took over."""
        self.drops: Counter[str] = Counter()
        self._codec = MessageCodec(kind.message)
        self._is_queue = queue_depth is not None or kind.policy == "queue"
        self._depth = queue_depth or kind.depth
        self.waiting: deque[Arrival] = deque()
        """In the order they came."""
        self._incarnation: int | None = None
        self._retired: deque[int] = deque(maxlen=_REMEMBERED_INCARNATIONS)
        self._next_seq = 0

    def count(self, drop: Drop, by: int = 1) -> None:
        self.drops[drop.value] += by

    def accept(self, arrival: Arrival) -> None:
        """Take in a header as it comes off the wire."""
        if not self._is_in_order(arrival.header):
            self.count(Drop.STALE)
            return
        self.received += 1
        self.waiting.append(arrival)
        if len(self.waiting) > self._depth:
            self.waiting.popleft()
            self.count(Drop.OVERFLOW if self._is_queue else Drop.SUPERSEDED)

    def oldest(self) -> Arrival | None:
        """The arrival whose turn it is, left in place."""
        return self.waiting[0] if self.waiting else None

    def pop(self) -> Arrival:
        return self.waiting.popleft()

    def open(self, arrival: Arrival) -> Received | None:
        """The whole message; None, counted, when its payload is gone or its values are invalid."""
        arrays = arrival.source.open(arrival.header.payloads)
        if isinstance(arrays, Drop):
            self.count(arrays)
            return None
        message = self._codec.decode(arrival.header.body, arrays)
        if isinstance(message, Drop) or message.stamp_ns != arrival.header.stamp_ns:
            self.count(Drop.INVALID)
            return None
        return Received(arrival.header, arrival.recv_ns, message)

    def _is_in_order(self, header: Header) -> bool:
        """Also counts what the sequence number says was lost before this one."""
        if header.incarnation in self._retired:
            return False
        if header.incarnation != self._incarnation:
            self._take_over(header)
        elif header.seq < self._next_seq:
            return False
        elif header.seq > self._next_seq:
            self.count(Drop.LOST, header.seq - self._next_seq)
        self._next_seq = header.seq + 1
        return True

    def _take_over(self, header: Header) -> None:
        # A late joiner has lost nothing: what was sent before its first message was not for it.
        if self._incarnation is not None:
            self._retired.append(self._incarnation)
            self.restarts += 1
        self._incarnation = header.incarnation
