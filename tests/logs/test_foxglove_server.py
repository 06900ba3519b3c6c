"""The server, with a plain WebSocket client that speaks Foxglove's protocol."""

import json
import struct
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms

from fusion_rt.errors import FoxgloveError
from fusion_rt.logs.entry import entry
from fusion_rt.logs.foxglove_server import FoxgloveServer, serve_session
from fusion_rt.logs.options import FoxgloveOptions
from fusion_rt.logs.rig import NO_RIG, logged_rig
from fusion_rt.logs.schemas import FORMATS
from fusion_rt.logs.write import SCENE, TRANSFORMS
from fusion_rt.messages import CameraFrame, Detections, GpsFix, Message
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.session import Setup, start_session
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.publisher import Publisher

client_module = pytest.importorskip("websockets.sync.client", reason="needs websockets")
pytest.importorskip("foxglove", reason="needs the extra `foxglove`")

_MESSAGE_DATA = 1


class Client:
    """Subscribes to topics by name and takes their messages apart."""

    def __init__(self, port: int) -> None:
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            client_module.connect(
                f"ws://127.0.0.1:{port}", subprotocols=["foxglove.sdk.v1"], max_size=None
            )
        )
        self.channels: dict[str, dict[str, Any]] = {}
        self._subscribed: dict[int, str] = {}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def subscribe(self, topic: str) -> None:
        while topic not in self.channels:
            self._take()
        number = len(self._subscribed) + 1
        self._subscribed[number] = topic
        wanted = {"id": number, "channelId": self.channels[topic]["id"]}
        self._socket.send(json.dumps({"op": "subscribe", "subscriptions": [wanted]}))

    def receive(self) -> tuple[str, int, bytes]:
        """Topic, log time and data of the next message."""
        while (message := self._take()) is None:
            pass
        return message

    def _take(self) -> tuple[str, int, bytes] | None:
        raw = self._socket.recv(timeout=10)
        if isinstance(raw, bytes):
            opcode, number, log_ns = struct.unpack_from("<BIQ", raw)
            return (self._subscribed[number], log_ns, raw[13:]) if opcode == _MESSAGE_DATA else None
        told = json.loads(raw)
        if told["op"] == "advertise":
            self.channels.update({channel["topic"]: channel for channel in told["channels"]})
        return None


def received(topic: str, message: Message, seq: int = 0) -> Received:
    return entry(topic, message, seq=seq, sent_ns=message.stamp_ns, recv_ns=message.stamp_ns + 7)


def fix(stamp_ns: int) -> GpsFix:
    return GpsFix(stamp_ns=stamp_ns, fix="3d", latitude_deg=49.5)


def sent_until_received(server: FoxgloveServer, client: Client, one: Received) -> tuple[Any, ...]:
    """What came of the first sending that the client's subscription was in time for."""
    found: list[tuple[Any, ...]] = []
    reader = threading.Thread(target=lambda: found.append(client.receive()))
    reader.start()
    while reader.is_alive():
        server.write(one)
        reader.join(0.05)
    return found[0]


def test_a_client_gets_the_bytes_that_a_log_would_hold() -> None:
    with FoxgloveServer(NO_RIG, "test", 0) as server:
        one = received("gps/main", fix(5_000_000_000))
        server.write(one)
        with Client(server.port) as client:
            client.subscribe("gps/main")
            topic, log_ns, data = sent_until_received(server, client, one)
            channel = client.channels["gps/main"]
    assert (topic, log_ns) == ("gps/main", 5_000_000_007)
    assert (channel["schemaName"], channel["encoding"]) == ("foxglove.LocationFix", "protobuf")
    message, _ = FORMATS["foxglove.LocationFix"].decode(memoryview(data))
    assert isinstance(message, GpsFix)
    assert message.latitude_deg == 49.5


def test_what_nobody_looks_at_is_not_encoded() -> None:
    with FoxgloveServer(NO_RIG, "test", 0) as server:
        for n in range(3):
            server.write(received("gps/main", fix(n), n))
        assert server.counters == {"unwatched": 3}


def test_detections_come_with_their_boxes_in_3d() -> None:
    boxes = np.array([[10, 2, 0, 4, 2, 1.5, 0, 0, 0]], np.float32)
    found = Detections(
        stamp_ns=1,
        boxes=boxes,
        scores=np.array([0.9], np.float32),
        class_ids=np.zeros(1, np.uint8),
        classes=("car",),
    )
    one = received("detections/fused", found)
    with FoxgloveServer(NO_RIG, "test", 0) as server:
        server.write(one)
        with Client(server.port) as client:
            client.subscribe(SCENE + "detections/fused")
            topic, _, data = sent_until_received(server, client, one)
            assert client.channels["detections/fused"]["schemaName"] == "fusion_rt.Detections"
    assert topic == SCENE + "detections/fused"
    assert len(data) > 50


def test_those_who_come_late_still_learn_where_the_sensors_sit() -> None:
    rig = logged_rig(load_rig(find_rig("demo")))
    with FoxgloveServer(rig, "demo", 0) as server:
        server.tick(0)
        with Client(server.port) as client:
            client.subscribe(TRANSFORMS)
            found: list[Any] = []
            reader = threading.Thread(target=lambda: found.append(client.receive()))
            reader.start()
            now_ns = 0
            while reader.is_alive():
                now_ns += 2_000_000_000
                server.tick(now_ns)
                reader.join(0.05)
    frames = {one.child_frame_id for one in FrameTransforms.FromString(found[0][2]).transforms}
    assert {"camera_front", "lidar_top", "audio_array", "gps_main"} == frames


def test_a_port_that_is_taken_is_said() -> None:
    with (
        FoxgloveServer(NO_RIG, "one", 0) as server,
        pytest.raises(FoxgloveError, match=r"cannot serve at 127.0.0.1:\d+: .*; another port"),
    ):
        FoxgloveServer(NO_RIG, "other", server.port)


@pytest.mark.process
def test_a_running_rig_is_served_by_its_own_topics() -> None:
    demo = load_rig(find_rig("demo"))
    image = np.zeros((8, 8, 3), np.uint8)
    ports: list[int] = []
    is_over = threading.Event()
    with (
        tempfile.TemporaryDirectory() as short,
        start_session(
            Path(short, "run"),
            "demo",
            Setup(
                sensors={"camera/front": {"driver": "synthetic"}},
                files=dict(logged_rig(demo).files),
            ),
        ) as session,
        Publisher("camera/front", session, session.clock()) as publisher,
    ):
        counters: Counter[str] = Counter()
        server = threading.Thread(
            target=serve_session,
            args=(session, FoxgloveOptions(port=0), lambda: not is_over.is_set(), counters),
            kwargs={"tell": ports.append},
        )
        server.start()
        publishing = threading.Thread(target=_publish, args=(publisher, image, is_over))
        publishing.start()
        try:
            while not ports:
                server.join(0.01)
            with Client(ports[0]) as client:
                client.subscribe("camera/front")
                topic, _, data = client.receive()
        finally:
            is_over.set()
            publishing.join()
            server.join()
    assert topic == "camera/front"
    message, _ = FORMATS["foxglove.RawImage"].decode(memoryview(data))
    assert isinstance(message, CameraFrame)
    assert message.image.shape == (8, 8, 3)
    assert counters["shown"] >= 1


def _publish(publisher: Publisher, image: np.ndarray, is_over: threading.Event) -> None:
    stamp_ns = 1
    while not is_over.wait(0.02):
        stamp_ns += 20_000_000
        publisher.publish(
            CameraFrame(stamp_ns=stamp_ns, encoding="bgr8", width=8, height=8, image=image)
        )
