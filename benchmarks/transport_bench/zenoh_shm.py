"""Eclipse Zenoh, peer to peer over loopback, payloads in its shared memory."""

import json
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

_POOL_FRAMES = 16
_SHARED_FROM_BYTES = 3072  # what Zenoh itself takes as the least that pays


class ZenohShm(Peer):
    """The binding takes and gives `bytes` and `bytearray` only: one copy in, one out."""

    name = "zenoh_shm"
    requires = "eclipse-zenoh"
    modules = ("zenoh",)
    settle_s = 1.2
    leftovers = ("*.zenoh", "*zenoh*")

    def __init__(self, spec: NodeSpec) -> None:
        super().__init__(spec)
        import zenoh

        self._api = zenoh
        self._config = zenoh.Config()
        self._config.insert_json5("mode", '"peer"')
        self._config.insert_json5("scouting/multicast/enabled", "false")
        self._config.insert_json5("transport/shared_memory/enabled", "true")

    def open_publisher(self, stream: Stream) -> None:
        self._stream = stream
        self._config.insert_json5("listen/endpoints", json.dumps([self._endpoint(stream)]))
        self._session = self._api.open(self._config)
        drop = self._api.CongestionControl.DROP
        key = f"bench/{stream.name}"
        self._publisher = self._session.declare_publisher(key, congestion_control=drop)
        pool_bytes = max(_POOL_FRAMES * stream.nbytes, 1 << 20)
        self._pool = self._api.shm.ShmProvider.default_backend(pool_bytes)

    def source_arrays(self, stream: Stream, count: int) -> list[Array]:
        raw = [bytearray(stream.nbytes) for _ in range(count)]
        arrays = [np.frombuffer(data, stream.dtype).reshape(stream.shape) for data in raw]
        self._raw_of = {id(array): data for array, data in zip(arrays, raw, strict=True)}
        return arrays

    def send(self, seq: int, source: Array) -> int:
        raw = self._raw_of[id(source)]
        sent_ns = now_ns()
        payload = self._shared(raw) if len(raw) > _SHARED_FROM_BYTES else raw
        self._publisher.put(payload, attachment=encode_header(self._stream, seq, sent_ns))
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:
        self._config.insert_json5("listen/endpoints", "[]")
        endpoints = [self._endpoint(stream) for stream in streams]
        self._config.insert_json5("connect/endpoints", json.dumps(endpoints))
        self._session = self._api.open(self._config)

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        def deliver(sample: Any) -> None:
            header = decode_header(sample.attachment.to_bytes())
            shared = sample.payload.as_shm()
            data = sample.payload.to_bytes() if shared is None else bytes(shared)
            on_sample(header.stream, header.seq, header.sent_ns, as_array(header, data))

        self._subscriber = self._session.declare_subscriber("bench/**", deliver)
        idle = threading.Event()
        while not is_over():
            idle.wait(0.05)

    def close(self) -> None:
        self._session.close()

    def _shared(self, raw: bytearray) -> Any:
        shared = self._pool.alloc(len(raw), self._api.shm.GarbageCollect())
        shared[0 : len(raw)] = raw
        return shared

    def _endpoint(self, stream: Stream) -> str:
        return f"tcp/127.0.0.1:{self.spec.ports[stream.name]}"
