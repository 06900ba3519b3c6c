"""Placing arrays: inline, loaned or copied, and every slot given back whatever happens."""

from collections.abc import Iterator

import numpy as np
import pytest

from fusion_rt.errors import RingError
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.ring import RingReader
from fusion_rt.transport.slots import SlotStore
from fusion_rt.transport.wire import INLINE_BYTES, MAX_PAYLOAD_BYTES, Payload, array_from_bytes

SLOTS = 3
LARGE = (INLINE_BYTES + 4096,)


@pytest.fixture
def store() -> Iterator[SlotStore]:
    own = SlotStore(SLOTS)
    yield own
    own.close()


def reader_of(store: SlotStore) -> RingReader:
    announcement, fd = store.ring
    return RingReader(fd, announcement.geometry)


def read(reader: RingReader, payload: Payload) -> np.ndarray | Drop:
    memory = reader.take(payload.slot.slot, payload.slot.generation)
    if isinstance(memory, Drop):
        return memory
    start = payload.slot.offset
    return array_from_bytes(payload, memory[start : start + payload.nbytes])


def large(value: int, length: int = LARGE[0]) -> np.ndarray:
    return np.full(length, value, np.uint8)


def test_small_arrays_ride_inline_and_open_no_ring(store: SlotStore) -> None:
    half = np.zeros(INLINE_BYTES // 2, np.uint8)
    payloads = store.place([half, half])
    assert [payload.inline for payload in payloads] == [half.tobytes()] * 2
    assert store.ring is None


def test_arrays_too_large_together_share_one_slot(store: SlotStore) -> None:
    points = np.random.default_rng(1).random((2000, 5), np.float32)
    ring = np.arange(2001, dtype=np.uint16)
    payloads = store.place([points, ring])
    assert len({(payload.slot.slot, payload.slot.generation) for payload in payloads}) == 1
    reader = reader_of(store)
    np.testing.assert_array_equal(read(reader, payloads[0]), points)
    np.testing.assert_array_equal(read(reader, payloads[1]), ring)


def test_arrays_that_are_not_contiguous_are_copied_whole(store: SlotStore) -> None:
    image = np.arange(300 * 200, dtype=np.uint16).reshape(300, 200)
    for array in (image[:, ::2], image.T, image[::-1]):
        (payload,) = store.place([array])
        np.testing.assert_array_equal(read(reader_of(store), payload), array)


def test_a_loan_is_published_where_it_lies(store: SlotStore) -> None:
    with store.loan(LARGE, np.uint8) as array:
        array[:] = 7
        (payload,) = store.place([array])
        view = read(reader_of(store), payload)
    assert payload.slot.offset == 0
    assert (view == 7).all()
    assert not array.flags.writeable


def test_part_of_a_loan_is_published_where_it_lies(store: SlotStore) -> None:
    with store.loan((100, 1000), np.float32) as array:
        array[:] = np.arange(100)[:, None]
        (payload,) = store.place([array[10:20]])
    assert payload.slot.offset == 10 * 1000 * 4
    np.testing.assert_array_equal(read(reader_of(store), payload)[:, 0], np.arange(10, 20))


def test_what_does_not_lie_in_the_loan_is_put_behind_it(store: SlotStore) -> None:
    store.place([large(0, 2 * LARGE[0])])  # room to spare
    with store.loan(LARGE, np.uint8) as array:
        array[:] = 1
        payloads = store.place([large(2, 100), array])
    reader = reader_of(store)
    assert (read(reader, payloads[0]) == 2).all()
    assert (read(reader, payloads[1]) == 1).all()


@pytest.mark.parametrize("part", [np.s_[::2], np.s_[::-1]])
def test_part_of_a_loan_that_is_not_contiguous_is_copied(store: SlotStore, part: slice) -> None:
    with store.loan(LARGE, np.uint16) as array:
        array[:] = np.arange(LARGE[0])
        expected = array[part].copy()
        (payload,) = store.place([array[part]])
    np.testing.assert_array_equal(read(reader_of(store), payload), expected)


def test_a_loan_that_cannot_stay_survives_though_only_its_own_slot_is_free(
    store: SlotStore,
) -> None:
    store.place([large(0)])
    reader = reader_of(store)
    views = [read(reader, store.place([large(value)])[0]) for value in range(SLOTS - 1)]
    with store.loan(LARGE, np.uint8) as array:
        array[:] = np.arange(LARGE[0]) % 251
        expected = array[::-1].copy()
        payloads = store.place([array[::-1]])
    np.testing.assert_array_equal(read(reader, payloads[0]), expected)
    assert [int(view[0]) for view in views] == list(range(SLOTS - 1))


def test_another_array_than_the_loaned_one_is_copied(store: SlotStore) -> None:
    with store.loan(LARGE, np.uint8) as array:
        array[:] = 1
        (payload,) = store.place([large(2)])
    assert (read(reader_of(store), payload) == 2).all()
    assert not array.flags.writeable


def test_an_unpublished_loan_comes_back(store: SlotStore) -> None:
    for _ in range(3 * SLOTS):
        with store.loan(LARGE, np.uint8) as array:
            array[:] = 9
    assert not array.flags.writeable
    reader = reader_of(store)
    views = [read(reader, store.place([large(value)])[0]) for value in range(SLOTS)]
    assert [int(view[0]) for view in views] == [0, 1, 2]


def test_a_loan_comes_back_when_its_borrower_fails(store: SlotStore) -> None:
    def fail() -> None:
        with store.loan(LARGE, np.uint8):
            raise OSError("the camera was unplugged")

    for _ in range(3 * SLOTS):
        with pytest.raises(OSError, match="unplugged"):
            fail()
    assert not store.is_lent
    assert store.place([large(1)]) is not None


def test_a_loan_ends_with_a_small_message_too(store: SlotStore) -> None:
    with store.loan(LARGE, np.uint8) as array:
        (payload,) = store.place([array[:10]])
        assert not store.is_lent
    assert payload.inline is not None


def test_readers_that_hold_every_slot_leave_none_and_no_loan(store: SlotStore) -> None:
    store.place([large(0)])
    reader = reader_of(store)
    views = [read(reader, store.place([large(value)])[0]) for value in range(SLOTS)]
    assert store.place([large(9)]) is None
    with store.loan(LARGE, np.uint8) as array:  # outside the ring
        array[:] = 9
        assert store.place([array]) is None
        del views[0]
        assert (read(reader, store.place([array])[0]) == 9).all()


def test_a_larger_payload_opens_a_larger_ring_and_leaves_old_views_alone(store: SlotStore) -> None:
    (payload,) = store.place([large(1)])
    old = read(reader_of(store), payload)
    (payload,) = store.place([large(2, 10 * LARGE[0])])
    new = read(reader_of(store), payload)
    assert payload.slot.ring == 2
    assert (old == 1).all()
    assert (new == 2).all()
    assert store.place([large(3)])[0].slot.ring == 2


def test_a_payload_larger_than_the_largest_is_refused(store: SlotStore) -> None:
    with pytest.raises(RingError, match="stride: expected whole pages up to 268435456, got"):
        store.place([np.broadcast_to(np.uint8(0), (MAX_PAYLOAD_BYTES,))])
    assert store.ring is None


def test_an_array_of_a_type_no_reader_knows_costs_no_slot(store: SlotStore) -> None:
    for _ in range(2 * SLOTS):
        with pytest.raises(TypeError, match="payload: expected one of"):
            store.place([np.zeros(LARGE, ">f4")])
    assert store.place([large(1)]) is not None
