"""Makes a whole log of what is left of one, and states what was lost.

Every chunk whose checksum holds is kept, and of a cut one each whole message.
"""

import os
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from fusion_rt import __version__
from fusion_rt.errors import LogError
from fusion_rt.logs.disk import DiskFile
from fusion_rt.logs.index import Index, index_of, read_attachment, read_metadata
from fusion_rt.logs.mcap_file import McapFile
from fusion_rt.logs.records import Damage, RawMessage, chunk_records, messages_in
from fusion_rt.logs.write import PROFILE


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of one file."""

    was_finished: bool
    damages: list[str]
    """What could not be read, one sentence each."""
    messages: dict[str, int]
    """By topic."""
    missing: dict[str, int]
    """Sequence numbers that are not there, between the first and the last of each publisher."""
    ends_ns: dict[str, int]
    """Receipt of each topic's last message: what came after it until the end is lost."""

    @property
    def is_whole(self) -> bool:
        return self.was_finished and not self.damages


def recover(source: Path, target: Path) -> Recovered:
    """Raises LogError where `source` is no MCAP file or `target` cannot be written."""
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LogError(str(source), f"cannot be read ({error.strerror})") from error
    try:
        index = index_of(fd, source, check_crc=True)
        file = DiskFile(target)
        try:
            return _Copy(fd, index, file).run()
        finally:
            file.close()
    finally:
        os.close(fd)


class _Copy:
    """Writes what an index leads to into a new file."""

    def __init__(self, fd: int, index: Index, file: DiskFile) -> None:
        self._fd = fd
        self._index = index
        self._damages = list(index.damages)
        self._writer = McapFile(file, "none")
        self._schemas: dict[int, int] = {0: 0}
        self._channels: dict[int, int] = {}
        self._counts: Counter[str] = Counter()
        self._ends_ns: dict[str, int] = {}
        self._seqs: dict[int, set[int]] = defaultdict(set)

    def run(self) -> Recovered:
        self._writer.start(PROFILE, f"fusion_rt {__version__}")
        self._copy_beside()
        for chunk in self._index.chunks:
            try:
                for message in messages_in(chunk_records(self._fd, chunk, check_crc=False)):
                    self._copy(message)
            except Damage as damage:
                self._damages.append(str(damage))
        self._writer.finish()
        return Recovered(
            was_finished=self._index.is_finished,
            damages=self._damages,
            messages=dict(self._counts),
            missing=self._missing(),
            ends_ns=self._ends_ns,
        )

    def _copy_beside(self) -> None:
        """Attachments and metadata."""
        for place in self._index.metadata:
            try:
                metadata = read_metadata(self._fd, place)
                self._writer.add_metadata(metadata.name, metadata.metadata)
            except Damage as damage:
                self._damages.append(str(damage))
        for place in self._index.attachments:
            try:
                found = read_attachment(self._fd, place)
            except Damage as damage:
                self._damages.append(str(damage))
                continue
            self._writer.add_attachment(
                found.create_time, found.log_time, found.name, found.media_type, found.data
            )

    def _copy(self, message: RawMessage) -> None:
        channel = self._index.channels.get(message.channel_id)
        if channel is None:
            problem = f"messages of channel {message.channel_id}, which is described nowhere"
            if problem not in self._damages:
                self._damages.append(problem)
            return
        self._writer.add_message(
            self._channel(message.channel_id),
            message.log_ns,
            message.data,
            message.publish_ns,
            message.seq,
        )
        self._counts[channel.topic] += 1
        self._ends_ns[channel.topic] = max(message.log_ns, self._ends_ns.get(channel.topic, 0))
        self._seqs[message.channel_id].add(message.seq)

    def _channel(self, number: int) -> int:
        if number not in self._channels:
            channel = self._index.channels[number]
            schema = self._schema(channel.schema_id)
            self._channels[number] = self._writer.add_channel(
                channel.topic, channel.message_encoding, schema, channel.metadata
            )
        return self._channels[number]

    def _schema(self, number: int) -> int:
        if number not in self._schemas:
            schema = self._index.schemas.get(number)
            self._schemas[number] = (
                self._writer.add_schema(schema.name, schema.encoding, schema.data) if schema else 0
            )
        return self._schemas[number]

    def _missing(self) -> dict[str, int]:
        missing: Counter[str] = Counter()
        for number, seqs in self._seqs.items():
            if seqs != {0}:  # many writers leave it at that
                missing[self._index.channels[number].topic] += max(seqs) - min(seqs) + 1 - len(seqs)
        return {topic: count for topic, count in missing.items() if count}
