"""The wire: one typed, bounded msgpack header per message, and where its payload lies.

A header is decoded in two steps, so that a consumer that keeps only the newest message pays for
one body and one payload: first the header (`decode_header`), later the body with its arrays
(`MessageCodec.decode`). Bytes from outside end in a value or in a `Drop`, never in an exception,
and nothing is allocated by a length that was not checked against the bytes at hand.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.messages import Message, StampNs
from fusion_rt.transport.drops import Drop

WIRE_VERSION = 1
INLINE_BYTES = 16 * 1024
"""Larger payloads go through the ring: a copy through a socket breaks even at 16-32 KiB."""
MAX_HEADER_BYTES = 64 * 1024
"""Of an encoded header, its inline payloads included."""
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
MAX_PAYLOADS = 8

Array = npt.NDArray[Any]
DType = Literal["|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"]
_DTYPES: dict[DType, np.dtype[Any]] = {name: np.dtype(name) for name in get_args(DType)}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
U64 = Annotated[int, msgspec.Meta(ge=0)]
Seq = Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
"""Bounded so that sums of losses stay far inside 64 bits."""
Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_PAYLOAD_BYTES)]
Topic = Annotated[str, msgspec.Meta(max_length=128)]


class SlotRef(msgspec.Struct, frozen=True, array_like=True):
    """Where a payload lies in its publisher's ring (`fusion_rt.transport.ring`)."""

    ring: U64
    """Which ring of this publisher: it opens a larger one when a payload outgrows the last."""
    slot: Size
    generation: U64
    """Of the slot when this was published: a later one means that it was overwritten."""
    offset: Size


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """One array: `inline`, in a ring slot, or (with neither) in a frame after the header."""

    dtype: DType
    shape: Annotated[tuple[Size, ...], msgspec.Meta(max_length=6)]
    inline: bytes | None = None
    slot: SlotRef | None = None

    @property
    def nbytes(self) -> int:
        itemsize: int = _DTYPES[self.dtype].itemsize
        return math.prod(self.shape) * itemsize


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """What travels in front of every message."""

    version: int
    topic: Topic
    node: Topic
    """Name of the publishing node."""
    incarnation: U64
    """Drawn anew each time the publisher starts."""
    seq: Seq
    """Counts the publisher's messages on this topic from 0: a jump is a loss."""
    stamp_ns: StampNs
    sent_ns: StampNs
    body: msgspec.Raw
    """The message without its arrays, which stand as their index into `payloads`."""
    payloads: Annotated[tuple[Payload, ...], msgspec.Meta(max_length=MAX_PAYLOADS)] = ()
    watermark_ns: StampNs | None = None
    """The publisher will send nothing with an older stamp; None when it cannot say."""
    fingerprint: U64 = 0
    """Of the first payload's content (`fusion_rt.kernels.fingerprint`); 0 when not taken."""
    trace: Annotated[tuple[tuple[Topic, StampNs], ...], msgspec.Meta(max_length=32)] = ()
    """Stage and the time it was left, in the order of the flow."""


_header_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(Header)
# msgspec lets UnicodeDecodeError (a ValueError) and RecursionError of hostile input through.
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


def encode_header(header: Header) -> bytes:
    """Msgpack map of the header's fields, defaults left out."""
    return _header_encoder.encode(header)


def decode_header(data: bytes | bytearray | memoryview) -> Header | Drop:
    """The header in `data`, or why it is none."""
    if len(data) > MAX_HEADER_BYTES:
        return Drop.MALFORMED
    try:
        header = _header_decoder.decode(data)
    except _DECODE_ERRORS:
        return Drop.MALFORMED
    if header.version != WIRE_VERSION:
        return Drop.WRONG_VERSION
    return header


def describe(array: Array, inline: bytes | None = None, slot: SlotRef | None = None) -> Payload:
    """The descriptor of an array: inline, in a slot, or (neither) in a frame of its own."""
    name = _DTYPE_NAMES.get(array.dtype)
    if name is None:
        raise TypeError(f"payload: expected one of {', '.join(_DTYPES)}, got {array.dtype.str}")
    return Payload(name, array.shape, inline, slot)


def array_from_bytes(payload: Payload, data: Array | bytes | memoryview) -> Array | Drop:
    """The payload's array on exactly its bytes, not copied; read-only where they are."""
    size = len(data) if isinstance(data, bytes) else data.nbytes
    return _array_on(payload, data, 0) if size == payload.nbytes else Drop.BAD_DESCRIPTOR


def array_in_slot(payload: Payload, memory: Array, offset: int) -> Array | Drop:
    """The payload's array at `offset` of a slot's bytes, not copied; read-only where they are."""
    fits = offset + payload.nbytes <= memory.nbytes
    return _array_on(payload, memory, offset) if fits else Drop.BAD_DESCRIPTOR


def _array_on(payload: Payload, memory: Array | bytes | memoryview, offset: int) -> Array | Drop:
    try:
        return np.ndarray(payload.shape, _DTYPES[payload.dtype], memory, offset)
    except ValueError:  # no bytes at all, yet dimensions whose product overflows
        return Drop.BAD_DESCRIPTOR


class MessageCodec:
    """Bodies of one message type. Not thread-safe: one per publisher or subscriber."""

    def __init__(self, message: type[Message]) -> None:
        self._arrays: list[Array] = []
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._index_of)
        self._decoder = msgspec.msgpack.Decoder(message, dec_hook=self._array_at)

    def encode(self, message: Message) -> tuple[bytes, list[Array]]:
        """The body, and the arrays that its indices stand for."""
        self._arrays = []
        body = self._encoder.encode(message)
        return body, self._arrays

    def decode(self, body: msgspec.Raw, arrays: Sequence[Array]) -> Message | Drop:
        """The message; its arrays are those given, not copies."""
        self._arrays = list(arrays)
        try:
            message: Message = self._decoder.decode(body)
        except _DECODE_ERRORS:
            return Drop.INVALID
        finally:
            self._arrays = []
        return message if message.problem() is None else Drop.INVALID

    def _index_of(self, array: object) -> int:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"expected ndarray, got {type(array).__name__}")
        self._arrays.append(array)
        return len(self._arrays) - 1

    def _array_at(self, _type: Callable[..., Any], index: object) -> Array:
        if type(index) is not int or not 0 <= index < len(self._arrays):
            raise ValueError(f"expected an index below {len(self._arrays)}, got {index!r}")
        return self._arrays[index]
