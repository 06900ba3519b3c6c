"""Subscriber: receives any number of topics, each through an entry slot that never backs up.

Sockets are drained before anything is handed out, so under policy `latest` the consumer gets the
newest message there is, and its payload is only looked at then.
"""

import contextlib
import select
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import zmq

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.session import Session, TcpSource
from fusion_rt.topics import topic_kind
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.inbox import Arrival, Inbox, PayloadSource, Received
from fusion_rt.transport.lane import HEADER, RING, LaneListener, lane_request
from fusion_rt.transport.security import be_client, load_own_keys, load_public_key
from fusion_rt.transport.sources import FrameSource, LaneSource
from fusion_rt.transport.wire import MAX_PAYLOAD_BYTES, decode_header
from fusion_rt.transport.zeromq import (
    Socket,
    has_message,
    notice_silence,
    opened,
    reconnect_quickly,
)

_REMOTE_HIGH_WATER = 4
_BURST = 1024  # packets read from one lane at a time: more than its buffer holds
_MAX_EVENTS = 64  # sockets served between two looks at all of them
_MAX_LANES = 256


class Subscriber:
    """Receives `topics`, those of other hosts from where the session has them.

    Use from one thread; close it, or use it in a `with`.
    """

    def __init__(
        self,
        topics: Iterable[str],
        session: Session,
        clock: Clock,
        queue_depth: int | None = None,
    ) -> None:
        """`queue_depth` makes every topic a queue of that many, whatever its row says."""
        self._clock = clock
        self.inboxes = {topic: Inbox(topic, topic_kind(topic), queue_depth) for topic in topics}
        self.strays: Counter[str] = Counter()
        """Bytes that belong to no topic of ours, by cause."""
        remote = {t: session.sources[t] for t in self.inboxes if t in session.sources}
        with contextlib.ExitStack() as stack:
            self._poller = select.epoll()
            stack.callback(self._poller.close)
            self._listener = LaneListener()
            stack.callback(self._listener.close)
            self._lanes: dict[int, LaneSource] = {}
            stack.callback(self._close_lanes)
            self._poller.register(self._listener.fileno(), select.EPOLLIN)
            context = stack.enter_context(zmq.Context())
            local = [session.endpoint(topic) for topic in self.inboxes if topic not in remote]
            self._asking = opened(zmq.SUB, context, stack)
            _ask_for_lanes(self._asking, local, self._listener.token)
            self._poller.register(self._asking.fileno(), select.EPOLLIN)
            self._remotes: dict[int, Socket] = {}
            for topic, source in remote.items():
                link = opened(zmq.SUB, context, stack)
                _connect_securely(link, topic, source)
                self._remotes[link.fileno()] = link
                self._poller.register(link.fileno(), select.EPOLLIN)
            self._resources = stack.pop_all()

    def receive(self, timeout_ns: int) -> Received | None:
        """The next message of any topic; None when none came in time."""
        due_ns = self._clock.now_ns() + timeout_ns
        arrival = self.receive_header(timeout_ns)
        while arrival is not None:
            if received := self.open(arrival):
                return received
            # Once time is up, only what waits already: bad messages must not keep us here.
            left_ns = due_ns - self._clock.now_ns()
            arrival = self.receive_header(left_ns) if left_ns > 0 else self._pop_oldest()
        return None

    def receive_header(self, timeout_ns: int) -> Arrival | None:
        """The next message of any topic, its payload untouched; None when none came in time."""
        due_ns = self._clock.now_ns() + timeout_ns
        self._drain(0.0)
        while (arrival := self._pop_oldest()) is None:
            left_ns = due_ns - self._clock.now_ns()
            if left_ns <= 0 or not self._drain(left_ns / NS_PER_S):
                return self._pop_oldest()
        return arrival

    def open(self, arrival: Arrival) -> Received | None:
        """The arrival with its message; None, counted, when that is lost or not valid."""
        return self.inboxes[arrival.header.topic].open(arrival)

    def fileno(self) -> int:
        """Readable when messages wait in a socket: for a loop that waits for other things too."""
        return self._poller.fileno()

    def close(self) -> None:
        """Views that are still held stay valid."""
        self._resources.close()

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pop_oldest(self) -> Arrival | None:
        """The waiting arrival that came first; topics are few, so looking at each is cheapest."""
        first: tuple[int, Inbox] | None = None
        for inbox in self.inboxes.values():
            if not inbox.waiting:
                continue
            recv_ns = inbox.waiting[0].recv_ns
            if first is None or recv_ns < first[0]:
                first = recv_ns, inbox
        return None if first is None else first[1].pop()

    def _drain(self, timeout_s: float) -> bool:
        """Move everything that waits in the sockets into the inboxes; wait for it if need be.

        False when nothing stirred in `timeout_s`.
        """
        # ZeroMQ's file descriptor is edge-triggered: it may be silent though messages wait.
        has_stirred = False
        for remote in self._remotes.values():
            has_stirred |= self._drain_remote(remote)
        for _ in range(_BURST):
            # Asking all sockets once more costs less than an EAGAIN from each, which is raised.
            events = self._poller.poll(0.0 if has_stirred else timeout_s, _MAX_EVENTS)
            if not events:
                break
            has_stirred = True
            for fd, _ in events:
                if (lane := self._lanes.get(fd)) is not None:
                    self._receive_from(lane)
                else:
                    self._serve(fd)
        return has_stirred

    def _serve(self, fd: int) -> None:
        """What stirs beside the lanes."""
        if fd == self._listener.fileno():
            self._accept_lanes()
        elif (remote := self._remotes.get(fd)) is not None:
            self._drain_remote(remote)
        else:
            # A publisher came back: ZeroMQ repeats our request only when we look at the socket.
            has_message(self._asking)

    def _accept_lanes(self) -> None:
        while (accepted := self._listener.accept()) is not None:
            if len(self._lanes) >= _MAX_LANES:
                accepted.close()
                continue
            self._lanes[accepted.fileno()] = LaneSource(accepted)
            self._poller.register(accepted.fileno(), select.EPOLLIN)

    def _receive_from(self, lane: LaneSource) -> None:
        try:
            packet = self._listener.receive(lane.socket)
        except BlockingIOError:  # a poll may wake for nothing
            return
        if packet is None:
            self._drop_lane(lane)
            return
        if packet.kind == HEADER:
            self._accept_header(packet.data, lane)
        elif packet.kind != RING:
            self.strays[Drop.MALFORMED.value] += 1
        elif not lane.announced(packet):
            # Useless without its ring, perhaps for want of files: the publisher connects anew with
            # its next message, and announces again.
            self.strays[Drop.MALFORMED.value] += 1
            self._drop_lane(lane)
        if packet.fd is not None:
            packet.discard()

    def _accept_header(self, data: bytes | memoryview, source: PayloadSource) -> None:
        recv_ns = self._clock.now_ns()
        header = decode_header(data)
        if isinstance(header, Drop):
            self.strays[header.value] += 1
            return
        inbox = self.inboxes.get(header.topic)
        if inbox is None:
            self.strays[Drop.WRONG_TOPIC.value] += 1
            return
        inbox.accept(Arrival(header, recv_ns, source))

    def _drain_remote(self, remote: Socket) -> bool:
        """Whether anything came."""
        count = 0
        while has_message(remote) and count < _BURST:
            _topic, *frames = remote.recv_multipart(copy=False)
            count += 1
            header = frames[0].buffer if frames else memoryview(b"")
            self._accept_header(header, FrameSource([frame.buffer for frame in frames[1:]]))
        return count > 0

    def _drop_lane(self, lane: LaneSource) -> None:
        self._poller.unregister(lane.socket.fileno())
        del self._lanes[lane.socket.fileno()]
        lane.close()

    def _close_lanes(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()


def _ask_for_lanes(asking: Socket, endpoints: Iterable[str], token: bytes) -> None:
    """`asking` receives nothing itself: it keeps asking each publisher for a lane to us.

    ZeroMQ asks a restarted publisher from within our thread, so it needs a look at its events
    whenever its file descriptor stirs. The first look makes it stir for what comes from now on.
    """
    reconnect_quickly(asking)
    asking.subscribe(lane_request(token))
    for endpoint in endpoints:
        asking.connect(endpoint)
    has_message(asking)


def _connect_securely(remote: Socket, topic: str, source: TcpSource) -> None:
    be_client(remote, load_own_keys(Path(source.keys)), load_public_key(Path(source.server_key)))
    reconnect_quickly(remote)
    notice_silence(remote)
    remote.set(zmq.RCVHWM, _REMOTE_HIGH_WATER)
    remote.set(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
    remote.subscribe(topic)
    remote.connect(source.address)
