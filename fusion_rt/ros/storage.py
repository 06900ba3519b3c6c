"""Reads the recorded bytes of ROS 2 bags, sqlite3 and MCAP: what packets and imports start from."""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from mcap.exceptions import McapError
from mcap.reader import McapReader, make_reader
from mcap.summary import Summary
from zstandard import ZstdError

SQLITE_MAGIC = b"SQLite format 3\0"
MCAP_MAGIC = b"\x89MCAP0\r\n"


_DAMAGES = (
    *(McapError, sqlite3.Error, ValueError, LookupError, TypeError, EOFError, AssertionError),
    *(OSError, RuntimeError, ArithmeticError, MemoryError, struct.error, ZstdError),
)
"""What the readers below let through where the bytes are not what they should be."""


class StorageError(ValueError):
    """A file that is not the bag it should be; the sentence says what was expected."""


class StoredTopic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic of a bag, as its storage describes it."""

    name: str
    type: str
    """`sensor_msgs/msg/Image`."""
    encoding: str = "cdr"
    count: int
    definition: str = ""
    """The type's .msg text with those it needs; empty where the bag does not hold it."""


class Stored(NamedTuple):
    """One recorded message."""

    topic: str
    recv_ns: int
    data: bytes


class Storage(Protocol):
    """One file of a bag."""

    topics: dict[str, StoredTopic]
    span_ns: tuple[int, int] | None
    """First and last arrival; None where it holds no messages."""

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        """Those of some topics, in the order in which they were received."""
        ...


@contextmanager
def open_storage(path: Path) -> Iterator[Storage]:
    """One .db3 or .mcap file; raises StorageError, also from within, where it cannot be read."""
    with path.open("rb") as file:
        start = file.read(len(SQLITE_MAGIC))
    if start == SQLITE_MAGIC:
        with _open_sqlite(path) as storage:
            yield storage
    elif start.startswith(MCAP_MAGIC):
        with _open_mcap(path) as storage:
            yield storage
    else:
        begins = start[:4].hex(" ") or "with nothing"
        raise StorageError(f"{path}: expected .db3 or .mcap, it starts {begins}")


@contextmanager
def _open_sqlite(path: Path) -> Iterator[Storage]:
    with_uri = f"file:{path.absolute().as_posix().replace('?', '%3f').replace('#', '%23')}"
    database = sqlite3.connect(f"{with_uri}?mode=ro&immutable=1", uri=True)
    try:
        with _read(path, "a ROS 2 bag"):
            storage = _SqliteStorage(path, database)
        yield storage
    finally:
        database.close()


class _SqliteStorage:
    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database
        definitions = self._definitions()
        columns = self._columns("topics")
        encoding = "serialization_format" if "serialization_format" in columns else "'cdr'"
        (first_ns, last_ns) = database.execute(
            "SELECT min(timestamp), max(timestamp) FROM messages"
        ).fetchone()
        self.span_ns = None if first_ns is None else (first_ns, last_ns)
        self._ids: dict[str, int] = {}
        self.topics: dict[str, StoredTopic] = {}
        rows = database.execute(f"SELECT id, name, type, {encoding} FROM topics ORDER BY id")
        counts = dict(database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
        for identity, name, kind, encoding in rows:
            self._ids[name] = identity
            self.topics[name] = StoredTopic(
                name=name,
                type=kind,
                encoding=encoding,
                count=counts.get(identity, 0),
                definition=definitions.get(kind, ""),
            )

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._database.execute(f"PRAGMA table_info({table})")}

    def _definitions(self) -> dict[str, str]:
        """Bags of ROS 2 Iron and later hold the definitions of their types."""
        if "encoded_message_definition" not in self._columns("message_definitions"):
            return {}
        return dict(
            self._database.execute(
                "SELECT topic_type, encoded_message_definition FROM message_definitions "
                "WHERE encoding = 'ros2msg'"
            )
        )

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        with _read(self._path, "a ROS 2 bag"):
            names = {self._ids[name]: name for name in topics}
            marks = ", ".join("?" * len(names))
            rows = self._database.execute(
                f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) "
                "ORDER BY timestamp, id",
                tuple(names),
            )
            for identity, recv_ns, data in rows:
                yield Stored(names[identity], recv_ns, bytes(data))


@contextmanager
def _open_mcap(path: Path) -> Iterator[Storage]:
    with path.open("rb") as file:
        with _read(path, "a whole MCAP file"):
            reader = make_reader(file)
            summary = reader.get_summary()
            if summary is None:
                raise StorageError(f"{path}: expected a finished MCAP file, it has no summary")
            storage = _McapStorage(path, reader, summary)
        yield storage


class _McapStorage:
    def __init__(self, path: Path, reader: McapReader, summary: Summary) -> None:
        self._path = path
        self._reader = reader
        known = summary.statistics
        counts = known.channel_message_counts if known else {}
        self.span_ns = (
            (known.message_start_time, known.message_end_time)
            if known and known.message_count
            else None
        )
        self.topics: dict[str, StoredTopic] = {}
        for identity, channel in summary.channels.items():
            schema = summary.schemas.get(channel.schema_id)
            if schema is None:
                continue
            before = self.topics.get(channel.topic)  # several publishers: a channel each
            self.topics[channel.topic] = StoredTopic(
                name=channel.topic,
                type=schema.name,
                encoding=channel.message_encoding,
                count=counts.get(identity, 0) + (before.count if before else 0),
                definition=schema.data.decode() if schema.encoding == "ros2msg" else "",
            )

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        with _read(self._path, "a whole MCAP file"):
            for _, channel, message in self._reader.iter_messages(topics=topics):
                yield Stored(channel.topic, message.log_time, message.data)


@contextmanager
def _read(path: Path, expected: str) -> Iterator[None]:
    """Only around what reads: what is wrong with our callers is not to be blamed on the file."""
    try:
        yield
    except StorageError:
        raise
    except _DAMAGES as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise StorageError(f"{path}: expected {expected}; {first}") from error
