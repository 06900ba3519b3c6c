"""Reads a log ahead of the fusion: reading and decoding overlap with the networks of earlier sets.

What comes out is what went in, in the same order, but for JPEGs that are decoded already, by the
code that the fusion itself would call: so nothing depends on how far ahead the thread got.
"""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from fusion_rt.errors import MissingExtraError
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.fusion.picture import decode
from fusion_rt.fusion.wanted import WantedFrames
from fusion_rt.logs.byte_queue import ByteQueue
from fusion_rt.messages import CameraFrame, Message
from fusion_rt.transport.inbox import Received

AHEAD_BYTES = 64_000_000
"""Half a second and more of a full rig with its pictures decoded."""


def read_ahead(
    messages: Iterable[Received],
    prepare: Callable[[Received], Received],
    limit_bytes: int = AHEAD_BYTES,
) -> Generator[Received, None, None]:
    """The messages, prepared, from a thread of their own, which ends when this is closed."""
    queue: ByteQueue[Received | None] = ByteQueue(limit_bytes)
    with ThreadPoolExecutor(1, "log reader") as pool:
        reading = pool.submit(_fill, queue, messages, prepare)
        try:
            while (received := queue.take()) is not None:
                yield received
            reading.result()  # raises what reading did
        finally:
            queue.close()


def _fill(
    queue: ByteQueue[Received | None],
    messages: Iterable[Received],
    prepare: Callable[[Received], Received],
) -> None:
    try:
        for received in messages:
            prepared = prepare(received)
            if not queue.put(prepared, _size(prepared.message)):
                return
    finally:
        queue.put(None, 0)


def _size(message: Message) -> int:
    fields = (getattr(message, name) for name in message.__struct_fields__)
    return sum(field.nbytes for field in fields if isinstance(field, np.ndarray))


class DecodedAhead:
    """Decodes the JPEGs that the fusion of a plan will want, as far as can be told beforehand.

    The others, and the damaged ones, stay as they are: the fusion decodes what it needs after all,
    or says what is wrong.
    """

    def __init__(self, plan: FusionPlan) -> None:
        self._wanted = WantedFrames(plan)

    def __call__(self, received: Received) -> Received:
        topic, stamp_ns = received.header.topic, received.header.stamp_ns
        self._wanted.heard(topic, stamp_ns)
        frame = received.message
        if not isinstance(frame, CameraFrame) or frame.encoding != "jpeg":
            return received
        if frame.problem() is not None or not self._wanted.wants(topic, stamp_ns):
            return received
        return Received(received.header, received.recv_ns, _decoded(frame))


def _decoded(frame: CameraFrame) -> CameraFrame:
    try:
        picture = decode(frame)
    except (ValueError, MissingExtraError):
        return frame
    return msgspec.structs.replace(frame, encoding="bgr8", image=picture)
