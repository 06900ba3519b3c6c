"""Reads a log back as it was received: one file, or a folder of the parts of one run.

Order is total: by time of receipt, then topic, then sequence number. What cannot be read is
counted by cause and told, never raised, once the log is open.
"""

import heapq
import itertools
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec
from mcap.records import Channel, Schema

from fusion_rt.errors import LogError, TopicError
from fusion_rt.logs.entry import entry
from fusion_rt.logs.index import Index, index_of, read_attachment, read_metadata
from fusion_rt.logs.records import ChunkPlace, Damage, RawMessage, chunk_records, messages_in
from fusion_rt.logs.schemas import DECODE_ERRORS, FORMATS
from fusion_rt.logs.write import FORMAT_VERSION, METADATA, OWN
from fusion_rt.messages import MAX_STAMP_NS, Message
from fusion_rt.topics import topic_kind
from fusion_rt.transport.inbox import Received

_NOTHING: Mapping[str, str] = MappingProxyType({})
Row = TypeVar("Row", bound=msgspec.Struct)


class Stream(msgspec.Struct, frozen=True):
    """One topic of a log."""

    topic: str
    schema: str
    messages: int
    problem: str = ""
    """Why its messages are not ours to replay; empty when they are."""


class _File(msgspec.Struct, frozen=True, eq=False):
    path: Path
    fd: int
    index: Index
    about: Mapping[str, str]
    names: dict[int, str]
    """Topic by channel id: looked up for every message."""


class _Raw(NamedTuple):
    """A message as it lies in the log; compares in the order of replay."""

    log_ns: int
    topic: str
    seq: int
    number: int
    """Tells apart what is equal so far, in the order of the file."""
    file: _File
    message: RawMessage


class LogReader:
    """An open log. Close it, or use it in a `with`; messages stay valid after that."""

    def __init__(self, path: Path, *, check_crc: bool = False) -> None:
        """`check_crc` compares every checksum, which reads the whole log once.

        Raises LogError where there is no log that this version reads.
        """
        self.path = path
        self.undecodable: Counter[str] = Counter()
        """Messages that are not what their schema says, by topic."""
        self.unreadable: list[str] = []
        """Chunks left out while reading, one sentence each."""
        self._files: list[_File] = []
        try:
            for file in _parts(path):
                self._files.append(_opened(file, check_crc=check_crc))
        except BaseException:
            self.close()
            raise

    @property
    def about(self) -> Mapping[str, str]:
        """What the log says of itself (`fusion_rt.logs.write.METADATA`); empty in others' logs."""
        return self._files[0].about

    @property
    def is_finished(self) -> bool:
        """Whether every part was closed by its writer."""
        return all(file.index.is_finished for file in self._files)

    @property
    def damages(self) -> list[str]:
        """What is wrong with the files, one sentence each."""
        return [
            f"{file.path.name}: {damage}" for file in self._files for damage in file.index.damages
        ]

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [file.path for file in self._files]

    @property
    def start_ns(self) -> int:
        """First receipt; 0 in an empty log."""
        return min((chunk.start_ns for _, chunk in self._chunks()), default=0)

    @property
    def end_ns(self) -> int:
        """Last receipt; 0 in an empty log."""
        return max((chunk.end_ns for _, chunk in self._chunks()), default=0)

    def streams(self) -> dict[str, Stream]:
        """Every topic, also those that are not ours to replay."""
        found: dict[str, Stream] = {}
        for file in self._files:
            for number, channel in file.index.channels.items():
                stream = _stream(channel, file.index)
                before = found.get(channel.topic)
                count = file.index.counts[number] + (before.messages if before else 0)
                found[channel.topic] = msgspec.structs.replace(stream, messages=count)
        return dict(sorted(found.items()))

    def attachment(self, name: str) -> bytes | None:
        """The first attachment of that name."""
        for file in self._files:
            for place in file.index.attachments:
                try:
                    found = read_attachment(file.fd, place)
                except Damage:
                    continue
                if found.name == name:
                    return found.data
        return None

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[Received]:
        """What was received from `start_ns` on and before `end_ns`, on all topics or some.

        Arrays are read-only views of the log's chunks. Topics that are not ours are left out.
        """
        ours = {topic for topic, stream in self.streams().items() if not stream.problem}
        for raw in self._raw(ours if topics is None else ours & set(topics), start_ns, end_ns):
            if (received := self._decoded(raw)) is not None:
                yield received

    def rows(self, topic: str, kind: type[Row]) -> Iterator[Row]:
        """What was written with `LogWriter.write_row`, in order."""
        for raw in self._raw({topic}, None, None):
            try:
                yield msgspec.json.decode(raw.message.data, type=kind)
            except DECODE_ERRORS:
                self.undecodable[topic] += 1

    def close(self) -> None:
        for file in self._files:
            os.close(file.fd)
        self._files = []

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _chunks(self) -> Iterator[tuple[_File, ChunkPlace]]:
        for file in self._files:
            for chunk in file.index.chunks:
                yield file, chunk

    def _raw(
        self, topics: Collection[str], start_ns: int | None, end_ns: int | None
    ) -> Iterator[_Raw]:
        """In the order of replay. Holds only the chunks whose time has come."""
        low, high = start_ns or 0, MAX_STAMP_NS + 1 if end_ns is None else end_ns
        chunks = [
            (chunk.start_ns, number, file, chunk)
            for number, (file, chunk) in enumerate(self._chunks())
            if chunk.end_ns >= low and chunk.start_ns < high and _holds(file, chunk, topics)
        ]
        heapq.heapify(chunks)
        waiting: list[_Raw] = []
        numbers = itertools.count()
        while chunks or waiting:
            while chunks and (not waiting or chunks[0][0] <= waiting[0].log_ns):
                _, _, file, chunk = heapq.heappop(chunks)
                for topic, message in self._wanted(file, chunk, topics, low, high):
                    raw = _Raw(message.log_ns, topic, message.seq, next(numbers), file, message)
                    heapq.heappush(waiting, raw)
            if waiting:
                yield heapq.heappop(waiting)

    def _wanted(
        self, file: _File, chunk: ChunkPlace, topics: Collection[str], low: int, high: int
    ) -> Iterator[tuple[str, RawMessage]]:
        for message in self._read(file, chunk):
            topic = file.names.get(message.channel_id, "")
            if topic in topics and low <= message.log_ns < high:
                yield topic, message

    def _read(self, file: _File, chunk: ChunkPlace) -> Iterator[RawMessage]:
        try:
            yield from messages_in(chunk_records(file.fd, chunk, check_crc=False))
        except Damage as damage:
            self.unreadable.append(f"{file.path.name}: {damage}")

    def _decoded(self, raw: _Raw) -> Received | None:
        channel = raw.file.index.channels[raw.message.channel_id]
        schema = raw.file.index.schemas[channel.schema_id]
        try:
            message, aside = FORMATS[schema.name].decode(raw.message.data)
            if _is_other(message, channel.topic):
                raise ValueError(f"{type(message).__name__} on {channel.topic}")
            epoch = int(channel.metadata.get("seq_epoch", 0))
            return entry(
                channel.topic,
                message,
                seq=raw.message.seq + (epoch << 32),
                sent_ns=raw.message.publish_ns,
                recv_ns=raw.log_ns,
                node=channel.metadata.get("node", ""),
                incarnation=int(channel.metadata.get("incarnation", 0)),
                aside=aside,
            )
        except DECODE_ERRORS:
            self.undecodable[channel.topic] += 1
            return None


def _is_other(message: Message, topic: str) -> bool:
    return type(message) is not topic_kind(topic).message or message.problem() is not None


def _parts(path: Path) -> list[Path]:
    """The file, or the folder's parts in their order."""
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.mcap"))
    if not files:
        there = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise LogError(str(path), f"expected a folder with .mcap files, it holds {there}")
    return files


def _opened(path: Path, *, check_crc: bool) -> _File:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LogError(str(path), f"cannot be read ({error.strerror})") from error
    try:
        index = index_of(fd, path, check_crc=check_crc)
        about = _about(fd, index)
        if (version := about.get("format", "0")) > str(FORMAT_VERSION):
            problem = f"expected format {FORMAT_VERSION} or earlier, got {version}"
            writer = about.get("version", "of unknown version")
            raise LogError(str(path), problem, f"written by fusion_rt {writer}: update to it")
        names = {number: channel.topic for number, channel in index.channels.items()}
        return _File(path, fd, index, about, names)
    except OSError as error:
        os.close(fd)
        raise LogError(str(path), f"cannot be read ({error.strerror})") from error
    except BaseException:
        os.close(fd)
        raise


def _about(fd: int, index: Index) -> Mapping[str, str]:
    for place in index.metadata:
        try:
            metadata = read_metadata(fd, place)
        except Damage:
            continue
        if metadata.name == METADATA:
            return metadata.metadata
    return _NOTHING


def _holds(file: _File, chunk: ChunkPlace, topics: Collection[str]) -> bool:
    """Whether the chunk may hold messages of these topics."""
    return chunk.channels is None or any(file.names.get(c) in topics for c in chunk.channels)


def _stream(channel: Channel, index: Index) -> Stream:
    schema: Schema | None = index.schemas.get(channel.schema_id)
    name = schema.name if schema else ""
    return Stream(channel.topic, name, 0, _problem(channel, name))


def _problem(channel: Channel, schema: str) -> str:
    if channel.topic.startswith(OWN):
        return "the recorder's own"
    try:
        kind = topic_kind(channel.topic)
    except TopicError as error:
        return error.problem
    if schema not in FORMATS:
        return f"expected a schema of {kind.message.__name__}, got {schema or 'none'}"
    encoding = FORMATS[schema].encoding
    if channel.message_encoding != encoding:
        return f"expected {encoding}, got {channel.message_encoding}"
    return ""
