"""Writes MCAP's record layer: chunks go to the file from the bytes that messages were given as.

The library's writer copies a message four times on its way, which is most of what recording raw
pictures costs. Its types of records are used here; `fusion_rt.logs.records` reads the same layer.

The specification: https://mcap.dev/spec
"""

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import lz4.frame
import zstandard
from mcap import records
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode

from fusion_rt.logs.disk import DiskFile
from fusion_rt.logs.records import MAGIC

Data = bytes | memoryview
Compression = Literal["none", "lz4", "zstd"]
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstandard.compress,
}
_MESSAGE = struct.Struct("<BQHIQQ")
_MESSAGE_HEAD = 2 + 4 + 8 + 8  # of it, what counts as the record's content
CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 16_384
"""What is smaller is cheaper to copy than to hand over by itself."""


class _Writable(Protocol):
    def write(self, stream: RecordBuilder) -> None: ...


class McapFile:
    """One new file, from `start` to `finish`. Single-threaded; unusable after a failed write."""

    def __init__(
        self, file: DiskFile, compression: Compression, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self._file = file
        self._compression = "" if compression == "none" else compression
        self._chunk_bytes = chunk_bytes
        self._chunk = _Chunk()
        self._schemas: list[records.Schema] = []
        self._channels: list[records.Channel] = []
        self._counts: Counter[int] = Counter()
        self._chunks: list[records.ChunkIndex] = []
        self._attachments: list[records.AttachmentIndex] = []
        self._metadata: list[records.MetadataIndex] = []

    def start(self, profile: str, library: str) -> None:
        """From then on whoever looks at the file sees what it is."""
        self._file.write(MAGIC, _bytes_of(records.Header(profile=profile, library=library)))
        self._file.flush()

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Its id."""
        schema = records.Schema(len(self._schemas) + 1, data=data, encoding=encoding, name=name)
        self._schemas.append(schema)
        self._chunk.add(_bytes_of(schema))
        return schema.id

    def add_channel(self, topic: str, encoding: str, schema: int, metadata: dict[str, str]) -> int:
        """Its id."""
        channel = records.Channel(
            id=len(self._channels) + 1,
            topic=topic,
            message_encoding=encoding,
            schema_id=schema,
            metadata=metadata,
        )
        self._channels.append(channel)
        self._chunk.add(_bytes_of(channel))
        return channel.id

    def add_message(self, channel: int, log_ns: int, data: Data, sent_ns: int, seq: int) -> None:
        """`data` must stay as it is until the next flush."""
        head = _MESSAGE.pack(
            Opcode.MESSAGE, _MESSAGE_HEAD + len(data), channel, seq, log_ns, sent_ns
        )
        self._chunk.note(channel, log_ns)
        self._chunk.add(head)
        self._chunk.add(data)
        self._counts[channel] += 1
        if self._chunk.size > self._chunk_bytes:
            self._end_chunk()

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        offset = self._file.size
        self._file.write(raw := _bytes_of(records.Metadata(name=name, metadata=values)))
        self._metadata.append(records.MetadataIndex(offset=offset, length=len(raw), name=name))

    def add_attachment(
        self, created_ns: int, log_ns: int, name: str, media_type: str, data: bytes
    ) -> None:
        offset = self._file.size
        attachment = records.Attachment(
            create_time=created_ns, log_time=log_ns, name=name, media_type=media_type, data=data
        )
        self._file.write(raw := _bytes_of(attachment))
        index = records.AttachmentIndex(
            offset=offset,
            length=len(raw),
            create_time=created_ns,
            log_time=log_ns,
            data_size=len(data),
            name=name,
            media_type=media_type,
        )
        self._attachments.append(index)

    def flush(self) -> None:
        """Hand the open chunk to the system; one without messages stays open."""
        self._end_chunk()
        self._file.flush()

    def _end_chunk(self) -> None:
        if not self._chunk.times:
            return
        chunk, self._chunk = self._chunk, _Chunk()
        start = self._file.size
        pieces: Sequence[Data | bytearray] = chunk.pieces
        if self._compression:
            pieces = [_COMPRESS[self._compression](b"".join(pieces))]
        size = sum(map(len, pieces))
        head = chunk.head(self._compression, size)
        chunk_end = start + len(head) + size
        message_index, offsets = chunk.index(chunk_end)
        self._file.write(head, *pieces, message_index)
        self._chunks.append(
            records.ChunkIndex(
                message_start_time=chunk.start_ns,
                message_end_time=chunk.end_ns,
                chunk_start_offset=start,
                chunk_length=chunk_end - start,
                message_index_offsets=offsets,
                message_index_length=len(message_index),
                compression=self._compression,
                compressed_size=size,
                uncompressed_size=chunk.size,
            )
        )

    def finish(self) -> None:
        """The last chunk, the summary and the footer."""
        self._end_chunk()
        self._file.write(_bytes_of(records.DataEnd(data_section_crc=0)))
        start = self._file.size
        summary, groups = RecordBuilder(), []
        for group in self._summary():
            offset = summary.count
            for one in group:
                one.write(summary)
            if group:
                length = summary.count - offset
                opcode = _OPCODES[type(group[0])]
                groups.append(records.SummaryOffset(opcode, start + offset, length))
        offset_start = start + summary.count
        for each in groups:
            each.write(summary)
        raw = _ended(summary)
        footer = _bytes_of(records.Footer(start, offset_start, summary_crc=0))[:-4]
        crc = zlib.crc32(footer, zlib.crc32(raw))
        self._file.write(raw, footer, struct.pack("<I", crc), MAGIC)
        self._file.flush()

    def _summary(self) -> list[list[Any]]:
        starts = [chunk.message_start_time for chunk in self._chunks]
        ends = [chunk.message_end_time for chunk in self._chunks]
        statistics = records.Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=self._counts.total(),
            message_start_time=min(starts, default=0),
            message_end_time=max(ends, default=0),
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )
        return [
            self._schemas,
            self._channels,
            [statistics],
            self._chunks,
            self._attachments,
            self._metadata,
        ]


_OPCODES = {
    records.Schema: Opcode.SCHEMA,
    records.Channel: Opcode.CHANNEL,
    records.Statistics: Opcode.STATISTICS,
    records.ChunkIndex: Opcode.CHUNK_INDEX,
    records.AttachmentIndex: Opcode.ATTACHMENT_INDEX,
    records.MetadataIndex: Opcode.METADATA_INDEX,
}


class _Chunk:
    """Records on their way to the file, in pieces: large ones are kept as they came."""

    def __init__(self) -> None:
        self.pieces: list[Data | bytearray] = []
        self.size = 0
        self.times: dict[int, list[tuple[int, int]]] = {}
        """Log time and offset of the messages, by channel."""

    @property
    def start_ns(self) -> int:
        return min(log_ns for times in self.times.values() for log_ns, _ in times)

    @property
    def end_ns(self) -> int:
        return max(log_ns for times in self.times.values() for log_ns, _ in times)

    def note(self, channel: int, log_ns: int) -> None:
        """The message that is added next."""
        self.times.setdefault(channel, []).append((log_ns, self.size))

    def add(self, raw: Data) -> None:
        self.size += len(raw)
        if len(raw) >= _SMALL_BYTES:
            self.pieces.append(raw)
        elif self.pieces and isinstance(last := self.pieces[-1], bytearray):
            last += raw
        else:
            self.pieces.append(bytearray(raw))

    def head(self, compression: str, size: int) -> bytes:
        """What stands before the records, `size` bytes of them in the file."""
        crc = 0
        for piece in self.pieces:
            crc = zlib.crc32(piece, crc)
        name = compression.encode()
        content = struct.pack("<QQQII", self.start_ns, self.end_ns, self.size, crc, len(name))
        content += name + struct.pack("<Q", size)
        return struct.pack("<BQ", Opcode.CHUNK, len(content) + size) + content

    def index(self, offset: int) -> tuple[bytes, dict[int, int]]:
        """The records that stand behind the chunk, at `offset`, and where each is by channel."""
        built, offsets = RecordBuilder(), {}
        for channel, times in self.times.items():
            offsets[channel] = offset + built.count
            records.MessageIndex(channel_id=channel, records=times).write(built)
        return _ended(built), offsets


def _bytes_of(record: _Writable) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return _ended(builder)


def _ended(builder: RecordBuilder) -> bytes:
    return bytes(builder.end())  # type: ignore[no-untyped-call]
