"""Where everything lies in a log file: from its summary, or by walking it when that will not do.

Files that were never finished, and valid ones whose summary leaves things out, are walked once.
"""

import os
from collections import Counter
from pathlib import Path

import msgspec
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    Footer,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)

from fusion_rt.errors import LogError
from fusion_rt.logs.records import (
    FOOTER_BYTES,
    MAGIC,
    ChunkPlace,
    Damage,
    Place,
    chunk_place,
    chunk_records,
    message_from,
    parsed,
    places,
    read_at,
    records_in,
)

_OTHERS = {
    b"#ROSBAG": "a ROS 1 bag; `fusion-rt import` makes a log of it",
    b"SQLite": "a ROS 2 bag; `fusion-rt import` makes a log of it",
    b"\xd4\xc3\xb2\xa1": "a pcap: name it as a driver's `file`",
}


class Index(msgspec.Struct):
    """One file's content, by place."""

    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    chunks: list[ChunkPlace] = []
    attachments: list[Place] = []
    metadata: list[Place] = []
    counts: Counter[int] = msgspec.field(default_factory=Counter)
    """Messages by channel id."""
    is_finished: bool = False
    """Whether its writer came to the end."""
    damages: list[str] = []
    """What cannot be read, one sentence each."""


def index_of(fd: int, path: Path, *, check_crc: bool = False) -> Index:
    """Raises LogError where this is no MCAP file; everything else that is wrong is in the index.

    `check_crc` walks the file and compares every checksum.
    """
    size = os.fstat(fd).st_size
    _check_start(fd, path, size)
    if not check_crc and (index := _from_summary(fd, size)) is not None:
        return index
    return _walked(fd, size, check_crc=check_crc)


def _check_start(fd: int, path: Path, size: int) -> None:
    start = os.pread(fd, len(MAGIC), 0)
    if start == MAGIC:
        return
    way_out = ""
    if size == 0:
        problem = "expected MCAP, the file is empty"
    elif start[:5] == MAGIC[:5] and start[6:] == MAGIC[6:]:
        problem = f"expected MCAP version 0, got version {start[5:6].decode('ascii', 'replace')}"
        way_out = "a newer fusion_rt may read it"
    else:
        problem = f"expected MCAP, the file starts {start.hex(' ')}"
        way_out = next((what for magic, what in _OTHERS.items() if start.startswith(magic)), "")
        way_out = f"it is {way_out}" if way_out else ""
    raise LogError(str(path), problem, way_out)


def _from_summary(fd: int, size: int) -> Index | None:
    """None where there is no summary, or one that does not tell all."""
    if size < len(MAGIC) + FOOTER_BYTES:
        return None
    try:
        end = read_at(fd, size - FOOTER_BYTES, FOOTER_BYTES)
        if not end.endswith(MAGIC) or end[0] != Opcode.FOOTER:
            return None
        footer = parsed(Footer, end[9 : -len(MAGIC)])
        if not len(MAGIC) < footer.summary_start <= size - FOOTER_BYTES:
            return None
        return _summary(fd, footer.summary_start, size - FOOTER_BYTES)
    except Damage:
        return None


def _summary(fd: int, start: int, end: int) -> Index | None:
    index = Index(is_finished=True)
    statistics: Statistics | None = None
    told = 0  # bytes of the data section that the summary accounts for
    for opcode, content in records_in(read_at(fd, start, end - start)):
        match opcode:
            case Opcode.SCHEMA:
                schema = parsed(Schema, content)
                index.schemas[schema.id] = schema
            case Opcode.CHANNEL:
                channel = parsed(Channel, content)
                index.channels[channel.id] = channel
            case Opcode.STATISTICS:
                statistics = parsed(Statistics, content)
            case Opcode.CHUNK_INDEX:
                chunk = parsed(ChunkIndex, content)
                index.chunks.append(_indexed_chunk(chunk))
                told += chunk.chunk_length + chunk.message_index_length
            case Opcode.ATTACHMENT_INDEX:
                attachment = parsed(AttachmentIndex, content)
                index.attachments.append(_content(Opcode.ATTACHMENT, attachment))
                told += attachment.length
            case Opcode.METADATA_INDEX:
                metadata = parsed(MetadataIndex, content)
                index.metadata.append(_content(Opcode.METADATA, metadata))
                told += metadata.length
    header = next(places(fd, len(MAGIC), start))
    data_end = 13
    is_all = statistics is not None and header.end + told + data_end == start
    if statistics is None or not is_all or not _is_complete(index, statistics):
        return None
    index.counts.update(statistics.channel_message_counts)
    return index


def _is_complete(index: Index, statistics: Statistics) -> bool:
    return (
        len(index.channels) == statistics.channel_count
        and len(index.chunks) == statistics.chunk_count
        and statistics.channel_message_counts.keys() <= index.channels.keys()
        and {c.schema_id for c in index.channels.values()} <= {0, *index.schemas}
    )


def _content(opcode: int, record: AttachmentIndex | MetadataIndex) -> Place:
    return Place(opcode, record.offset + 9, record.length - 9)


def _indexed_chunk(index: ChunkIndex) -> ChunkPlace:
    head = 9 + 8 + 8 + 8 + 4 + 4 + len(index.compression.encode()) + 8
    channels = frozenset(index.message_index_offsets) or None
    return ChunkPlace(
        start_ns=index.message_start_time,
        end_ns=index.message_end_time,
        offset=index.chunk_start_offset + head,
        size=index.compressed_size,
        uncompressed_size=index.uncompressed_size,
        compression=index.compression,
        crc=0,  # whoever checks them walks the file
        channels=channels,
    )


def _walked(fd: int, size: int, *, check_crc: bool) -> Index:
    walk = _Walk(fd, check_crc=check_crc)
    try:
        for place in places(fd, len(MAGIC), size):
            walk.take(place)
            if place.opcode == Opcode.FOOTER:
                walk.index.is_finished = read_at(fd, place.end, len(MAGIC)) == MAGIC
                break
    except Damage as damage:
        walk.take_cut(size)
        walk.index.damages.append(str(damage))
    walk.end_run()
    return walk.index


class _Walk:
    """Collects an index record by record."""

    def __init__(self, fd: int, *, check_crc: bool) -> None:
        self.index = Index()
        self._fd = fd
        self._check_crc = check_crc
        self._end = len(MAGIC)
        self._run: list[Place] = []
        """Messages outside of chunks, one after another."""
        self._is_data = True

    def take(self, place: Place) -> None:
        self._end = place.end
        if not self._is_data:  # the summary repeats what we have
            return
        if place.opcode == Opcode.MESSAGE:
            self._run.append(place)
            return
        self.end_run()
        try:
            self._take_other(place)
        except Damage as damage:
            self.index.damages.append(str(damage))

    def take_cut(self, size: int) -> None:
        """The record that the end of the file cuts: of an uncompressed chunk its messages."""
        start = self._end + 9
        if not self._is_data or start >= size:
            return
        if os.pread(self._fd, 1, self._end) == bytes([Opcode.CHUNK]):
            self.end_run()
            try:
                self._take_chunk(chunk_place(self._fd, Place(Opcode.CHUNK, start, 0), size - start))
            except Damage as damage:
                self.index.damages.append(str(damage))

    def end_run(self) -> None:
        if not self._run:
            return
        run, self._run = self._run, []
        start, end = run[0].start - 9, run[-1].end
        place = ChunkPlace(0, 0, start, end - start, end - start, "", 0, None)
        self._take_chunk(place)

    def _take_other(self, place: Place) -> None:
        content = (place.start, place.size)
        match place.opcode:
            case Opcode.SCHEMA:
                schema = parsed(Schema, read_at(self._fd, *content))
                self.index.schemas[schema.id] = schema
            case Opcode.CHANNEL:
                channel = parsed(Channel, read_at(self._fd, *content))
                self.index.channels[channel.id] = channel
            case Opcode.CHUNK:
                self._take_chunk(chunk_place(self._fd, place, place.size))
            case Opcode.ATTACHMENT:
                self.index.attachments.append(place)
            case Opcode.METADATA:
                self.index.metadata.append(place)
            case Opcode.DATA_END:
                self._is_data = False

    def _take_chunk(self, chunk: ChunkPlace) -> None:
        """Look at all messages of a chunk; what is behind a damage in it is left out."""
        times: list[int] = []
        found: Counter[int] = Counter()
        is_cut = chunk.size < chunk.uncompressed_size and not chunk.compression
        data = chunk_records(self._fd, chunk, check_crc=self._check_crc and not is_cut)
        whole = 0
        try:
            for opcode, content in records_in(data):
                self._take_inner(opcode, content, times, found)
                whole += 9 + len(content)
        except Damage as damage:
            if not is_cut:  # where the file ends is said once
                self.index.damages.append(f"chunk at byte {chunk.offset}: {damage}")
        if not times:
            return
        size = chunk.size if chunk.compression else whole
        self.index.counts.update(found)
        self.index.chunks.append(
            msgspec.structs.replace(
                chunk,
                start_ns=min(times),
                end_ns=max(times),
                size=size,
                channels=frozenset(found),
            )
        )

    def _take_inner(
        self, opcode: int, content: memoryview, times: list[int], found: Counter[int]
    ) -> None:
        if opcode == Opcode.MESSAGE:
            message = message_from(content)
            times.append(message.log_ns)
            found[message.channel_id] += 1
        elif opcode == Opcode.SCHEMA:
            schema = parsed(Schema, content)
            self.index.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = parsed(Channel, content)
            self.index.channels[channel.id] = channel


def read_attachment(fd: int, place: Place) -> Attachment:
    """Raises Damage."""
    attachment: Attachment = parsed(Attachment, read_at(fd, place.start, place.size))
    return attachment


def read_metadata(fd: int, place: Place) -> Metadata:
    """Raises Damage."""
    metadata: Metadata = parsed(Metadata, read_at(fd, place.start, place.size))
    return metadata
