"""Who listens to a publisher: local lanes, and plain ZeroMQ subscribers here or on other hosts.

Subscriptions arrive on the publisher's XPUB socket, so ZeroMQ does the reconnecting: a subscriber
that starts first, or outlives its publisher, asks again by itself.
"""

import contextlib
import select
from collections import Counter
from collections.abc import Sequence

import zmq

from fusion_rt.transport.drops import Drop
from fusion_rt.transport.lane import HEADER, Lane, RingAnnouncement, requested_lane
from fusion_rt.transport.zeromq import Socket, has_message

_MAX_SUBSCRIPTION_BYTES = 1024  # CURVE's handshake has to pass too: some 300 bytes
_MAX_LANES = 64
_MAX_EVENTS = 256  # subscriptions taken in per message: a flood of them must not hold it up
_HIGH_WATER = 8  # frames queued per plain subscriber before ZeroMQ drops the newest


class Audience:
    """One XPUB socket and the lanes that were asked for over it."""

    def __init__(self, socket: Socket, topic: str) -> None:
        """`socket` is configured but not bound yet, and stays the caller's to close."""
        self._topic = topic.encode()
        self._socket = socket
        socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
        socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
        self._events = select.poll()
        self._events.register(socket.fileno(), select.POLLIN)
        self._is_drained = False
        self._wanted: set[bytes] = set()
        self._lanes: dict[bytes, Lane] = {}
        self._plain: set[bytes] = set()
        """Subscriptions that match the topic: its prefixes, so there are few."""

    @property
    def has_lanes(self) -> bool:
        return bool(self._lanes)

    @property
    def has_plain(self) -> bool:
        """Whether anybody needs the payload in the message itself."""
        return bool(self._plain)

    def refresh(self) -> None:
        """Take in the subscriptions that came since the last call."""
        # ZeroMQ's file descriptor is edge-triggered: its silence means something only while all is
        # taken in, but then asking it costs a sixth of asking the socket.
        if not self._is_drained or self._events.poll(0):
            self._drain()
        if len(self._lanes) < len(self._wanted):
            self._connect_lanes()

    def _drain(self) -> None:
        for _ in range(_MAX_EVENTS):
            self._is_drained = not has_message(self._socket)
            if self._is_drained:
                return
            event = self._socket.recv()
            self._take_in(event[1:], is_subscribed=event[:1] == b"\x01")

    def _connect_lanes(self) -> None:
        # A lane that could not be had, or broke, is tried again until its subscription ends: the
        # subscriber may have been short of files, or paused with its queue of callers full.
        for token in self._wanted - self._lanes.keys():
            with contextlib.suppress(OSError):
                self._lanes[token] = Lane(token)

    def send_to_lanes(
        self, header: bytes, ring: tuple[RingAnnouncement, int] | None, drops: Counter[str]
    ) -> None:
        """One packet to each lane, announcing `ring` first where it is new."""
        packet = HEADER + header
        for lane in tuple(self._lanes.values()):
            try:
                is_known = ring is None or lane.ring == ring[0].ring or lane.announce(*ring)
                if not (is_known and lane.send_header(packet)):
                    drops[Drop.READER_BEHIND.value] += 1
            except OSError:  # the subscriber died, or gave the lane up
                self._lanes.pop(lane.token).close()

    def send_plain(self, frames: Sequence[bytes | memoryview]) -> None:
        """Topic, header and payloads as one multipart message."""
        self._socket.send_multipart(frames)
        self._is_drained = False  # sending looks at the descriptor too

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def _take_in(self, subscription: bytes, is_subscribed: bool) -> None:
        token = requested_lane(subscription)
        if token is not None:
            self._change_lane(token, is_subscribed)
        elif not is_subscribed:
            self._plain.discard(subscription)
        elif self._topic.startswith(subscription):
            self._plain.add(subscription)

    def _change_lane(self, token: bytes, is_wanted: bool) -> None:
        self._wanted.discard(token)
        if lane := self._lanes.pop(token, None):
            lane.close()
        if is_wanted and len(self._wanted) < _MAX_LANES:
            self._wanted.add(token)
