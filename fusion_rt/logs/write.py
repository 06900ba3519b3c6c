"""Writes a log: MCAP, Foxglove's schemas, with the rig and its calibration inside.

MCAP's log time is when a message was received, its publish time when it was sent; a message's own
stamp stands in its schema's `timestamp`. Publisher and incarnation are in the channel's metadata: a
publisher that starts again gets a channel of its own.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from google.protobuf.message import Message as Protobuf

from fusion_rt import __version__
from fusion_rt.errors import LogError
from fusion_rt.logs import display, own
from fusion_rt.logs.disk import DiskFile
from fusion_rt.logs.entry import aside_of
from fusion_rt.logs.mcap_file import CHUNK_BYTES, Compression, McapFile
from fusion_rt.logs.protobuf import schema_bytes
from fusion_rt.logs.rig import NO_RIG, LoggedRig
from fusion_rt.logs.schemas import Format, format_for
from fusion_rt.messages import Detections
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.wire import Header

FORMAT_VERSION = 1
"""Of what we put into MCAP; a reader refuses later ones."""
PROFILE = "fusion_rt"
METADATA = "fusion_rt"
"""Name of the metadata record that says what wrote the file, from which rig."""
OWN = "fusion_rt/"
"""Start of the topics that are ours and no messages: ledgers, transforms, what to display."""
TRANSFORMS = f"{OWN}transforms"
CAMERA_MODEL = f"{OWN}camera_model/"
SCENE = f"{OWN}scene/"

_SEQ_BITS = 32  # of MCAP's sequence


class Encoded(msgspec.Struct, frozen=True):
    """A message ready to be written, that shares memory with nobody."""

    header: Header
    recv_ns: int
    kind: Format
    data: bytes
    scene: bytes | None
    """For display, beside detections."""


def encoded(received: Received, frame: str) -> Encoded:
    """Copies what the message holds, once; raises KeyError for types that are not logged."""
    message = received.message
    kind = format_for(message)
    data = kind.encode(message, frame, aside_of(received.header))
    is_shown = isinstance(message, Detections)
    scene = display.scene(message).SerializeToString() if is_shown else None  # type: ignore[arg-type]
    return Encoded(received.header, received.recv_ns, kind, data, scene)


class LogWriter:
    """Writes one new file within a `with`, which makes it whole; single-threaded."""

    def __init__(
        self,
        file: Path | DiskFile,
        rig: LoggedRig = NO_RIG,
        *,
        compression: Compression = "none",
        chunk_bytes: int = CHUNK_BYTES,
        notes: dict[str, str] | None = None,
    ) -> None:
        """`notes` go into the metadata. A chunk is what a reader must load to see a message."""
        self._file = file if isinstance(file, DiskFile) else DiskFile(file)
        self._rig = rig
        self._notes = notes or {}
        self._writer = McapFile(self._file, compression, chunk_bytes)
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str | int, ...], int] = {}
        self._is_begun = self._is_broken = False
        self.counts: Counter[str] = Counter()
        """Messages written, by topic."""
        self._writer.start(PROFILE, f"fusion_rt {__version__}")

    def write(self, received: Received) -> None:
        """One message, in the order of receipt for whoever reads without an index."""
        self.write_encoded(encoded(received, self._rig.frame_of(received.header.topic)))

    def write_encoded(self, one: Encoded) -> None:
        if not self._is_begun:
            self._begin(one.recv_ns)
        header = one.header
        channel = self._channel_of(header, one.kind)
        self._add(channel, one.data, one.recv_ns, header.sent_ns, header.seq)
        self.counts[header.topic] += 1
        if one.scene is not None:
            channel = self._protobuf_channel(SCENE + header.topic, SceneUpdate)
            self._add(channel, one.scene, one.recv_ns, header.sent_ns, header.seq)

    def write_row(self, topic: str, row: msgspec.Struct, log_ns: int) -> None:
        """A struct of our own as JSON, on a topic that starts with OWN."""
        kind = type(row)
        name = f"fusion_rt.{kind.__name__}"
        schema = self._schema(name, "jsonschema", lambda: own.json_schema(kind))
        channel = self._channel((topic,), topic, "json", schema, {})
        self._add(channel, msgspec.json.encode(row), log_ns, log_ns, 0)

    def note(self, name: str, values: dict[str, str]) -> None:
        """A metadata record, for what is known only after the head was written."""
        with self._noting_failure():
            self._writer.add_metadata(name, values)

    @property
    def size(self) -> int:
        """Bytes of the file so far; what waits in the open chunk is not among them."""
        return self._file.size

    def flush(self) -> None:
        """End the open chunk and hand it to the system: what was written so far survives us."""
        with self._noting_failure():
            self._writer.flush()

    def sync(self) -> None:
        """As flush, and return once it would survive a power cut."""
        self.flush()
        with self._noting_failure():
            self._file.sync()

    def close(self) -> None:
        """Make the file whole; one that could not be written keeps what it has, unfinished."""
        try:
            if not self._is_begun and not self._is_broken:
                self._begin(0)
            if not self._is_broken:
                with self._noting_failure():
                    self._writer.finish()
        finally:
            self._file.close()

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """A file cannot go on after a write that failed."""
        try:
            yield
        except LogError:
            self._is_broken = True
            raise

    def _begin(self, log_ns: int) -> None:
        """What stands at the head, stamped with the first message."""
        self._is_begun = True
        rig = self._rig
        about = {
            "format": str(FORMAT_VERSION),
            "version": __version__,
            "rig": rig.name,
            "rig_digest": rig.digest,
            **self._notes,
        }
        with self._noting_failure():
            self._writer.add_metadata(METADATA, about)
            for name, raw in rig.files.items():
                self._writer.add_attachment(log_ns, log_ns, name, "application/yaml", raw)
        if rig.base_from:
            self._show(TRANSFORMS, display.transforms(rig.base_from, log_ns), log_ns)
        for frame, camera in rig.cameras.items():
            model = display.camera_calibration(camera, frame, log_ns)
            self._show(CAMERA_MODEL + frame, model, log_ns)

    def _show(self, topic: str, message: Protobuf, log_ns: int) -> None:
        channel = self._protobuf_channel(topic, type(message))
        self._add(channel, message.SerializeToString(), log_ns, log_ns, 0)

    def _add(self, channel: int, data: bytes, log_ns: int, sent_ns: int, seq: int) -> None:
        with self._noting_failure():
            self._writer.add_message(channel, log_ns, data, sent_ns, seq & ((1 << _SEQ_BITS) - 1))

    def _channel_of(self, header: Header, kind: Format) -> int:
        epoch = header.seq >> _SEQ_BITS
        key = (header.topic, kind.schema, header.node, header.incarnation, epoch)
        if key in self._channels:
            return self._channels[key]
        schema = self._schema(kind.schema, kind.schema_encoding, lambda: kind.definition)
        about = {"node": header.node, "incarnation": str(header.incarnation)}
        if epoch:
            about["seq_epoch"] = str(epoch)
        return self._channel(key, header.topic, kind.encoding, schema, about)

    def _protobuf_channel(self, topic: str, kind: type[Protobuf]) -> int:
        schema = self._schema(kind.DESCRIPTOR.full_name, "protobuf", lambda: schema_bytes(kind))
        return self._channel((topic,), topic, "protobuf", schema, {})

    def _channel(
        self,
        key: tuple[str | int, ...],
        topic: str,
        encoding: str,
        schema: int,
        about: dict[str, str],
    ) -> int:
        if key not in self._channels:
            self._channels[key] = self._writer.add_channel(topic, encoding, schema, about)
        return self._channels[key]

    def _schema(self, name: str, encoding: str, definition: Callable[[], bytes]) -> int:
        if name not in self._schemas:
            self._schemas[name] = self._writer.add_schema(name, encoding, definition())
        return self._schemas[name]
