"""iceoryx2: shared-memory publish/subscribe with an event to wake the reader; copied and loaned."""

import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from transport_bench.peer import (
    Array,
    NodeSpec,
    OnSample,
    Peer,
    decode_header,
    encode_header,
    now_ns,
)
from transport_bench.streams import Stream

_HEADER_BYTES = 256  # in front of the array, which stays aligned; its first byte is the length


class Iceoryx2(Peer):
    """The producer's array is copied into a loaned sample."""

    name = "iceoryx2"
    requires = "iceoryx2"
    modules = ("iceoryx2",)
    settle_s = 0.5
    leftovers = ("RUN_*",)

    def __init__(self, spec: NodeSpec) -> None:
        super().__init__(spec)
        import iceoryx2

        self._api = iceoryx2
        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        config = iceoryx2.config.default()
        # Names of this run's own, so that what a killed process leaves can be told and removed.
        config.global_cfg.prefix = iceoryx2.FileName.new(f"{spec.run_id}_")
        config.global_cfg.root_path = iceoryx2.Path.new(str(Path(spec.run_dir, "iceoryx2")))
        builder = iceoryx2.NodeBuilder.new().config(config)
        self._node = builder.create(iceoryx2.ServiceType.Ipc)
        self._ports: list[Any] = []

    def open_publisher(self, stream: Stream) -> None:
        self._stream = stream
        self._size = _HEADER_BYTES + stream.nbytes
        self._memory = ctypes.c_uint8 * self._size
        builder = self._service(stream).publisher_builder()
        self._publisher = builder.initial_max_slice_len(self._size).create()
        self._notifier = self._wake_up().notifier_builder().create()
        self._ports += [self._publisher, self._notifier]

    def send(self, seq: int, source: Array) -> int:
        sent_ns = now_ns()
        sample, memory = self._loan()
        np.copyto(self._payload(memory), source)
        self._send(sample, memory, seq, sent_ns)
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:
        self._subscribers = [self._service(s).subscriber_builder().create() for s in streams]
        self._listener = self._wake_up().listener_builder().create()
        self._ports += [*self._subscribers, self._listener]

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        patience = self._api.Duration.from_millis(50)
        while not is_over():
            if not self._take_round(on_sample):
                self._listener.timed_wait(patience)

    def close(self) -> None:
        for port in self._ports:
            port.delete()
        self._ports.clear()
        self._node = None

    def _take_round(self, on_sample: OnSample) -> bool:
        """One message of each stream; whether there was any."""
        is_any = False
        for subscriber in self._subscribers:
            sample = subscriber.receive()
            if sample is None:
                continue
            is_any = True
            size = sample.header.number_of_elements
            raw = (ctypes.c_uint8 * size).from_address(sample.payload_ptr)
            memory = np.frombuffer(raw, np.uint8)
            header = decode_header(memory[1 : 1 + int(memory[0])])
            array = memory[_HEADER_BYTES:].view(header.dtype).reshape(header.shape)
            on_sample(header.stream, header.seq, header.sent_ns, array)
            sample.delete()
        return is_any

    def _loan(self) -> tuple[Any, Array]:
        sample = self._publisher.loan_slice_uninit(self._size)
        return sample, np.frombuffer(self._memory.from_address(sample.payload_ptr), np.uint8)

    def _payload(self, memory: Array) -> Array:
        array: Array = memory[_HEADER_BYTES:].view(self._stream.dtype)
        return array.reshape(self._stream.shape)

    def _send(self, sample: Any, memory: Array, seq: int, sent_ns: int) -> None:
        header = encode_header(self._stream, seq, sent_ns)
        memory[0] = len(header)
        memory[1 : 1 + len(header)] = np.frombuffer(header, np.uint8)
        sample.assume_init().send()
        self._notifier.notify()

    def _service(self, stream: Stream) -> Any:
        builder = self._builder(stream.name).publish_subscribe(self._api.Slice[ctypes.c_uint8])
        builder = builder.subscriber_max_buffer_size(stream.depth).enable_safe_overflow(True)
        builder = builder.subscriber_max_borrowed_samples(2).max_publishers(2).max_subscribers(4)
        return builder.max_nodes(16).open_or_create()

    def _wake_up(self) -> Any:
        builder = self._builder("wake_up").event().max_notifiers(8).max_listeners(4)
        return builder.max_nodes(16).open_or_create()

    def _builder(self, name: str) -> Any:
        return self._node.service_builder(self._api.ServiceName.new(name))


class Iceoryx2Loan(Iceoryx2):
    """The producer writes straight into the sample; the clock is taken after that."""

    name = "iceoryx2_loan"

    def send(self, seq: int, source: Array) -> int:
        sample, memory = self._loan()
        np.copyto(self._payload(memory), source)
        sent_ns = now_ns()
        self._send(sample, memory, seq, sent_ns)
        return sent_ns
