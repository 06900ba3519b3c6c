"""pyzmq PUB/SUB over ipc, with copies and with copy=False."""

from collections.abc import Callable, Iterable

import numpy as np
import zmq

from transport_bench.peer import (
    Array,
    NodeSpec,
    OnSample,
    Peer,
    as_array,
    decode_header,
    encode_header,
    now_ns,
)
from transport_bench.streams import Stream


class ZmqCopy(Peer):
    """The plainest pyzmq: header and array as two frames."""

    name = "zmq_copy"
    requires = "pyzmq"
    modules = ("zmq",)
    is_copying = True

    def __init__(self, spec: NodeSpec) -> None:
        super().__init__(spec)
        self._context = zmq.Context()
        self._pending: dict[int, zmq.MessageTracker] = {}

    def open_publisher(self, stream: Stream) -> None:
        self._stream = stream
        self._socket = self._context.socket(zmq.PUB)
        self._socket.set(zmq.SNDHWM, stream.depth)
        self._socket.bind(self._endpoint(stream))

    def reclaim(self, source: Array) -> None:
        tracker = self._pending.pop(id(source), None)
        if tracker is not None:
            try:
                tracker.wait(1.0)
            except zmq.NotDone:
                self.counters["still_in_use"] = self.counters.get("still_in_use", 0) + 1

    def send(self, seq: int, source: Array) -> int:
        sent_ns = now_ns()
        frames = (encode_header(self._stream, seq, sent_ns), source)
        if self.is_copying:
            self._socket.send_multipart(frames)
        else:
            tracker = self._socket.send_multipart(frames, copy=False, track=True)
            self._pending[id(source)] = tracker
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVTIMEO, 50)
        self._socket.subscribe(b"")
        for stream in streams:
            self._socket.set(zmq.RCVHWM, stream.depth)
            self._socket.connect(self._endpoint(stream))

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        while not is_over():
            try:
                frames = self._socket.recv_multipart(copy=self.is_copying)
            except zmq.Again:
                continue
            data, payload = frames if self.is_copying else (frames[0].buffer, frames[1].buffer)
            header = decode_header(data)
            on_sample(header.stream, header.seq, header.sent_ns, as_array(header, payload))

    def close(self) -> None:
        self._context.destroy(linger=0)

    def _endpoint(self, stream: Stream) -> str:
        return f"ipc://{self.spec.run_dir}/{stream.name}.zmq"


class ZmqNoCopy(ZmqCopy):
    """copy=False at both ends; the producer waits before it reuses an array (MessageTracker)."""

    name = "zmq_nocopy"
    is_copying = False

    def source_arrays(self, stream: Stream, count: int) -> list[Array]:
        return [np.zeros(stream.shape, stream.dtype) for _ in range(2 * count)]
