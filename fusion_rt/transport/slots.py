"""Where a publisher's arrays go: inline in the header, or into a slot of its ring.

A loaned array lies in the ring already and is published where it is. The ring is opened when the
first large payload comes, and a larger one when a payload outgrows it; readers follow.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fusion_rt.transport.lane import RingAnnouncement
from fusion_rt.transport.ring import RingWriter
from fusion_rt.transport.wire import (
    INLINE_BYTES,
    MAX_PAYLOAD_BYTES,
    Array,
    Payload,
    SlotRef,
    describe,
)

_ALIGNMENT = 64
_HEADROOM = 1.25  # JPEG frames and sweeps vary in size: spare them a second ring


class _Lease:
    """The slot being filled."""

    def __init__(self, ring: RingWriter, slot: int) -> None:
        self.ring = ring
        self.slot = slot
        self.memory = ring.view(slot)
        self.used = 0
        self.lent: Array | None = None
        """What the borrower writes to."""

    def reserve(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> tuple[Array, int]:
        """An array in the slot's unused part, and its offset."""
        start = -(-self.used // _ALIGNMENT) * _ALIGNMENT
        array: Array = np.ndarray(shape, dtype, self.memory, start)
        self.used = start + array.nbytes
        return array, start

    def offset_of(self, array: Array) -> int | None:
        """Where in the slot the array lies; None when it does not, or not in one piece."""
        if self.lent is None:  # nobody was given this slot to write to
            return None
        offset: int = array.ctypes.data - self.memory.ctypes.data
        is_inside = offset >= 0 and offset + array.nbytes <= self.used
        return offset if is_inside and array.flags.c_contiguous else None

    def release(self) -> int:
        """Give the slot to readers; returns its generation. Writing on would tear their data."""
        if self.lent is not None:
            self.lent.flags.writeable = False
        return self.ring.release(self.slot)


class SlotStore:
    """Places one message's arrays at a time. Not thread-safe."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._ring: RingWriter | None = None
        self._ring_number = 0
        self._announced: tuple[RingAnnouncement, int] | None = None
        self._loaned: _Lease | None = None

    @property
    def ring(self) -> tuple[RingAnnouncement, int] | None:
        """What readers must know of the ring in use, and its file."""
        return self._announced

    @property
    def is_lent(self) -> bool:
        return self._loaned is not None

    @contextlib.contextmanager
    def loan(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[Array]:
        """An array in the next slot; one loan at a time, which ends with the next message.

        While readers hold every slot it lies outside the ring and is copied when published.
        """
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        lease = self._claim(nbytes)
        if lease is None:
            yield np.empty(shape, dtype)
            return
        self._loaned = lease
        lease.lent, _ = lease.reserve(shape, dtype)
        try:
            yield lease.lent
        finally:
            if self._loaned is lease:
                self.end_loan()

    def end_loan(self) -> None:
        """Take the slot back unpublished, if one is lent."""
        lease, self._loaned = self._loaned, None
        if lease is not None:
            lease.release()

    def place(self, arrays: Sequence[Array]) -> tuple[Payload, ...] | None:
        """Describe the arrays where they lie now; None when no slot was free."""
        if sum([array.nbytes for array in arrays]) <= INLINE_BYTES:
            self.end_loan()
            return tuple([describe(array, inline=array.tobytes()) for array in arrays])
        lease, self._loaned = self._loaned, None
        if lease is not None and len(arrays) == 1 and arrays[0] is lease.lent:
            place = SlotRef(self._ring_number, lease.slot, lease.release(), 0)
            return (describe(arrays[0], slot=place),)
        if lease is not None and not _fits(lease, arrays):
            arrays = [array.copy() for array in arrays]  # some may lie in the slot given back
            lease.release()
            lease = None
        lease = lease or self._claim(_extent(arrays))
        if lease is None:
            return None
        offsets = [_settle(lease, array) for array in arrays]
        generation = lease.release()
        payloads = []
        for array, offset in zip(arrays, offsets, strict=True):
            place = SlotRef(self._ring_number, lease.slot, generation, offset)
            payloads.append(describe(array, slot=place))
        return tuple(payloads)

    def close(self) -> None:
        self.end_loan()
        if self._ring is not None:
            self._ring.close()

    def _claim(self, nbytes: int) -> _Lease | None:
        ring = self._ring_for(nbytes)
        slot = ring.claim()
        return None if slot is None else _Lease(ring, slot)

    def _ring_for(self, nbytes: int) -> RingWriter:
        if self._ring is None or self._ring.geometry.stride < nbytes:
            roomy = min(int(nbytes * _HEADROOM), MAX_PAYLOAD_BYTES)
            larger = RingWriter(self._slots, max(nbytes, roomy))
            if self._ring is not None:
                self._ring.close()
            self._ring = larger
            self._ring_number += 1
            self._announced = RingAnnouncement(self._ring_number, larger.geometry), larger.fd
        return self._ring


def _extent(arrays: Sequence[Array]) -> int:
    """Bytes that the arrays take at most, one aligned behind the other."""
    return sum(array.nbytes + _ALIGNMENT for array in arrays)


def _fits(lease: _Lease, arrays: Sequence[Array]) -> bool:
    """Whether one loan can hold them all: those in it where they are, the others behind."""
    outside = [array for array in arrays if lease.offset_of(array) is None]
    is_used = len(outside) < len(arrays)
    return is_used and lease.used + _extent(outside) <= len(lease.memory)


def _settle(lease: _Lease, array: Array) -> int:
    """Copy the array into the slot unless it is there; returns its offset."""
    offset = lease.offset_of(array)
    if offset is None:
        settled, offset = lease.reserve(array.shape, array.dtype)
        settled[...] = array
    return offset
