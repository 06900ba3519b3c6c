"""fusion_rt's own transport: copying publish, and a loan that the producer fills."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from fusion_rt.clock import NS_PER_MS
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message
from fusion_rt.session import attach_session, start_session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from transport_bench.peer import Array, NodeSpec, OnSample, Peer, now_ns
from transport_bench.streams import Stream


class FusionRt(Peer):
    """`publish` of the producer's own array: one copy, into the ring."""

    name = "fusion_rt"

    def __init__(self, spec: NodeSpec) -> None:
        super().__init__(spec)
        self._session = attach_session(_session_dir(Path(spec.run_dir)))
        self._clock = self._session.clock()
        self._open = contextlib.ExitStack()

    @classmethod
    def hosted(cls, run_dir: Path) -> contextlib.AbstractContextManager[object]:
        return start_session(_session_dir(run_dir), "bench")

    def open_publisher(self, stream: Stream) -> None:
        self._stream = stream
        publisher = Publisher(_topic(stream), self._session, self._clock, self.spec.node)
        self._publisher = self._open.enter_context(publisher)
        self.counters = publisher.counters

    def send(self, seq: int, source: Array) -> int:
        sent_ns = now_ns()
        self._publisher.publish(self._message(seq, sent_ns, source))
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:
        self._names = {_topic(stream): stream.name for stream in streams}
        self._subscriber = Subscriber(self._names, self._session, self._clock)
        self._open.enter_context(self._subscriber)

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        offset_ns = self._clock.offset_ns
        while not is_over():
            received = self._subscriber.receive(50 * NS_PER_MS)
            if received is not None:
                message, header = received.message, received.header
                sent_ns = message.stamp_ns - offset_ns
                on_sample(self._names[header.topic], header.seq, sent_ns, _array(message))
            received = message = None  # held frames are not reused
        for topic, inbox in self._subscriber.inboxes.items():
            self.counters.update({f"{topic} {cause}": n for cause, n in inbox.drops.items()})

    def close(self) -> None:
        self._open.close()

    def _message(self, seq: int, sent_ns: int, array: Array) -> Message:
        stamp_ns = sent_ns + self._clock.offset_ns
        match self._stream.kind:
            case "camera":
                height, width, _ = array.shape
                return CameraFrame(
                    stamp_ns=stamp_ns, encoding="bgr8", width=width, height=height, image=array
                )
            case "lidar":
                return LidarSweep(stamp_ns=stamp_ns, points=array)
            case "audio":
                return AudioChunk(
                    stamp_ns=stamp_ns, samples=array, rate_hz=16_000, first_sample=seq * 320
                )
            case _:
                return GpsFix(
                    stamp_ns=stamp_ns,
                    fix="3d",
                    latitude_deg=48.137,
                    longitude_deg=11.575,
                    altitude_m=519.0,
                    velocity_enu_mps=(1.0, 2.0, 0.1),
                    course_deg=26.6,
                    horizontal_accuracy_m=1.2,
                    vertical_accuracy_m=2.4,
                    satellites=14,
                )


class FusionRtLoan(FusionRt):
    """The producer writes straight into a slot of the ring; the clock is taken after that."""

    name = "fusion_rt_loan"

    def send(self, seq: int, source: Array) -> int:
        if not self._stream.is_bulk:
            return super().send(seq, source)
        with self._publisher.loan(source.shape, source.dtype) as slot:
            np.copyto(slot, source)
            return super().send(seq, slot)


def _session_dir(run_dir: Path) -> Path:
    return run_dir / "session"


def _topic(stream: Stream) -> str:
    return f"{stream.kind}/{stream.name}"


def _array(message: Message) -> Array | None:
    match message:
        case CameraFrame():
            return message.image
        case LidarSweep():
            return message.points
        case AudioChunk():
            return message.samples
        case _:
            return None
