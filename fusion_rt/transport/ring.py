"""The payload ring: shared-memory slots that one publisher writes and any number of readers map.

Memory is one sealed memfd: it has no name, so whatever is killed, the kernel frees it with its last
user, and nobody can truncate it under a reader. Slots are owned through open-file-description (OFD)
locks on that file, byte i standing for slot i:

- The writer claims the oldest slot with a write lock. Refused means that a reader holds it; the
  writer goes on to the next one and never waits.
- A reader takes a slot with a read lock. Refused, or a generation other than the descriptor's: the
  message was overwritten. The reader never waits either.
- The kernel arbitrates, so there is no race between marking and checking, and it drops every lock
  of a process that died, so there is nothing to clean up.

OFD locks conflict only between different open file descriptions. A reader therefore re-opens the
file (`/proc/self/fd/N`), and nodes are started by exec, never by fork.
"""

import contextlib
import fcntl
import os
import weakref
from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import RingError
from fusion_rt.transport import _ring
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.wire import MAX_PAYLOAD_BYTES

_PAGE = 4096
_CACHE_LINE = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_F_SEAL_FUTURE_WRITE = 0x10  # <linux/fcntl.h> since 5.1: no further writable mapping
MAX_SLOTS = 64
MAX_RING_BYTES = 2 << 30

Bytes = npt.NDArray[np.uint8]
_U8 = np.dtype(np.uint8)


class RingGeometry(msgspec.Struct, frozen=True, array_like=True):
    """Layout of the file: one generation word per slot, each on its cache line, then the slots."""

    slots: int
    stride: int
    """Bytes from one slot to the next, whole pages."""

    @property
    def data_offset(self) -> int:
        return _round_up(self.slots * _CACHE_LINE, _PAGE)

    @property
    def size(self) -> int:
        return self.data_offset + self.slots * self.stride

    @property
    def layout(self) -> tuple[int, int, int]:
        """What the compiled half wants to know: slots, stride, where the first slot lies."""
        return self.slots, self.stride, self.data_offset

    def problem(self) -> str | None:
        """Why no ring can look like this; None when one can."""
        if not 1 <= self.slots <= MAX_SLOTS:
            return f"slots: expected 1..{MAX_SLOTS}, got {self.slots}"
        if not 0 < self.stride <= MAX_PAYLOAD_BYTES or self.stride % _PAGE:
            return f"stride: expected whole pages up to {MAX_PAYLOAD_BYTES}, got {self.stride}"
        if self.slots * self.stride > MAX_RING_BYTES:
            return f"slots: expected at most {MAX_RING_BYTES} bytes, got {self.slots * self.stride}"
        return None


class RingWriter:
    """The publisher's end. Claims one slot at a time."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        self.geometry = RingGeometry(slots, _round_up(max(slot_bytes, 1), _PAGE))
        if problem := self.geometry.problem():
            raise RingError(problem)
        self.fd = os.memfd_create("fusion_rt", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self.fd)
            os.ftruncate(self.fd, self.geometry.size)
            # Mapped before the seal: FUTURE_WRITE forbids every later writable mapping, also ours.
            self._native = _ring.Writer(self.fd, *self.geometry.layout)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS | _F_SEAL_FUTURE_WRITE)
            undo.pop_all()
        self._slots = [_array_of(self._native.memory(slot)) for slot in range(slots)]

    def claim(self) -> int | None:
        """The oldest slot that no reader holds, now ours to write; None when all are held."""
        return self._native.claim()

    def view(self, slot: int) -> Bytes:
        """The claimed slot's bytes, to write."""
        return self._slots[slot]

    def release(self, slot: int) -> int:
        """Give the claimed slot to readers (or back, unwritten); returns its new generation."""
        return self._native.release(slot)

    def close(self) -> None:
        """Readers keep what they have mapped."""
        os.close(self.fd)


class RingReader:
    """A subscriber's end: takes slots, read-only, and gives each back with its last view.

    There is no `close`: the file goes with the last reference, and each view that is out is one.
    """

    def __init__(self, fd: int, geometry: RingGeometry) -> None:
        """Check and re-open the ring behind `fd`, which stays the caller's."""
        if problem := geometry.problem() or _file_problem(fd, geometry):
            raise RingError(problem)
        self.geometry = geometry
        self._native: _ring.Reader | None = None
        self._fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd).atexit = False

    @property
    def held(self) -> int:
        """How many slots are taken and not given back."""
        return 0 if self._native is None else self._native.held

    def take(self, slot: int, generation: int) -> Bytes | Drop:
        """The slot's bytes, ours until this array and every view of it are gone."""
        if not 0 <= slot < self.geometry.slots or generation % 2:
            return Drop.BAD_DESCRIPTOR
        # Not mapped before it is needed: who looks at headers only never pays for the pages.
        native = self._native or self._map()
        lease = native.take(slot, generation)
        return Drop.OVERRUN if lease is None else _array_of(lease)

    def _map(self) -> _ring.Reader:
        self._native = _ring.Reader(self._fd, *self.geometry.layout)
        return self._native


def _array_of(memory: _ring.SlotMemory | _ring.Lease) -> Bytes:
    """The array keeps `memory` alive, and so does every view of it."""
    # NumPy takes whatever has the buffer protocol; its stubs list a few types that do.
    return np.frombuffer(cast("memoryview", memory), _U8)


def _file_problem(fd: int, geometry: RingGeometry) -> str | None:
    """Why reading the file could go wrong later: too short, or free to shrink (SIGBUS)."""
    if (size := os.fstat(fd).st_size) != geometry.size:
        return f"file: expected {geometry.size} bytes, got {size}"
    seals = -1
    with contextlib.suppress(OSError):  # not a memfd
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    if seals < 0 or seals & _SEALS != _SEALS:
        return f"file: expected a memfd sealed against resizing, got seals {seals}"
    return None


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
