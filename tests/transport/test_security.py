"""Across hosts: who holds an allowed key hears everything, everybody else nothing."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import pytest
import zmq
import zmq.utils.monitor

from fusion_rt.clock import NS_PER_MS, RigClock
from fusion_rt.errors import KeyFileError, PublisherError
from fusion_rt.session import Session, TcpSource
from fusion_rt.transport.publisher import Publisher, TcpOffer
from fusion_rt.transport.security import (
    ALLOWED,
    be_client,
    be_server,
    create_keys,
    load_own_keys,
    load_public_key,
)
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import CAMERA, GPS, camera_frame, gps_fix, is_whole
from tests.transport.waiting import join, open_files, receive, until

ANY_PORT = "tcp://127.0.0.1:*"


@pytest.fixture
def vehicle(tmp_path: Path) -> Path:
    """Keys of the host that publishes."""
    create_keys(tmp_path / "vehicle", "vehicle")
    return tmp_path / "vehicle"


@pytest.fixture
def station(tmp_path: Path, vehicle: Path) -> Path:
    """Keys of a host that the vehicle allows."""
    public = create_keys(tmp_path / "station", "station")
    shutil.copy(public, vehicle / ALLOWED)
    return tmp_path / "station"


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Keys of a host that nobody allows."""
    create_keys(tmp_path / "stranger", "stranger")
    return tmp_path / "stranger"


@pytest.fixture
def camera(session: Session, clock: RigClock, vehicle: Path, station: Path) -> Iterator[Publisher]:
    assert station
    with Publisher(CAMERA, session, clock, offer=TcpOffer(ANY_PORT, vehicle)) as own:
        yield own


def address_of(publisher: Publisher) -> str:
    return publisher._audiences[1]._socket.get_string(zmq.LAST_ENDPOINT)


def source(publisher: Publisher, vehicle: Path, own: Path) -> TcpSource:
    return TcpSource(address_of(publisher), str(vehicle / "vehicle.key"), str(own))


def hearing(session: Session, source: TcpSource) -> Session:
    """The session as of the other host, which has the camera from here."""
    return msgspec.structs.replace(session, sources={CAMERA: source})


def test_a_host_that_is_allowed_receives_whole_messages(
    session: Session, clock: RigClock, camera: Publisher, vehicle: Path, station: Path
) -> None:
    there = hearing(session, source(camera, vehicle, station))
    with Subscriber([CAMERA], there, clock, queue_depth=100) as subscriber:
        join(camera, subscriber, camera_frame(0))
        for number in range(1, 6):
            camera.publish(camera_frame(number))
            received = receive(subscriber)
            assert received.header.stamp_ns == number
            assert is_whole(received.message)
            assert not received.message.image.flags.writeable
        assert not subscriber.strays
    assert camera.counters["ring_full"] == 0


def test_a_subscriber_hears_local_and_remote_topics(
    session: Session, clock: RigClock, camera: Publisher, vehicle: Path, station: Path
) -> None:
    there = hearing(session, source(camera, vehicle, station))
    with (
        Publisher(GPS, session, clock) as gps,
        Subscriber([CAMERA, GPS], there, clock) as subscriber,
    ):
        join(gps, subscriber, gps_fix(1))
        join(camera, subscriber, camera_frame(2))
        camera.publish(camera_frame(3))
        gps.publish(gps_fix(4))
        assert {receive(subscriber).header.topic for _ in range(2)} == {CAMERA, GPS}


def test_a_host_that_is_not_allowed_hears_nothing(
    session: Session, clock: RigClock, camera: Publisher, vehicle: Path, stranger: Path
) -> None:
    there = hearing(session, source(camera, vehicle, stranger))
    with Subscriber([CAMERA], there, clock) as subscriber:
        assert_hears_nothing(camera, subscriber)


def test_a_host_whose_server_is_another_hears_nothing(
    session: Session, clock: RigClock, camera: Publisher, station: Path, stranger: Path
) -> None:
    other = TcpSource(address_of(camera), str(stranger / "stranger.key"), str(station))
    there = hearing(session, other)
    with Subscriber([CAMERA], there, clock) as subscriber:
        assert_hears_nothing(camera, subscriber)


def assert_hears_nothing(camera: Publisher, subscriber: Subscriber) -> None:
    for number in range(100):
        camera.publish(camera_frame(number))
        assert subscriber.receive(5 * NS_PER_MS) is None
    assert not camera._audiences[1].has_plain


def test_a_client_without_keys_is_refused(camera: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as plain:
        plain.subscribe("")
        assert fate_of(plain, address_of(camera)) == zmq.EVENT_DISCONNECTED
        camera.publish(camera_frame(1))
        assert not camera._audiences[1].has_plain


def test_a_client_with_an_allowed_key_is_admitted(
    camera: Publisher, vehicle: Path, station: Path
) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as client:
        be_client(client, load_own_keys(station), load_public_key(vehicle / "vehicle.key"))
        assert fate_of(client, address_of(camera)) == zmq.EVENT_HANDSHAKE_SUCCEEDED


def fate_of(client: zmq.Socket, address: str) -> int:
    """Whether the client's handshake succeeds or it is thrown out."""
    wanted = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
    with client.get_monitor_socket(wanted) as events:
        client.connect(address)
        assert events.poll(10_000), "expected a handshake, got silence"
        event: int = zmq.utils.monitor.recv_monitor_message(events)["event"]
        client.disable_monitor()
    return event


def test_without_a_guard_a_server_admits_nobody(vehicle: Path, station: Path) -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.XPUB) as server,
        context.socket(zmq.SUB) as client,
    ):
        be_server(server, load_own_keys(vehicle))
        server.bind(ANY_PORT)
        be_client(client, load_own_keys(station), load_public_key(vehicle / "vehicle.key"))
        assert fate_of(client, server.get_string(zmq.LAST_ENDPOINT)) == zmq.EVENT_DISCONNECTED


_ZMQ_PAYLOADS = {"|u1": np.uint8, "<f4": np.float32}


def test_any_zeromq_and_msgpack_library_reads_header_and_payload(
    session: Session, clock: RigClock
) -> None:
    with (
        Publisher(CAMERA, session, clock, "nodes.camera") as camera,
        zmq.Context() as context,
        context.socket(zmq.SUB) as plain,
    ):
        plain.subscribe(CAMERA)
        plain.connect(session.endpoint(CAMERA))
        until(lambda: (camera.publish(camera_frame(9)), plain.poll(5))[1], "a message")
        topic, packed, *frames = plain.recv_multipart()
        header = msgpack.unpackb(packed)
        assert topic.decode() == header["topic"] == CAMERA
        assert (header["version"], header["node"], header["stamp_ns"]) == (1, "nodes.camera", 9)
        described = header["payloads"][header["body"]["image"]]
        image = np.frombuffer(frames[0], _ZMQ_PAYLOADS[described["dtype"]])
        assert (image.reshape(described["shape"]) == 9).all()
        assert header["body"]["encoding"] == "mono8"
        assert camera._slots.ring is None, "nobody reads a ring, so none is filled"


def test_plain_and_lane_subscribers_hear_the_same(session: Session, clock: RigClock) -> None:
    with (
        Publisher(GPS, session, clock) as gps,
        Subscriber([GPS], session, clock) as subscriber,
        zmq.Context() as context,
        context.socket(zmq.SUB) as plain,
    ):
        plain.subscribe(GPS)
        plain.connect(session.endpoint(GPS))
        until(lambda: (gps.publish(gps_fix(1)), plain.poll(5))[1], "a plain message")
        join(gps, subscriber, gps_fix(1))
        gps.publish(gps_fix(2))
        assert receive(subscriber).header.stamp_ns == 2
        until(lambda: msgpack.unpackb(plain.recv_multipart()[1])["stamp_ns"] == 2, "the same")


def test_keys_can_be_made_once(tmp_path: Path) -> None:
    public = create_keys(tmp_path / "keys", "host")
    assert public == tmp_path / "keys" / "host.key"
    assert (tmp_path / "keys" / "host.key_secret").stat().st_mode & 0o777 == 0o600
    assert load_own_keys(tmp_path / "keys").public == load_public_key(public)
    with pytest.raises(KeyFileError, match="holds a key pair already; remove it first"):
        create_keys(tmp_path / "keys", "host")


def test_a_directory_without_a_secret_key_is_refused(tmp_path: Path) -> None:
    expected = r"expected one \*\.key_secret file, got 0; make one with `fusion-rt keys"
    with pytest.raises(KeyFileError, match=expected):
        load_own_keys(tmp_path)


def test_a_secret_key_that_others_can_read_is_refused(vehicle: Path) -> None:
    (vehicle / "vehicle.key_secret").chmod(0o640)
    with pytest.raises(KeyFileError, match="others can read it; run chmod 600"):
        load_own_keys(vehicle)


@pytest.mark.parametrize(
    ("content", "problem"),
    [("garbage", "No public key found"), (None, "expected a secret key, got a public one")],
)
def test_a_damaged_secret_key_is_refused(vehicle: Path, content: str | None, problem: str) -> None:
    secret = vehicle / "vehicle.key_secret"
    secret.write_text(content or (vehicle / "vehicle.key").read_text())
    with pytest.raises(KeyFileError, match=problem):
        load_own_keys(vehicle)


def test_a_missing_public_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"copy the other host's \.key file here"):
        load_public_key(tmp_path / "vehicle.key")


def test_an_offer_without_allowed_keys_is_refused_and_leaves_nothing(
    session: Session, clock: RigClock, vehicle: Path
) -> None:
    assert_refused(session, clock, vehicle, "expected at least one .key file, got none")


def test_an_offer_with_a_damaged_allowed_key_is_refused_and_leaves_nothing(
    session: Session, clock: RigClock, vehicle: Path
) -> None:
    (vehicle / ALLOWED / "damaged.key").write_text("garbage")
    assert_refused(session, clock, vehicle, "No public key found")


def assert_refused(session: Session, clock: RigClock, keys: Path, problem: str) -> None:
    before = open_files()
    with pytest.raises(KeyFileError, match=problem):
        Publisher(CAMERA, session, clock, offer=TcpOffer(ANY_PORT, keys))
    gc.collect()
    assert open_files() == before


def test_an_address_that_cannot_be_bound_is_refused_and_leaves_nothing(
    session: Session, clock: RigClock, camera: Publisher, vehicle: Path
) -> None:
    taken = TcpOffer(address_of(camera), vehicle)
    before = open_files()
    with pytest.raises(PublisherError, match=r"cannot be offered at tcp://127\.0\.0\.1:.*in use"):
        Publisher(GPS, session, clock, offer=taken)
    gc.collect()
    assert open_files() == before


def test_a_subscriber_without_keys_is_refused_and_leaves_nothing(
    session: Session, clock: RigClock, camera: Publisher, vehicle: Path, tmp_path: Path
) -> None:
    there = hearing(session, source(camera, vehicle, tmp_path / "nothing"))
    before = open_files()
    with pytest.raises(KeyFileError, match="expected one"):
        Subscriber([CAMERA], there, clock)
    gc.collect()
    assert open_files() == before
