"""Eclipse eCAL: shared-memory files with the zero-copy mode switched on."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

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

_MEMORY_FILES = 4


class Ecal(Peer):
    """The binding sends `bytes`, so header and array are joined first: a copy."""

    name = "ecal"
    requires = "eclipse-ecal"
    modules = ("ecal",)
    settle_s = 2.5  # processes announce themselves once a second
    leftovers = ("ecal_*",)

    def __init__(self, spec: NodeSpec) -> None:
        super().__init__(spec)
        import ecal.nanobind_core as ecal

        self._api = ecal
        ecal.initialize(spec.node)

    def open_publisher(self, stream: Stream) -> None:
        self._stream = stream
        config = self._api.PublisherConfiguration()
        config.layer.shm.zero_copy_mode = True
        config.layer.shm.memfile_buffer_count = _MEMORY_FILES
        datatype = self._api.DataTypeInformation()
        self._publisher = self._api.Publisher(self._topic(stream), datatype, config)

    def send(self, seq: int, source: Array) -> int:
        sent_ns = now_ns()
        header = encode_header(self._stream, seq, sent_ns)
        data = source.reshape(-1).view(np.uint8).data
        self._publisher.send(b"".join((bytes([len(header)]), header, data)))
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:
        self._topics = [self._topic(stream) for stream in streams]

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        one_at_a_time = threading.Lock()

        def deliver(*event: Any) -> None:
            data = event[-1].buffer
            size = 1 + data[0]
            header = decode_header(data[1:size])
            with one_at_a_time:
                array = as_array(header, memoryview(data)[size:])
                on_sample(header.stream, header.seq, header.sent_ns, array)

        self._subscribers = [self._api.Subscriber(topic) for topic in self._topics]
        for subscriber in self._subscribers:
            subscriber.set_receive_callback(deliver)
        idle = threading.Event()
        while not is_over():
            idle.wait(0.05)

    def close(self) -> None:
        self._api.finalize()

    def _topic(self, stream: Stream) -> str:
        return f"{self.spec.run_id}_{stream.name}"
