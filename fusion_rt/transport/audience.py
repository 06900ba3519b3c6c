"""Who listens to a publisher: local lanes, and plain ZeroMQ subscribers here or on other hosts.

Subscriptions arrive on the publisher's XPUB socket, so ZeroMQ does the reconnecting: a subscriber
that starts first, or outlives its publisher, asks again by itself.
"""

from collections import Counter
from collections.abc import Sequence

import zmq

from fusion_rt.transport.drops import Drop
from fusion_rt.transport.lane import HEADER, Lane, RingAnnouncement, requested_lane
from fusion_rt.transport.zeromq import Socket, has_message

_MAX_SUBSCRIPTION_BYTES = 256
_HIGH_WATER = 8  # frames queued per plain subscriber before ZeroMQ drops the newest


class Audience:
    """One XPUB socket and the lanes that were asked for over it."""

    def __init__(self, socket: Socket) -> None:
        """Owns `socket`, which is configured but not bound yet."""
        self._socket = socket
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
        socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
        self._lanes: dict[bytes, Lane] = {}
        self._plain: set[bytes] = set()

    @property
    def is_empty(self) -> bool:
        return not self._lanes and not self._plain

    @property
    def has_plain(self) -> bool:
        """Whether anybody needs the payload in the message itself."""
        return bool(self._plain)

    def refresh(self) -> None:
        """Take in the subscriptions that came since the last call."""
        while has_message(self._socket):
            event = self._socket.recv()
            is_subscribed, subscription = event[:1] == b"\x01", event[1:]
            token = requested_lane(subscription)
            if token is not None:
                self._change_lane(token, is_subscribed)
            elif is_subscribed:
                self._plain.add(subscription)
            else:
                self._plain.discard(subscription)

    def send_to_lanes(
        self, header: bytes, ring: tuple[RingAnnouncement, int] | None, drops: Counter[str]
    ) -> None:
        """One packet to each lane, announcing `ring` first where it is new."""
        packet = HEADER + header
        for lane in tuple(self._lanes.values()):
            try:
                if not (_announced(lane, ring) and lane.send_header(packet)):
                    drops[Drop.READER_BEHIND.value] += 1
            except OSError:  # the subscriber died; if it comes back, it asks again
                self._drop_lane(lane.token)

    def send_plain(self, frames: Sequence[bytes | memoryview]) -> None:
        """Topic, header and payloads as one multipart message."""
        self._socket.send_multipart(frames)

    def close(self) -> None:
        for token in tuple(self._lanes):
            self._drop_lane(token)
        self._socket.close()

    def _change_lane(self, token: bytes, is_wanted: bool) -> None:
        self._drop_lane(token)
        if is_wanted:
            try:
                self._lanes[token] = Lane(token)
            except OSError:  # gone between asking and now
                return

    def _drop_lane(self, token: bytes) -> None:
        if lane := self._lanes.pop(token, None):
            lane.close()


def _announced(lane: Lane, ring: tuple[RingAnnouncement, int] | None) -> bool:
    """Whether the lane knows the ring that the next header refers to."""
    if ring is None or lane.ring == ring[0].ring:
        return True
    return lane.announce(*ring)
