"""The entry slot: order kept, nothing twice, and every header accounted for."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.messages import GpsFix
from fusion_rt.topics import topic_kind
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.inbox import Arrival, Inbox
from fusion_rt.transport.wire import WIRE_VERSION, Array, Header, MessageCodec, Payload
from tests.transport.samples import GPS, gps_fix

_codec = MessageCodec(GpsFix)


class Opened:
    """A source whose payloads are what the test says."""

    def __init__(self, outcome: list[Array] | Drop) -> None:
        self.outcome = outcome

    def open(self, _payloads: Sequence[Payload]) -> list[Array] | Drop:
        return self.outcome


NO_PAYLOADS = Opened([])


def arrival(seq: int, incarnation: int = 1, source: Opened = NO_PAYLOADS) -> Arrival:
    body, _ = _codec.encode(gps_fix(seq))
    header = Header(WIRE_VERSION, GPS, "", incarnation, seq, seq, seq, msgspec.Raw(body))
    return Arrival(header, seq, source)


def inbox(depth: int | None = None) -> Inbox:
    return Inbox(GPS, topic_kind(GPS), depth)


def latest() -> Inbox:
    row = msgspec.structs.replace(topic_kind(GPS), policy="latest", depth=1)
    return Inbox(GPS, row, None)


def taken(entry: Inbox) -> list[int]:
    numbers = []
    while entry.oldest() is not None:
        numbers.append(entry.pop().header.seq)
    return numbers


def test_a_queue_keeps_the_newest_in_order() -> None:
    entry = inbox(3)
    for seq in range(5):
        entry.accept(arrival(seq))
    assert taken(entry) == [2, 3, 4]
    assert entry.drops == {"overflow": 2}


def test_latest_keeps_the_newest() -> None:
    entry = latest()
    for seq in range(5):
        entry.accept(arrival(seq))
    assert taken(entry) == [4]
    assert entry.drops == {"superseded": 4}


def test_what_came_before_a_late_joiner_is_not_lost() -> None:
    entry = inbox()
    entry.accept(arrival(1000))
    assert entry.drops == {}


def test_a_jump_in_the_sequence_is_counted_as_lost() -> None:
    entry = inbox()
    for seq in (3, 7, 8):
        entry.accept(arrival(seq))
    assert (entry.received, entry.drops) == (3, {"lost": 3})


def test_nothing_is_taken_twice_or_after_a_newer_one() -> None:
    entry = inbox()
    for seq in (3, 3, 5, 4, 5):
        entry.accept(arrival(seq))
    assert taken(entry) == [3, 5]
    assert entry.drops == {"lost": 1, "stale": 3}


def test_a_restarted_publisher_begins_anew_and_its_past_self_is_stale() -> None:
    entry = inbox()
    for seq, incarnation in [(9, 1), (0, 2), (10, 1), (1, 2)]:
        entry.accept(arrival(seq, incarnation))
    assert [(seen.header.incarnation, seen.header.seq) for seen in list(entry.waiting)] == [
        (1, 9),
        (2, 0),
        (2, 1),
    ]
    assert (entry.restarts, entry.drops) == (1, {"stale": 1})


@pytest.mark.parametrize("cause", [Drop.OVERRUN, Drop.BAD_DESCRIPTOR])
def test_a_payload_that_cannot_be_had_is_counted_by_its_cause(cause: Drop) -> None:
    entry = inbox()
    assert entry.open(arrival(1, source=Opened(cause))) is None
    assert entry.drops == {cause.value: 1}


def test_a_body_whose_stamp_is_not_its_headers_is_invalid() -> None:
    entry, forged = inbox(), arrival(1)
    forged.header = msgspec.structs.replace(forged.header, stamp_ns=2)
    assert entry.open(forged) is None
    assert entry.drops == {"invalid": 1}


def test_a_body_with_impossible_values_is_invalid() -> None:
    entry, forged = inbox(), arrival(1)
    body, _ = _codec.encode(msgspec.structs.replace(gps_fix(1), latitude_deg=91.0))
    forged.header = msgspec.structs.replace(forged.header, body=msgspec.Raw(body))
    assert entry.open(forged) is None
    assert entry.drops == {"invalid": 1}


def test_arrays_without_dimensions_are_invalid_and_no_exception() -> None:
    row = topic_kind("detections/fused")
    entry = Inbox("detections/fused", row, None)
    body = msgspec.msgpack.encode({"stamp_ns": 1, "boxes": 0, "scores": 0, "class_ids": 0})
    header = Header(WIRE_VERSION, "detections/fused", "", 1, 0, 1, 1, msgspec.Raw(body))
    scalar = np.float32(1).reshape(())
    assert entry.open(Arrival(header, 0, Opened([scalar]))) is None
    assert entry.drops == {"invalid": 1}


events = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)) | st.just("take"), max_size=80)


@given(events, st.integers(1, 5), st.booleans())
def test_every_header_is_taken_waits_or_is_counted_once(
    order: list[tuple[int, int] | str], depth: int, is_latest: bool
) -> None:
    entry = latest() if is_latest else inbox(depth)
    offered, out = 0, []
    for event in order:
        if event != "take":
            offered += 1
            entry.accept(arrival(*event))
        elif entry.oldest() is not None:
            out.append(entry.pop().header)
    left = taken(entry)
    counted = sum(entry.drops[cause] for cause in ("stale", "superseded", "overflow"))
    assert len(out) + len(left) + counted == offered
    assert entry.received == offered - entry.drops["stale"]
    places = [(header.incarnation, header.seq) for header in out]
    assert len(set(places)) == len(places), "nothing is delivered twice"
    for incarnation in {header.incarnation for header in out}:
        seqs = [header.seq for header in out if header.incarnation == incarnation]
        assert seqs == sorted(seqs)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_received_and_lost_are_what_was_published_since_the_first(arrived: set[int]) -> None:
    entry = inbox(1000)
    for seq in sorted(arrived):
        entry.accept(arrival(seq))
    published = max(arrived) - min(arrived) + 1
    assert entry.received + entry.drops["lost"] == published
