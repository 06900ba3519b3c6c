"""Opens the bags of ROS 1 and ROS 2, files and folders, as one kind of thing.

The storage files of a ROS 2 bag are opened one by one: given the folder, rosbags 0.11 matches
topics by their QoS and silently finds no messages in bags whose metadata writes it differently.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
import yaml

from fusion_rt.drivers.port import from_extra
from fusion_rt.ros.storage import (
    MCAP_MAGIC,
    SQLITE_MAGIC,
    StorageError,
    Stored,
    StoredTopic,
    open_storage,
)
from fusion_rt.ros.types import AUDIO_COMMON, VISION

if TYPE_CHECKING:
    from rosbags.rosbag1 import Reader
    from rosbags.typesys.store import Typestore

ROS1_MAGIC = b"#ROSBAG"
_METADATA = "metadata.yaml"
_MOST_METADATA = 4 << 20
_DAMAGES = (
    *(OSError, ValueError, LookupError, EOFError, AssertionError, ArithmeticError),
    *(TypeError, AttributeError, RuntimeError, MemoryError, struct.error),
)
"""What rosbags lets through where the bytes are not what they should be."""


class BagTopic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic of a whole bag."""

    name: str
    type: str
    count: int
    """As the storage's index has it."""
    encoding: str = "cdr"


class Bag(Protocol):
    """A bag that is open."""

    format: str
    topics: dict[str, BagTopic]
    stated: dict[str, int]
    """Messages per topic as the bag's metadata states them; empty where there is none."""

    span_ns: int
    """From the first arrival to the last."""

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        """Those of some topics, in order of arrival."""
        ...

    def decoded(self, topic: str, data: bytes) -> Any:
        """The message as an object with the fields of its type.

        Raises ValueError for bytes that are no such message, and for types nobody defines.
        """
        ...


def is_bag(path: Path) -> bool:
    """Whether `path` is a bag, or a folder with the files of one."""
    if path.is_dir():
        return bool(_storage_files(path))
    with path.open("rb") as file:
        return file.read(16).startswith((ROS1_MAGIC, SQLITE_MAGIC, MCAP_MAGIC))


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """A .bag, .db3 or .mcap file, or the folder of a ROS 2 bag; raises StorageError or OSError."""
    with ExitStack() as opened:
        if path.is_file():
            with path.open("rb") as file:
                is_ros1 = file.read(len(ROS1_MAGIC)) == ROS1_MAGIC
            if is_ros1:
                yield opened.enter_context(_open_ros1(path))
                return
        yield opened.enter_context(_open_ros2(path))


def _storage_files(path: Path) -> list[Path]:
    """In the order in which they were recorded: the last number of their names."""

    def number(file: Path) -> tuple[int, str]:
        last = file.stem.rpartition("_")[2]
        return (int(last) if last.isdigit() else 0, file.name)

    files = [file for file in path.iterdir() if file.suffix in (".db3", ".mcap")]
    return sorted(files, key=number)


@contextmanager
def _open_ros2(path: Path) -> Iterator[Bag]:
    files = _storage_files(path) if path.is_dir() else [path]
    if not files:
        there = ", ".join(sorted(file.name for file in path.iterdir())) or "nothing"
        raise StorageError(f"{path}: expected a bag with .db3 or .mcap files, it holds {there}")
    metadata = _metadata(path)
    if metadata.get("compression_mode"):
        compression = f"{metadata['compression_mode']} {metadata.get('compression_format')}"
        raise StorageError(
            f"{path}: expected a bag without compression of its own, got {compression}; "
            "`ros2 bag convert` writes it again without"
        )
    stated = _stated_topics(metadata)
    formats = {row.name: row.encoding for row in stated}
    yield _Ros2Bag(files, formats, {row.name: row.count for row in stated})


def _metadata(path: Path) -> dict[str, Any]:
    file = path / _METADATA
    if not path.is_dir() or not file.exists():
        return {}
    try:
        with file.open("rb") as opened:
            tree = yaml.safe_load(opened.read(_MOST_METADATA))
        return cast(dict[str, Any], dict(tree["rosbag2_bagfile_information"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise StorageError(f"{file}: expected the metadata of a ROS 2 bag; {what}") from error


def _stated_topics(metadata: dict[str, Any]) -> list[BagTopic]:
    try:
        return [
            BagTopic(
                name=row["topic_metadata"]["name"],
                type=row["topic_metadata"]["type"],
                count=int(row["message_count"]),
                encoding=row["topic_metadata"]["serialization_format"],
            )
            for row in metadata.get("topics_with_message_count") or ()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{_METADATA}: expected topics_with_message_count, each with a name, a type, "
            "a serialization_format and a message_count"
        ) from error


class _Ros2Bag:
    format = "ROS 2 bag"

    def __init__(
        self, files: Sequence[Path], encodings: dict[str, str], stated: dict[str, int]
    ) -> None:
        self._files = files
        self.stated = stated
        self.topics: dict[str, BagTopic] = {}
        self._definitions: dict[str, str] = {}
        spans: list[int] = []
        for file in files:
            with open_storage(file) as storage:
                spans += storage.span_ns or ()
                for name, topic in storage.topics.items():
                    self._add(topic, encodings.get(name, topic.encoding))
        self.span_ns = max(spans) - min(spans) if spans else 0
        self._store = ros2_types(self._definitions)

    def _add(self, topic: StoredTopic, encoding: str) -> None:
        before = self.topics.get(topic.name)
        count = topic.count + (before.count if before else 0)
        self.topics[topic.name] = BagTopic(
            name=topic.name, type=topic.type, count=count, encoding=encoding
        )
        if topic.definition:
            self._definitions[topic.type] = topic.definition

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        for file in self._files:
            with open_storage(file) as storage:
                yield from storage.messages([name for name in topics if name in storage.topics])

    def decoded(self, topic: str, data: bytes) -> Any:
        kind = self.topics[topic].type
        with _telling(kind):
            return self._store.deserialize_cdr(data, kind)


@contextmanager
def _open_ros1(path: Path) -> Iterator[Bag]:
    with from_extra("import"):
        from rosbags.rosbag1 import Reader, ReaderError
    damages = (ReaderError, *_DAMAGES)
    try:
        reader = Reader(path)
        reader.open()
    except damages as error:
        raise StorageError(f"{path}: expected a whole ROS 1 bag; {_first_line(error)}") from error
    try:
        yield _Ros1Bag(path, reader, damages)
    finally:
        reader.close()


class _Ros1Bag:
    format = "ROS 1 bag"

    def __init__(self, path: Path, reader: "Reader", damages: tuple[type[Exception], ...]) -> None:
        self._path = path
        self._reader = reader
        self._damages = damages
        self._store, self.topics = _empty_store(), dict[str, BagTopic]()
        for connection in reader.connections:
            _register(self._store, connection.msgtype, connection.msgdef.data)
            before = self.topics.get(connection.topic)
            self.topics[connection.topic] = BagTopic(
                name=connection.topic,
                type=connection.msgtype,
                count=connection.msgcount + (before.count if before else 0),
                encoding="ros1",
            )
        self.span_ns = reader.duration
        self.stated = {name: topic.msgcount for name, topic in reader.topics.items()}

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        chosen = [one for one in self._reader.connections if one.topic in set(topics)]
        if not chosen:
            return
        try:
            for connection, recv_ns, data in self._reader.messages(chosen):
                yield Stored(connection.topic, recv_ns, data)
        except self._damages as error:
            raise StorageError(
                f"{self._path}: expected a whole ROS 1 bag; {_first_line(error)}"
            ) from error

    def decoded(self, topic: str, data: bytes) -> Any:
        kind = self.topics[topic].type
        with _telling(kind):
            return self._store.deserialize_ros1(data, kind)


@contextmanager
def _telling(kind: str) -> Iterator[None]:
    from rosbags.serde import SerdeError

    try:
        yield
    except (SerdeError, *_DAMAGES) as error:
        raise ValueError(f"no {kind}") from error


def ros2_types(definitions: dict[str, str]) -> "Typestore":
    """The types of a current ROS 2, those beside it, and those a bag defines itself."""
    with from_extra("import"):
        from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.LATEST)
    for kind, text in {**AUDIO_COMMON, **VISION, **definitions}.items():
        if kind not in store.fielddefs:
            _register(store, kind, text)
    return store


def _empty_store() -> "Typestore":
    with from_extra("import"):
        from rosbags.typesys import Stores, get_typestore
    return get_typestore(Stores.EMPTY)


def _register(store: "Typestore", kind: str, text: str) -> None:
    """Add a type and those its text defines beside it; a text that is no definition adds none."""
    from rosbags.typesys import TypesysError, get_types_from_msg

    try:
        types = get_types_from_msg(text, kind)
        store.register({name: fields for name, fields in types.items() if name not in store.types})
    except (TypesysError, *_DAMAGES):
        return  # its messages are then of a type that nobody defines, and counted


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
