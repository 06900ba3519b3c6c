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
import mmap
import os
import struct
import weakref
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import RingError
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.wire import MAX_PAYLOAD_BYTES

_PAGE = 4096
_CACHE_LINE = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_F_SEAL_FUTURE_WRITE = 0x10  # <linux/fcntl.h> since 5.1: no further writable mapping
# Populated mappings fault their pages in now, not under the first frames.
_MAP_FLAGS = mmap.MAP_SHARED | mmap.MAP_POPULATE
_WORDS_PER_SLOT = _CACHE_LINE // 8
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
        self._next = 0
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self.fd)
            os.ftruncate(self.fd, self.geometry.size)
            # Mapped before the seal: FUTURE_WRITE forbids every later writable mapping, also ours.
            memory = mmap.mmap(self.fd, self.geometry.size, _MAP_FLAGS)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS | _F_SEAL_FUTURE_WRITE)
            undo.pop_all()
        self._generations = _generation_words(memory)
        self._slots = [
            np.frombuffer(
                memory,
                np.uint8,
                self.geometry.stride,
                self.geometry.data_offset + slot * self.geometry.stride,
            )
            for slot in range(slots)
        ]

    def claim(self) -> int | None:
        """The oldest slot that no reader holds, now ours to write; None when all are held."""
        for step in range(self.geometry.slots):
            slot = (self._next + step) % self.geometry.slots
            if _lock(self.fd, fcntl.F_WRLCK, slot):
                self._next = (slot + 1) % self.geometry.slots
                self._generations[slot * _WORDS_PER_SLOT] |= 1
                return slot
        return None

    def view(self, slot: int) -> Bytes:
        """The claimed slot's bytes, to write."""
        return self._slots[slot]

    def release(self, slot: int) -> int:
        """Give the claimed slot to readers (or back, unwritten); returns its new generation."""
        generation = (self._generations[slot * _WORDS_PER_SLOT] | 1) + 1
        self._generations[slot * _WORDS_PER_SLOT] = generation
        _lock(self.fd, fcntl.F_UNLCK, slot)
        return generation

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
        self.held: set[int] = set()
        self._views: dict[int, _SlotView] = {}
        self._memory: mmap.mmap | None = None
        self._generations: memoryview = memoryview(b"")
        self._data_offset = geometry.data_offset
        self._fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd).atexit = False

    def take(self, slot: int, generation: int) -> Bytes | Drop:
        """The slot's bytes, ours until this array and every view of it are gone."""
        if not 0 <= slot < self.geometry.slots or generation % 2:
            return Drop.BAD_DESCRIPTOR
        if slot in self.held:
            return self._take_again(slot, generation)
        memory = self._memory or self._map()
        if not _lock(self._fd, fcntl.F_RDLCK, slot):
            return Drop.OVERRUN
        if self._generations[slot * _WORDS_PER_SLOT] != generation:
            _lock(self._fd, fcntl.F_UNLCK, slot)
            return Drop.OVERRUN
        start = self._data_offset + slot * self.geometry.stride
        view: Bytes = np.ndarray((self.geometry.stride,), _U8, memory, start)
        self.held.add(slot)
        self._views[slot] = _watch(view, self, slot)
        return view

    def _take_again(self, slot: int, generation: int) -> Bytes | Drop:
        """A message delivered twice: one lock serves both, so both share one array."""
        reference = self._views.get(slot)
        view = None if reference is None else reference()
        if view is None or self._generations[slot * _WORDS_PER_SLOT] != generation:
            return Drop.OVERRUN
        return view

    def _map(self) -> mmap.mmap:
        """Not before it is needed: who looks at headers only never pays for the pages."""
        self._memory = mmap.mmap(self._fd, self.geometry.size, _MAP_FLAGS, mmap.PROT_READ)
        self._generations = _generation_words(self._memory)
        return self._memory

    def release(self, slot: int) -> None:
        """The last view died; in any thread, at any time."""
        # `held` is what `take` looks at, so the slot leaves it last.
        self._views.pop(slot, None)
        _lock(self._fd, fcntl.F_UNLCK, slot)
        self.held.discard(slot)


class _SlotView(weakref.ref["Bytes"]):
    """Gives a slot back when its last view dies, and keeps reader and lock until then.

    weakref.finalize without what it does for other uses, which would be a quarter of a `take`.
    """

    __slots__ = ("reader", "slot")
    reader: RingReader
    slot: int


# Kept here, for a weak reference that dies in one garbage collection with its reader calls nobody.
_slot_views: dict[int, _SlotView] = {}


def _watch(view: Bytes, reader: RingReader, slot: int) -> _SlotView:
    slot_view = _SlotView(view, _give_back)
    slot_view.reader = reader
    slot_view.slot = slot
    _slot_views[id(slot_view)] = slot_view
    return slot_view


def _give_back(gone: Any) -> None:
    del _slot_views[id(gone)]
    gone.reader.release(gone.slot)


def _lock_requests(kind: int) -> tuple[bytes, ...]:
    # struct flock: l_type, l_whence, l_start, l_len, l_pid (0 for OFD locks)
    return tuple(struct.pack("hhqqi4x", kind, os.SEEK_SET, slot, 1, 0) for slot in range(MAX_SLOTS))


_LOCK_REQUESTS = {
    kind: _lock_requests(kind) for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK)
}


def _lock(fd: int, kind: int, slot: int) -> bool:
    """Set or clear this file description's lock on the slot; False when another one has it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK_REQUESTS[kind][slot])
    except BlockingIOError:
        return False
    return True


def _generation_words(memory: mmap.mmap) -> memoryview:
    """The word of slot i at `i * _WORDS_PER_SLOT`; odd while the slot is being written.

    The slot's lock orders it with the payload.
    """
    return memoryview(memory).cast("Q")


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
