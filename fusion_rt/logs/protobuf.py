"""The little of protobuf's wire format that lets a large payload pass without being copied.

A payload is put behind the other fields when writing, and cut out before parsing when reading;
everything else is left to the protobuf library.
"""

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def schema_bytes(message: type[Message]) -> bytes:
    """The FileDescriptorSet of a message class: dependencies first, as MCAP asks for."""
    files: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            add(dependency)
        files.setdefault(file.name, file)

    add(message.DESCRIPTOR.file)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return bytes(found.SerializeToString())


def field_start(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of a field of bytes."""
    return _varint(number << 3 | _LENGTH) + _varint(size)


def split_field(data: memoryview, number: int) -> tuple[bytes, memoryview]:
    """The message without its fields of bytes `number`, and a view of the last of them.

    Raises ValueError where `data` is not protobuf.
    """
    rest: list[memoryview] = []
    found = data[:0]
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at)
        body, at = _field_end(data, at, tag & 7)
        if tag == (number << 3 | _LENGTH):
            found = data[body:at]
        else:
            rest.append(data[start:at])
    return b"".join(rest), found


def _field_end(data: memoryview, at: int, wire_type: int) -> tuple[int, int]:
    """Where the field's value begins and ends."""
    if wire_type == _VARINT:
        return at, _read_varint(data, at)[1]
    if wire_type == _LENGTH:
        size, at = _read_varint(data, at)
    elif wire_type in (_FIXED32, _FIXED64):
        size = 4 if wire_type == _FIXED32 else 8
    else:
        raise ValueError(f"expected wire type 0, 1, 2 or 5, got {wire_type}")
    if at + size > len(data):
        raise ValueError(f"expected {size} bytes, got {len(data) - at}")
    return at, at + size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError("expected a varint of at most 10 bytes")
