"""Where an arrival's payloads are had: from its lane's rings, or from the frames beside it.

Descriptors are claims. Each is held against the memory it points into before an array is made.
"""

import socket
from collections.abc import Sequence

import msgspec
import numpy as np

from fusion_rt.errors import RingError
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.lane import Packet, RingAnnouncement
from fusion_rt.transport.ring import Bytes, RingReader
from fusion_rt.transport.wire import Array, Payload, SlotRef, array_from_bytes, array_in_slot

MAX_HOLD = 2
"""Slots of one ring that a subscriber may hold; beyond it, messages are copied out."""
_KEPT_RINGS = 2  # the one in use, and the one before, which waiting headers may still name
_NOTHING = np.empty(0, np.uint8)
_announcement_decoder = msgspec.msgpack.Decoder(RingAnnouncement)


class LaneSource:
    """One publisher's lane and the rings it has announced."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self._rings: dict[int, RingReader] = {}

    def announced(self, packet: Packet) -> bool:
        """Open the ring; False when there is none such as announced."""
        if packet.fd is None:
            return False
        try:
            announcement = _announcement_decoder.decode(packet.data)
            ring = RingReader(packet.fd, announcement.geometry)
        except (msgspec.MsgspecError, ValueError, OSError, RingError):
            return False
        self._rings.pop(announcement.ring, None)
        self._rings[announcement.ring] = ring
        for number in list(self._rings)[:-_KEPT_RINGS]:
            del self._rings[number]
        return True

    def open(self, payloads: Sequence[Payload]) -> list[Array] | Drop:
        """The arrays; those in the ring keep their slot until the last view of them is gone."""
        memory = self._take(payloads)
        if isinstance(memory, Drop):
            return memory
        arrays = []
        for payload in payloads:
            array = _array(payload, memory)
            if isinstance(array, Drop):
                return array
            arrays.append(array)
        return arrays

    def close(self) -> None:
        """Waiting arrivals refer to this source: its rings stay for them, and go with the last."""
        self.socket.close()

    def _take(self, payloads: Sequence[Payload]) -> Bytes | Drop:
        """The one slot that all of a message's payloads lie in."""
        place: SlotRef | None = None
        for payload in payloads:
            if payload.inline is not None:
                continue
            if payload.slot is None or (place and not _is_same_slot(payload.slot, place)):
                return Drop.BAD_DESCRIPTOR
            place = payload.slot
        if place is None:
            return _NOTHING
        ring = self._rings.get(place.ring)
        if ring is None:
            is_outgrown = place.ring < min(self._rings, default=0)
            return Drop.OVERRUN if is_outgrown else Drop.BAD_DESCRIPTOR
        memory = ring.take(place.slot, place.generation)
        if isinstance(memory, Drop) or ring.held <= MAX_HOLD:
            return memory
        private = memory.copy()
        private.flags.writeable = False
        return private


class FrameSource:
    """The frames that followed a header over ZeroMQ, one per payload in order."""

    def __init__(self, frames: Sequence[memoryview]) -> None:
        self._frames = frames

    def open(self, payloads: Sequence[Payload]) -> list[Array] | Drop:
        """The arrays, read-only, on the frames' own memory."""
        if len(payloads) != len(self._frames):
            return Drop.BAD_DESCRIPTOR
        arrays = []
        for payload, frame in zip(payloads, self._frames, strict=True):
            array = array_from_bytes(payload, frame.toreadonly())
            if isinstance(array, Drop):
                return array
            arrays.append(array)
        return arrays


def _is_same_slot(one: SlotRef, other: SlotRef) -> bool:
    return (one.ring, one.slot, one.generation) == (other.ring, other.slot, other.generation)


def _array(payload: Payload, memory: Bytes) -> Array | Drop:
    if payload.slot is not None and payload.inline is None:
        return array_in_slot(payload, memory, payload.slot.offset)
    return array_from_bytes(payload, payload.inline or b"")
