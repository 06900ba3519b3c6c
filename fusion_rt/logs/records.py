"""MCAP's record layer, read without trust: nothing is allocated or believed by a length that was
not checked against the bytes at hand.

The specification: https://mcap.dev/spec
"""

import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple, Protocol, TypeVar

import lz4.frame
import msgspec
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode

MAGIC = b"\x89MCAP0\r\n"
FOOTER_BYTES = 9 + 20 + len(MAGIC)
MAX_CHUNK_BYTES = 4 << 30
"""Of an uncompressed chunk: what a compressed one may claim."""

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
_U64 = struct.Struct("<Q")
_PARSE_ERRORS = (struct.error, McapError, ValueError, OverflowError)

R = TypeVar("R", covariant=True)


class Damage(Exception):
    """Bytes that are not what MCAP says; caught where a reader goes on without them."""


class _Record(Protocol[R]):
    @staticmethod
    def read(stream: ReadDataStream) -> R: ...


class Place(NamedTuple):
    """Where a record's content lies in a file."""

    opcode: int
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


class RawMessage(NamedTuple):
    """A message record; `data` is a view of its chunk."""

    channel_id: int
    seq: int
    log_ns: int
    publish_ns: int
    data: memoryview


class ChunkPlace(msgspec.Struct, frozen=True):
    """Where messages lie: a chunk, or messages that stand outside of any."""

    start_ns: int
    """Smallest log time."""
    end_ns: int
    """Largest log time."""
    offset: int
    """Of the records, compressed where it is."""
    size: int
    uncompressed_size: int
    compression: str
    crc: int
    """0 when not taken."""
    channels: frozenset[int] | None
    """Whose messages it holds; None when nobody has looked."""


def read_at(fd: int, offset: int, size: int) -> bytes:
    """Exactly those bytes; raises Damage where the file ends before."""
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    if len(data) < size:
        raise Damage(f"ends {size - len(data)} bytes too early")
    return data


def places(fd: int, start: int, end: int) -> Iterator[Place]:
    """The records between two offsets, their content unread; raises Damage where one is cut."""
    while start < end:
        if end - start < _RECORD.size:
            raise Damage(f"ends inside the record at byte {start}")
        opcode, size = _RECORD.unpack(read_at(fd, start, _RECORD.size))
        place = Place(opcode, start + _RECORD.size, size)
        if place.end > end:
            raise Damage(f"ends inside the record at byte {start}")
        yield place
        start = place.end


def parsed(kind: type[_Record[R]], content: bytes | memoryview) -> R:
    """A record of the library's own types; raises Damage."""
    try:
        return kind.read(ReadDataStream(BytesIO(content)))
    except _PARSE_ERRORS as error:
        raise Damage(f"holds a damaged record ({error or type(error).__name__})") from error


def chunk_place(fd: int, place: Place, size: int) -> ChunkPlace:
    """The chunk whose record stands at `place`, of whose content `size` bytes are there."""
    head = read_at(fd, place.start, min(size, _CHUNK.size))
    if len(head) < _CHUNK.size:
        raise Damage(f"ends inside the head of the chunk at byte {place.start}")
    start_ns, end_ns, uncompressed, crc, name_size = _CHUNK.unpack(head)
    offset = place.start + _CHUNK.size + name_size + _U64.size
    left = place.start + size - offset
    if name_size > 16 or left < 0:
        raise Damage(f"ends inside the head of the chunk at byte {place.start}")
    rest = read_at(fd, place.start + _CHUNK.size, name_size + _U64.size)
    compression = rest[:name_size].decode("ascii", "replace")
    stated = _U64.unpack(rest[name_size:])[0]
    records = min(stated, left)
    return ChunkPlace(start_ns, end_ns, offset, records, uncompressed, compression, crc, None)


def chunk_records(fd: int, chunk: ChunkPlace, *, check_crc: bool) -> bytes:
    """The chunk's records; raises Damage."""
    data = read_at(fd, chunk.offset, chunk.size)
    if chunk.compression:
        data = _decompressed(data, chunk)
    if check_crc and chunk.crc and zlib.crc32(data) != chunk.crc:
        raise Damage(f"chunk at byte {chunk.offset}: its checksum is another")
    return data


def records_in(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Opcode and content of the records of a chunk; raises Damage where one is cut."""
    view, at = memoryview(data), 0
    while at < len(view):
        if at + _RECORD.size > len(view):
            raise Damage("ends inside a record")
        opcode, size = _RECORD.unpack_from(view, at)
        at += _RECORD.size
        if at + size > len(view):
            raise Damage("ends inside a record")
        yield opcode, view[at : at + size]
        at += size


def message_from(content: memoryview) -> RawMessage:
    if len(content) < _MESSAGE.size:
        raise Damage("holds a message that is too short")
    channel_id, seq, log_ns, publish_ns = _MESSAGE.unpack_from(content)
    return RawMessage(channel_id, seq, log_ns, publish_ns, content[_MESSAGE.size :])


def messages_in(data: bytes) -> Iterator[RawMessage]:
    """The messages of a chunk, in its order; raises Damage."""
    for opcode, content in records_in(data):
        if opcode == Opcode.MESSAGE:
            yield message_from(content)


def _decompressed(data: bytes, chunk: ChunkPlace) -> bytes:
    if chunk.uncompressed_size > MAX_CHUNK_BYTES:
        raise Damage(f"chunk at byte {chunk.offset}: claims {chunk.uncompressed_size} bytes")
    try:
        if chunk.compression == "lz4":
            return bytes(lz4.frame.decompress(data))
        if chunk.compression == "zstd":
            decompressor = zstandard.ZstdDecompressor()
            return decompressor.decompress(data, max_output_size=chunk.uncompressed_size)
    except (RuntimeError, zstandard.ZstdError) as error:
        raise Damage(f"chunk at byte {chunk.offset}: cannot be decompressed ({error})") from error
    raise Damage(f'chunk at byte {chunk.offset}: unknown compression "{chunk.compression}"')
