"""The floor: one write of the payload into shared memory and one bare wake-up, and nothing else.

No header, no locks, no accounting, nothing that keeps a reader from seeing half a frame: what any
transport of this machine has to do at least.
"""

import contextlib
import mmap
import os
import select
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from transport_bench.peer import Array, OnSample, Peer, now_ns
from transport_bench.streams import STREAMS, Stream

_SLOTS = 8
_WAKE = struct.Struct("3Q")  # index of the stream, seq, sent_ns
_NAMES = tuple(STREAMS)


class Floor(Peer):
    """Payloads in one mapped file per stream; one named pipe per reader wakes it up."""

    name = "floor"
    leftovers = ("fusion_rt_bench_RUN_*",)

    def open_publisher(self, stream: Stream) -> None:
        self._index = _NAMES.index(stream.name)
        self._slots = _slots(self._file(stream), stream)
        self._pipes: list[int] = []

    def send(self, seq: int, source: Array) -> int:
        if not self._pipes:
            paths = Path(self.spec.run_dir).glob("*.pipe")
            self._pipes = [os.open(path, os.O_WRONLY | os.O_NONBLOCK) for path in paths]
        sent_ns = now_ns()
        np.copyto(self._slots[seq % _SLOTS], source)
        packet = _WAKE.pack(self._index, seq, sent_ns)
        for pipe in self._pipes:
            with contextlib.suppress(BlockingIOError):  # a slow reader's pipe is full
                os.write(pipe, packet)
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:
        self._views = {
            _NAMES.index(stream.name): _slots(self._file(stream), stream) for stream in streams
        }
        path = Path(self.spec.run_dir, f"{self.spec.node}.pipe")
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR)  # also a writer: else a read before them sees the end

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        while not is_over():
            if not poller.poll(50):
                continue
            index, seq, sent_ns = _WAKE.unpack(os.read(self._pipe, _WAKE.size))
            on_sample(_NAMES[index], seq, sent_ns, self._views[index][seq % _SLOTS])

    def _file(self, stream: Stream) -> Path:
        return Path("/dev/shm", f"fusion_rt_bench_{self.spec.run_id}_{stream.name}")


def _slots(path: Path, stream: Stream) -> Array:
    size = _SLOTS * stream.nbytes
    with path.open("a+b") as file:
        file.truncate(size)
        memory = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
    return np.frombuffer(memory, stream.dtype).reshape((_SLOTS, *stream.shape))
