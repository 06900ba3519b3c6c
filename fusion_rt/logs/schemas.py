"""Which schema each message is written under, and back: the table that writer and reader share."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.RawAudio_pb2 import RawAudio
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf

from fusion_rt.logs import foxglove, own, protobuf
from fusion_rt.logs.entry import Aside
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    GpsFix,
    LidarSweep,
    Message,
)
from fusion_rt.topics import KINDS

DECODE_ERRORS = (
    msgspec.MsgspecError,
    DecodeError,
    ValueError,
    TypeError,
    KeyError,
    RecursionError,
)
"""What bytes that are not what their schema says may raise from `Format.decode`."""


class Format(msgspec.Struct, frozen=True, eq=False):
    """One kind of message as it stands in a log."""

    schema: str
    """Name of the schema."""
    encoding: Literal["protobuf", "json"]
    """Of the messages, as MCAP calls it."""
    definition: bytes
    """The schema: FileDescriptorSet, or JSON Schema."""
    encode: Callable[[Any, str, Aside], bytes]
    """Of message, frame of reference, and what stands beside."""
    decode: Callable[[memoryview], tuple[Message, Aside]]
    """Arrays are views of the bytes, read-only; raises one of DECODE_ERRORS."""

    @property
    def schema_encoding(self) -> str:
        """As MCAP calls it."""
        return "jsonschema" if self.encoding == "json" else self.encoding


def _wellknown(kind: type[Protobuf], encode: Any, decode: Any) -> Format:
    name, definition = kind.DESCRIPTOR.full_name, protobuf.schema_bytes(kind)
    return Format(name, "protobuf", definition, encode, decode)


def _own(kind: type[Message]) -> Format:
    codec = own.JsonFormat(kind)
    name = f"fusion_rt.{kind.__name__}"
    return Format(name, "json", own.message_schema(kind), codec.encode, codec.decode)


_JPEG = _wellknown(CompressedImage, foxglove.encode_jpeg, foxglove.decode_jpeg)
_IMAGE = _wellknown(RawImage, foxglove.encode_image, foxglove.decode_image)
_BY_MESSAGE: dict[type[Message], Format] = {
    LidarSweep: _wellknown(PointCloud, foxglove.encode_sweep, foxglove.decode_sweep),
    AudioChunk: _wellknown(RawAudio, foxglove.encode_audio, foxglove.decode_audio),
    GpsFix: _wellknown(LocationFix, foxglove.encode_fix, foxglove.decode_fix),
}
_BY_MESSAGE |= {
    row.message: _own(row.message)
    for row in KINDS.values()
    if row.is_logged and row.message not in (CameraFrame, *_BY_MESSAGE)
}
FORMATS = {kind.schema: kind for kind in (_JPEG, _IMAGE, *_BY_MESSAGE.values())}
"""By name of the schema: what the reader knows."""


def format_for(message: Message) -> Format:
    """How a message is written; raises KeyError for a type that is not logged."""
    if isinstance(message, CameraFrame):
        return _JPEG if message.encoding == "jpeg" else _IMAGE
    return _BY_MESSAGE[type(message)]
