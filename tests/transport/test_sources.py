"""Payload sources: claims are held against the memory they point into."""

import socket
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from fusion_rt.transport.drops import Drop
from fusion_rt.transport.lane import RING, Packet, RingAnnouncement
from fusion_rt.transport.ring import RingGeometry, RingWriter
from fusion_rt.transport.sources import MAX_HOLD, FrameSource, LaneSource
from fusion_rt.transport.wire import Payload, SlotRef
from tests.transport.waiting import open_files

RING_NUMBER = 4


@pytest.fixture
def writer() -> Iterator[RingWriter]:
    ring = RingWriter(4, 4096)
    yield ring
    ring.close()


@pytest.fixture
def source(writer: RingWriter) -> Iterator[LaneSource]:
    own = LaneSource(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    assert own.announced(announcement(writer))
    yield own
    own.close()


def announcement(ring: RingWriter, number: int = RING_NUMBER) -> Packet:
    data = msgspec.msgpack.encode(RingAnnouncement(number, ring.geometry))
    return Packet(RING, data, ring.fd)


def written(ring: RingWriter, value: int) -> SlotRef:
    slot = ring.claim()
    assert slot is not None
    ring.view(slot)[:] = value
    return SlotRef(RING_NUMBER, slot, ring.release(slot), 0)


def at(ref: SlotRef, **changes: int) -> SlotRef:
    return msgspec.structs.replace(ref, **changes)


def test_payloads_of_one_slot_are_views_of_it(writer: RingWriter, source: LaneSource) -> None:
    ref = written(writer, 3)
    payloads = [Payload("|u1", (64, 2), slot=ref), Payload("<f4", (5,), slot=at(ref, offset=128))]
    image, points = source.open(payloads)
    assert (image == 3).all()
    assert points.tobytes() == b"\3" * 20
    assert not image.flags.writeable


def test_an_inline_payload_needs_no_ring(source: LaneSource) -> None:
    (array,) = source.open([Payload("<u2", (2,), inline=b"\1\0\2\0")])
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    "lies",
    [
        {"ring": RING_NUMBER + 1},
        {"ring": 2**64 - 1},
        {"slot": 4},
        {"slot": 2**28},
        {"generation": 3},
        {"offset": 4096},
        {"offset": 4096 - 63},
        {"offset": 2**28},
    ],
)
def test_a_descriptor_that_points_elsewhere_is_refused(
    writer: RingWriter, source: LaneSource, lies: dict[str, int]
) -> None:
    payload = Payload("|u1", (64,), slot=at(written(writer, 1), **lies))
    assert source.open([payload]) is Drop.BAD_DESCRIPTOR
    assert writer.claim() is not None


@pytest.mark.parametrize("lies", [{"generation": 4}, {"generation": 0}, {"ring": 3}])
def test_a_descriptor_of_something_older_is_an_overrun(
    writer: RingWriter, source: LaneSource, lies: dict[str, int]
) -> None:
    payload = Payload("|u1", (64,), slot=at(written(writer, 1), **lies))
    assert source.open([payload]) is Drop.OVERRUN


@pytest.mark.parametrize("shape", [(4097,), (2**28,) * 6, (0, 2**28, 2**28, 2**28)])
def test_a_shape_that_does_not_fit_is_refused(
    writer: RingWriter, source: LaneSource, shape: tuple[int, ...]
) -> None:
    payload = Payload("|u1", shape, slot=written(writer, 1))
    assert source.open([payload]) is Drop.BAD_DESCRIPTOR


def test_payloads_in_two_slots_or_nowhere_are_refused(
    writer: RingWriter, source: LaneSource
) -> None:
    first = Payload("|u1", (1,), slot=written(writer, 1))
    second = Payload("|u1", (1,), slot=written(writer, 2))
    nowhere = Payload("|u1", (1,))
    for payloads in ([first, second], [first, nowhere], [nowhere]):
        assert source.open(payloads) is Drop.BAD_DESCRIPTOR


def test_beyond_the_bound_a_message_is_a_private_copy(
    writer: RingWriter, source: LaneSource
) -> None:
    held = [source.open([Payload("|u1", (64,), slot=written(writer, n))])[0] for n in range(4)]
    assert [int(array[0]) for array in held] == [0, 1, 2, 3]
    assert not any(array.flags.writeable for array in held)
    free = {writer.claim() for _ in range(4)} - {None}
    assert len(free) >= 4 - MAX_HOLD
    assert [int(array[0]) for array in held] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([1, [4, 8192]]),
        msgspec.msgpack.encode([1, [2**62, 4096]]),
        msgspec.msgpack.encode([1, [4, -4096]]),
        msgspec.msgpack.encode([1, [4, 2**70 % 2**64]]),
        msgspec.msgpack.encode(["1", [4, 4096]]),
    ],
)
def test_a_ring_other_than_announced_is_not_opened(
    writer: RingWriter, source: LaneSource, data: bytes
) -> None:
    before = open_files()
    assert not source.announced(Packet(RING, data, writer.fd))
    assert open_files() == before


def test_an_announcement_without_a_file_is_none(source: LaneSource) -> None:
    data = msgspec.msgpack.encode(RingAnnouncement(9, RingGeometry(4, 4096)))
    assert not source.announced(Packet(RING, data, None))


def test_only_the_newest_rings_are_kept(writer: RingWriter, source: LaneSource) -> None:
    source.open([Payload("|u1", (1,), slot=written(writer, 1))])
    before = open_files()
    for number in range(RING_NUMBER + 1, RING_NUMBER + 30):
        assert source.announced(announcement(writer, number))
    assert open_files() <= before + 2


def test_arrivals_of_a_lane_that_ended_can_still_be_opened(
    writer: RingWriter, source: LaneSource
) -> None:
    payload = Payload("|u1", (64,), slot=written(writer, 8))
    source.close()
    (array,) = source.open([payload])
    assert (array == 8).all()


def test_frames_are_payloads_in_order() -> None:
    frames = [memoryview(b"\1\0\2\0"), memoryview(bytearray(b"\7"))]
    first, second = FrameSource(frames).open([Payload("<u2", (2,)), Payload("|u1", (1,))])
    assert (first.tolist(), second.tolist()) == ([1, 2], [7])
    assert not second.flags.writeable


@pytest.mark.parametrize("payloads", [[], [Payload("|u1", (3,))], [Payload("|u1", (2,))] * 2])
def test_frames_other_than_described_are_refused(payloads: list[Payload]) -> None:
    assert FrameSource([memoryview(b"ab")]).open(payloads) is Drop.BAD_DESCRIPTOR


def test_an_empty_frame_is_an_empty_array() -> None:
    (array,) = FrameSource([memoryview(b"")]).open([Payload("<f4", (0, 5))])
    np.testing.assert_array_equal(array, np.zeros((0, 5), np.float32))
