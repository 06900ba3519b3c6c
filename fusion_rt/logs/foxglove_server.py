"""Serves what passes to the Foxglove app, live: the very channels that a log would hold.

On loopback only: there are no keys. Channels that nobody looks at are not even encoded.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from google.protobuf.message import Message as Protobuf

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import FoxgloveError
from fusion_rt.logs import display
from fusion_rt.logs.options import FoxgloveOptions
from fusion_rt.logs.protobuf import schema_bytes
from fusion_rt.logs.recorder import FUSED_TOPIC
from fusion_rt.logs.rig import NO_RIG, LoggedRig, logged_rig, rig_from, sensed
from fusion_rt.logs.schemas import format_for
from fusion_rt.logs.write import CAMERA_MODEL, SCENE, TRANSFORMS, encoded
from fusion_rt.messages import Detections
from fusion_rt.session import Session
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.subscriber import Subscriber

HOST = "127.0.0.1"
_BACKLOG = 32
"""Messages kept for a client that reads slowly, before its oldest is dropped: a raw frame each."""
_RIG_PERIOD_NS = NS_PER_S
"""Foxglove's protocol repeats nothing to those who come later, so we do."""
_WAIT_NS = 50 * NS_PER_MS


class FoxgloveServer:
    """Serves clients within a `with`; `write` never waits for any of them."""

    def __init__(self, rig: LoggedRig, name: str, port: int) -> None:
        """Raises FoxgloveError where the port is taken."""
        with from_extra("foxglove"):
            import foxglove
        self._foxglove = foxglove
        self._rig = rig
        self._context = foxglove.Context()
        self._channels: dict[tuple[str, str], Any] = {}
        self._rig_due_ns = 0
        self.counters: Counter[str] = Counter()
        """`shown` and `unwatched`, in messages."""
        try:
            self._server = foxglove.start_server(
                name=name,
                host=HOST,
                port=port,
                context=self._context,
                message_backlog_size=_BACKLOG,
            )
        except (RuntimeError, OSError) as error:
            raise FoxgloveError(HOST, port, str(error)) from error

    @property
    def port(self) -> int:
        return int(self._server.port)

    def __enter__(self) -> "FoxgloveServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def write(self, received: Received) -> None:
        """One message, to whoever looks at its topic."""
        header, message = received.header, received.message
        how = format_for(message)
        channel = self._channel(
            header.topic, how.schema, how.schema_encoding, how.encoding, how.definition
        )
        is_shown = isinstance(message, Detections)
        scene = self._shape(SCENE + header.topic, SceneUpdate) if is_shown else None
        if not channel.has_sinks() and (scene is None or not scene.has_sinks()):
            self.counters["unwatched"] += 1
            return
        one = encoded(received, self._rig.frame_of(header.topic))
        channel.log(one.data, log_time=one.recv_ns)
        if scene is not None and one.scene is not None:
            scene.log(one.scene, log_time=one.recv_ns)
        self.counters["shown"] += 1

    def tick(self, now_ns: int) -> None:
        """Show where the sensors sit, once a second."""
        if now_ns < self._rig_due_ns:
            return
        self._rig_due_ns = now_ns + _RIG_PERIOD_NS
        if self._rig.base_from:
            self._show(TRANSFORMS, display.transforms(self._rig.base_from, now_ns), now_ns)
        for frame, camera in self._rig.cameras.items():
            model = display.camera_calibration(camera, frame, now_ns)
            self._show(CAMERA_MODEL + frame, model, now_ns)

    def _show(self, topic: str, message: Protobuf, now_ns: int) -> None:
        self._shape(topic, type(message)).log(message.SerializeToString(), log_time=now_ns)

    def _shape(self, topic: str, kind: type[Protobuf]) -> Any:
        name = kind.DESCRIPTOR.full_name
        if (topic, name) not in self._channels:
            return self._channel(topic, name, "protobuf", "protobuf", schema_bytes(kind))
        return self._channels[topic, name]

    def _channel(
        self, topic: str, schema: str, schema_encoding: str, encoding: str, definition: bytes
    ) -> Any:
        """Advertised from then on; a camera that changes its encoding gets another."""
        if (topic, schema) not in self._channels:
            self._channels[topic, schema] = self._foxglove.Channel(
                topic,
                schema=self._foxglove.Schema(
                    name=schema, encoding=schema_encoding, data=definition
                ),
                message_encoding=encoding,
                context=self._context,
            )
        return self._channels[topic, schema]


def serve_session(
    session: Session,
    options: FoxgloveOptions,
    is_running: Callable[[], bool],
    counters: Counter[str],
    topics: Iterable[str] = (),
    tell: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve a running rig until `is_running` says no; `tell` is told the port.

    Takes the newest of each topic and drops the rest, as any consumer; raises FoxgloveError.
    """
    clock = session.clock()
    rig = logged_rig(rig_from(session.files, Path(session.run_dir))) if session.files else NO_RIG
    wanted = tuple(topics) or (*sensed(session), FUSED_TOPIC, HEALTH_TOPIC)
    with (
        Subscriber(wanted, session, clock) as inbox,
        FoxgloveServer(rig, session.rig, options.port) as server,
    ):
        tell(server.port)
        while is_running():
            if (received := inbox.receive(_WAIT_NS)) is not None:
                server.write(received)
            server.tick(clock.now_ns())
            counters.update(server.counters)
            server.counters.clear()
