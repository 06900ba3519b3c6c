"""The ring: who may have a slot when, and that nothing is left of it."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_rt.errors import RingError
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.ring import MAX_SLOTS, RingGeometry, RingReader, RingWriter
from fusion_rt.transport.wire import MAX_PAYLOAD_BYTES
from tests.transport.waiting import open_files, until

SLOTS = 3


@pytest.fixture
def writer() -> Iterator[RingWriter]:
    ring = RingWriter(SLOTS, 4096)
    yield ring
    ring.close()


def write(ring: RingWriter, value: int) -> tuple[int, int] | None:
    """Fill the next slot; its number and generation, None when readers hold all."""
    slot = ring.claim()
    if slot is None:
        return None
    ring.view(slot)[:] = value
    return slot, ring.release(slot)


def reader_of(ring: RingWriter) -> RingReader:
    return RingReader(ring.fd, ring.geometry)


def test_a_reader_sees_what_was_written(writer: RingWriter) -> None:
    reader = reader_of(writer)
    slot, generation = write(writer, 7)
    view = reader.take(slot, generation)
    assert (view == 7).all()
    assert not view.flags.writeable


def test_a_held_slot_is_not_written_again(writer: RingWriter) -> None:
    reader = reader_of(writer)
    slot, generation = write(writer, 1)
    view = reader.take(slot, generation)
    later = {write(writer, value)[0] for value in range(2, 8)}
    assert slot not in later
    assert (view == 1).all()


def test_an_overwritten_slot_is_an_overrun(writer: RingWriter) -> None:
    reader = reader_of(writer)
    first = write(writer, 1)
    for value in range(SLOTS):
        write(writer, value)
    assert reader.take(*first) is Drop.OVERRUN


def test_a_slot_that_is_being_written_is_an_overrun(writer: RingWriter) -> None:
    reader = reader_of(writer)
    first = write(writer, 1)
    while writer.claim() != first[0]:
        pass
    assert reader.take(*first) is Drop.OVERRUN


def test_a_writer_whose_slots_are_all_held_is_refused_at_once(writer: RingWriter) -> None:
    reader = reader_of(writer)
    views = [reader.take(*write(writer, value)) for value in range(SLOTS)]
    assert writer.claim() is None
    del views[1]
    assert writer.claim() is not None


@pytest.mark.parametrize(("slot", "generation"), [(SLOTS, 2), (-1, 2), (2**40, 2), (0, 1)])
def test_a_slot_that_cannot_be_is_a_bad_descriptor(
    writer: RingWriter, slot: int, generation: int
) -> None:
    assert reader_of(writer).take(slot, generation) is Drop.BAD_DESCRIPTOR


def test_a_slot_that_was_never_published_is_an_overrun(writer: RingWriter) -> None:
    assert reader_of(writer).take(0, 2**64 - 2) is Drop.OVERRUN


def test_a_slot_is_free_when_its_last_derived_view_dies(writer: RingWriter) -> None:
    reader = reader_of(writer)
    view = reader.take(*write(writer, 1))
    derived = view[64:128].view(np.float32).reshape(4, 4)[1:, ::2]
    del view
    gc.collect()
    assert reader.held == 1
    del derived
    assert not reader.held


def test_a_view_may_die_in_another_thread(writer: RingWriter) -> None:
    reader = reader_of(writer)
    views = [reader.take(*write(writer, 1))]
    thread = threading.Thread(target=views.clear)
    thread.start()
    thread.join()
    assert not reader.held
    assert len({write(writer, value)[0] for value in range(SLOTS)}) == SLOTS


def test_a_slot_taken_twice_is_given_back_with_the_last_view(writer: RingWriter) -> None:
    reader = reader_of(writer)
    place = write(writer, 1)
    first, second = reader.take(*place), reader.take(*place)
    assert reader.take(place[0], place[1] + 2) is Drop.OVERRUN
    del first
    assert (reader.held, (second == 1).all()) == (1, True)
    assert place[0] not in {write(writer, value)[0] for value in range(2, SLOTS + 2)}
    del second
    assert not reader.held
    assert place[0] in {write(writer, value)[0] for value in range(2, SLOTS + 2)}


def test_views_outlive_reader_and_writer() -> None:
    ring = RingWriter(SLOTS, 4096)
    reader = reader_of(ring)
    view = reader.take(*write(ring, 9))
    ring.close()
    del ring, reader
    gc.collect()
    assert (view == 9).all()


def test_files_and_memory_go_with_the_last_view() -> None:
    before = open_files(), mapped_rings()
    for value in range(50):
        ring = RingWriter(SLOTS, 4096)
        view = reader_of(ring).take(*write(ring, value))
        ring.close()
        del ring
        gc.collect()  # must not take the reader, and with it the slot's lock, from under the view
        assert (view == value).all()
        del view
    assert (open_files(), mapped_rings()) == before


def mapped_rings() -> int:
    with open("/proc/self/maps") as maps:
        return sum("memfd:fusion_rt" in line for line in maps)


def test_a_reader_cannot_be_given_a_writable_mapping(writer: RingWriter) -> None:
    view = reader_of(writer).take(*write(writer, 1))
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        view.flags.writeable = True


@pytest.mark.parametrize(
    ("geometry", "problem"),
    [
        (RingGeometry(0, 4096), "slots: expected 1..64, got 0"),
        (RingGeometry(MAX_SLOTS + 1, 4096), "slots: expected 1..64, got 65"),
        (RingGeometry(1, 4097), "stride: expected whole pages up to"),
        (RingGeometry(1, 0), "stride: expected whole pages up to"),
        (RingGeometry(1, -4096), "stride: expected whole pages up to"),
        (RingGeometry(1, 2**63), "stride: expected whole pages up to"),
        (RingGeometry(64, MAX_PAYLOAD_BYTES), "slots: expected at most 2147483648 bytes, got"),
        (RingGeometry(SLOTS, 8192), "file: expected 28672 bytes, got 16384"),
    ],
)
def test_a_ring_that_is_not_as_announced_is_refused(
    writer: RingWriter, geometry: RingGeometry, problem: str
) -> None:
    with pytest.raises(RingError, match=problem):
        RingReader(writer.fd, geometry)


def test_a_ring_as_large_as_the_largest_payload_is_possible() -> None:
    assert RingGeometry(8, MAX_PAYLOAD_BYTES).problem() is None


def test_a_writer_too_large_is_refused() -> None:
    with pytest.raises(RingError, match="stride: expected whole pages up to 268435456, got"):
        RingWriter(8, MAX_PAYLOAD_BYTES + 1)


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_GROW])
def test_a_file_that_could_shrink_under_us_is_refused(seals: int) -> None:
    geometry = RingGeometry(1, 4096)
    fd = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, geometry.size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        with pytest.raises(RingError, match="expected a memfd sealed against resizing"):
            RingReader(fd, geometry)
    finally:
        os.close(fd)


def test_a_file_that_is_no_memfd_is_refused(tmp_path: os.PathLike[str]) -> None:
    geometry = RingGeometry(1, 4096)
    path = os.path.join(tmp_path, "file")
    with open(path, "w+b") as file:
        file.truncate(geometry.size)
        with pytest.raises(RingError, match="sealed against resizing, got seals -1"):
            RingReader(file.fileno(), geometry)


steps = st.lists(st.sampled_from(["write", "take", "drop_first", "drop_last"]), max_size=60)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_views_never_change_whatever_the_order_of_steps(order: list[str]) -> None:
    ring = RingWriter(SLOTS, 4096)
    reader = reader_of(ring)
    newest: tuple[int, tuple[int, int]] | None = None
    held: list[tuple[int, np.ndarray]] = []
    for number, step in enumerate(order):
        if step == "write" and (place := write(ring, number)):
            newest = number, place
        elif step == "take" and newest is not None:
            view = reader.take(*newest[1])
            assert not isinstance(view, Drop), "nobody has written since"
            held.append((newest[0], view))
        elif step.startswith("drop") and held:
            held.pop(0 if step == "drop_first" else -1)
            view = None
        assert all((view == value).all() for value, view in held)
    ring.close()


# A writer that announces its ring on stdout, publishes one slot, and stops while it fills another.
_WRITER = """
import os, sys, threading
from fusion_rt.transport.ring import RingWriter
import msgspec
ring = RingWriter(3, 4096)
first = ring.claim()
ring.view(first)[:] = 5
generation = ring.release(first)
second = ring.claim()
ring.view(second)[:2048] = 6
sys.stdout.buffer.write(
    msgspec.json.encode([os.getpid(), ring.fd, ring.geometry, first, generation, second]) + b"\\n")
sys.stdout.flush()
threading.Event().wait()
"""


@pytest.mark.process
def test_a_writer_killed_while_it_writes_leaves_no_torn_slot() -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER], stdout=subprocess.PIPE) as process:
        line = process.stdout.readline()
        pid, number, geometry, first, generation, second = msgspec.json.decode(line)
        fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDONLY)
        reader = RingReader(fd, RingGeometry(*geometry))
        os.close(fd)
        assert reader.take(second, 0) is Drop.OVERRUN  # being written
        process.kill()
        process.wait()
        view = reader.take(first, generation)
        assert (view == 5).all()
        # Nobody has the lock now, and the generation says that the slot was not finished.
        assert {reader.take(second, even) for even in (0, 2)} == {Drop.OVERRUN}


_READER = """
import os, sys, threading
from fusion_rt.transport.ring import RingGeometry, RingReader
pid, fd, slots, stride, slot, generation = map(int, sys.argv[1:])
fd = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY)
view = RingReader(fd, RingGeometry(slots, stride)).take(slot, generation)
print(int(view[0]), flush=True)
threading.Event().wait()
"""


@pytest.mark.process
def test_a_killed_reader_gives_its_slot_back(writer: RingWriter) -> None:
    slot, generation = write(writer, 42)
    place = (os.getpid(), writer.fd, SLOTS, writer.geometry.stride, slot, generation)
    command = [sys.executable, "-c", _READER, *map(str, place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"42\n"
        assert slot not in {write(writer, 1)[0] for _ in range(2 * SLOTS)}
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: slot in {write(writer, 1)[0] for _ in range(2 * SLOTS)}, "the slot")
