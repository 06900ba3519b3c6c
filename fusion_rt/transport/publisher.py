"""Publisher: sends one topic's messages to whoever listens, and waits for nobody.

Per message: one msgpack header, one copy of large arrays into the ring (none if they were loaned),
one packet to each local subscriber. A slow reader loses frames, counted, and holds up nobody.
"""

import contextlib
import fcntl
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import msgspec
import numpy.typing as npt
import zmq

from fusion_rt.clock import Clock
from fusion_rt.errors import MessageError, PublisherError
from fusion_rt.kernels import fingerprint
from fusion_rt.messages import MAX_STAMP_NS, Message
from fusion_rt.session import Session
from fusion_rt.topics import topic_kind
from fusion_rt.transport.audience import Audience
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.security import be_server, guarded, load_own_keys
from fusion_rt.transport.slots import SlotStore
from fusion_rt.transport.wire import (
    MAX_HEADER_BYTES,
    WIRE_VERSION,
    Array,
    Header,
    MessageCodec,
    describe,
    encode_header,
)
from fusion_rt.transport.zeromq import Context, Socket, notice_silence, opened

_RING_SLOTS = 8  # one being written, one queued, two held by each of three readers
PUBLISHED = "published"


class TcpOffer(msgspec.Struct, frozen=True):
    """Where a topic is offered to other hosts, and the key directory that decides to whom."""

    address: str
    """For example tcp://0.0.0.0:7601."""
    keys: Path


class Publisher:
    """The one publisher of `topic`. Use from one thread; close it, or use it in a `with`."""

    def __init__(
        self,
        topic: str,
        session: Session,
        clock: Clock,
        node: str = "",
        offer: TcpOffer | None = None,
    ) -> None:
        self.topic = topic
        self.counters: Counter[str] = Counter()
        """`published`, and drops by cause (`fusion_rt.transport.drops.Drop`)."""
        self._kind = topic_kind(topic)
        self._clock = clock
        self._node = node
        self._incarnation = secrets.randbits(63)
        self._seq = 0
        self._codec = MessageCodec(self._kind.message)
        self._slots = SlotStore(_RING_SLOTS)
        with contextlib.ExitStack() as stack:
            stack.callback(self._slots.close)
            stack.enter_context(_only_publisher(topic, session.lock_path(topic)))
            context = stack.enter_context(zmq.Context())
            self._audiences = [_listen(topic, session.endpoint(topic), context, stack)]
            if offer is not None:
                self._audiences.append(_listen_securely(topic, offer, context, stack))
            self._resources = stack.pop_all()

    def loan(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> AbstractContextManager[Array]:
        """An uninitialised array that `publish` sends without a copy.

        One at a time, and yours until you publish or leave the `with`; read-only after that.
        """
        if self._slots.is_lent:
            problem = "lends one array at a time, got a second loan"
            raise PublisherError(self.topic, problem, "publish or leave the first one before")
        self._refresh()
        return self._slots.loan(shape, dtype)

    def publish(
        self,
        message: Message,
        watermark_ns: int | None = None,
        trace: tuple[tuple[str, int], ...] = (),
    ) -> int:
        """Send to everybody who listens now; never blocks. Returns `sent_ns`."""
        self._check(message)
        if not self._slots.is_lent:  # else the loan has done it, before the data was there to send
            self._refresh()
        has_lanes = any(audience.has_lanes for audience in self._audiences)
        has_plain = any(audience.has_plain for audience in self._audiences)
        seq, self._seq = self._seq, self._seq + 1
        self.counters[PUBLISHED] += 1
        if not has_lanes:
            self._slots.end_loan()
            if not has_plain:
                return self._clock.now_ns()
        body, arrays = self._codec.encode(message)
        payloads = self._slots.place(arrays) if has_lanes else None
        header = Header(
            version=WIRE_VERSION,
            topic=self.topic,
            node=self._node,
            incarnation=self._incarnation,
            seq=seq,
            stamp_ns=message.stamp_ns,
            sent_ns=self._clock.now_ns(),
            body=msgspec.Raw(body),
            watermark_ns=None if watermark_ns is None else max(watermark_ns, 0),
            fingerprint=_fingerprint(arrays),
            trace=trace,
            payloads=payloads or (),
        )
        if payloads is not None:
            self._send_to_lanes(header)
        elif has_lanes:
            self.counters[Drop.RING_FULL.value] += 1
        if has_plain:
            self._send_plain(header, arrays)
        return header.sent_ns

    def close(self) -> None:
        """Subscribers keep what they have taken."""
        self._resources.close()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refresh(self) -> None:
        for audience in self._audiences:
            audience.refresh()

    def _check(self, message: Message) -> None:
        if type(message) is not self._kind.message:
            carried = f"carries {self._kind.message.__name__}, got {type(message).__name__}"
            raise MessageError(self.topic, self._node, carried)
        problem = message.problem()
        if not 0 <= message.stamp_ns <= MAX_STAMP_NS:
            problem = f"stamp_ns: expected 0..{MAX_STAMP_NS}, got {message.stamp_ns}"
        if problem is not None:
            raise MessageError(self.topic, self._node, problem)

    def _send_to_lanes(self, header: Header) -> None:
        data = self._encoded(header)
        is_in_ring = header.payloads and header.payloads[0].slot is not None
        ring = self._slots.ring if is_in_ring else None
        for audience in self._audiences:
            audience.send_to_lanes(data, ring, self.counters)

    def _send_plain(self, header: Header, arrays: list[Array]) -> None:
        payloads = tuple(describe(array) for array in arrays)
        data = self._encoded(msgspec.structs.replace(header, payloads=payloads))
        frames = [self.topic.encode(), data, *(array.tobytes() for array in arrays)]
        for audience in self._audiences:
            if audience.has_plain:
                audience.send_plain(frames)

    def _encoded(self, header: Header) -> bytes:
        data = encode_header(header)
        if len(data) > MAX_HEADER_BYTES:
            problem = f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(data)}"
            raise MessageError(self.topic, self._node, problem)
        return data


def _fingerprint(arrays: list[Array]) -> int:
    """Of the first array; 0, not taken, where that would cost a copy."""
    return fingerprint(arrays[0]) if arrays and arrays[0].flags.c_contiguous else 0


@contextlib.contextmanager
def _only_publisher(topic: str, lock_path: Path) -> Iterator[None]:
    with lock_path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            way_out = "a topic has one publisher: stop the other or rename this one"
            raise PublisherError(topic, "is being published already", way_out) from None
        if not _is_at(lock_path, lock):  # a lock on an unlinked file protects nothing
            raise PublisherError(topic, "lost its lock to a rig that starts", "start it again")
        yield


def _is_at(path: Path, file: IO[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _listen(topic: str, endpoint: str, context: Context, stack: contextlib.ExitStack) -> Audience:
    socket = opened(zmq.XPUB, context, stack)
    audience = Audience(socket, topic)
    stack.callback(audience.close)
    _bind(socket, topic, endpoint)
    return audience


def _listen_securely(
    topic: str, offer: TcpOffer, context: Context, stack: contextlib.ExitStack
) -> Audience:
    own = load_own_keys(offer.keys)
    stack.enter_context(guarded(context, offer.keys))
    socket = opened(zmq.XPUB, context, stack)
    be_server(socket, own)
    notice_silence(socket)
    audience = Audience(socket, topic)
    stack.callback(audience.close)
    _bind(socket, topic, offer.address)
    return audience


def _bind(socket: Socket, topic: str, address: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        problem = f"cannot be offered at {address} ({error.strerror})"
        raise PublisherError(topic, problem) from error
