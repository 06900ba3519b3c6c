"""Faults on a replay act as they do between a live sensor and its publisher."""

from collections.abc import Iterator

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.faults import parse_schedule
from fusion_rt.replay.source import with_faults
from fusion_rt.transport.inbox import Received
from tests.logs.messages import fix


def stream(count: int = 50) -> Iterator[Received]:
    """GPS at 10 Hz, front and rear."""
    for number in range(count):
        yield fix(number)
        yield fix(number, topic="gps/rear")


def played(*faults: str, seed: int = 0) -> list[Received]:
    return list(with_faults(stream(), parse_schedule(faults, seed), 0))


def of(received: list[Received], topic: str = "gps/main") -> list[Received]:
    return [one for one in received if one.header.topic == topic]


def test_without_faults_all_is_as_it_was() -> None:
    assert [(one.header, one.recv_ns) for one in played()] == [
        (one.header, one.recv_ns) for one in stream()
    ]


def test_what_is_dropped_leaves_no_gap_in_the_sequence() -> None:
    received = of(played("gps/main drop 1s..2s"))
    assert len(received) == 40
    assert [one.header.seq for one in received] == list(range(40))
    assert not [one for one in received if NS_PER_S <= one.message.stamp_ns < 2 * NS_PER_S]
    assert len(of(played("gps/main drop 1s..2s"), "gps/rear")) == 50


def test_what_is_delayed_is_sent_and_received_later_with_its_old_stamp() -> None:
    late = of(played("gps/main delay 250ms"))
    for one, before in zip(late, of(played()), strict=True):
        assert one.recv_ns - before.recv_ns == 250 * NS_PER_MS
        assert one.header.sent_ns - before.header.sent_ns == 250 * NS_PER_MS
        assert one.message.stamp_ns == before.message.stamp_ns


def test_all_come_in_order_of_receipt_whatever_happens() -> None:
    faults = "gps/main jitter 400ms", "gps/rear reorder", "gps/rear duplicate"
    received = played(*faults)
    times = [one.recv_ns for one in received]
    assert times == sorted(times)
    for topic in ("gps/main", "gps/rear"):
        seqs = [one.header.seq for one in of(received, topic)]
        assert seqs == list(range(len(seqs)))


def test_the_same_seed_gives_the_same_faults() -> None:
    def times(seed: int) -> list[int]:
        return [one.recv_ns for one in played("gps/main drop 50%", seed=seed)]

    assert times(3) == times(3)
    assert times(3) != times(4)


def test_a_killed_node_comes_back_as_another() -> None:
    received = of(played("gps/main kill at 2s"))
    before = [one for one in received if one.header.incarnation == 1]
    after = [one for one in received if one.header.incarnation == 2]
    assert len(before) == 20
    assert after[0].header.seq == 0
    assert after[0].header.sent_ns - before[-1].header.sent_ns > NS_PER_S
    assert len(before) + len(after) == len(received) == 40


def test_a_step_of_the_clock_moves_stamps_and_not_receipt() -> None:
    received = of(played("gps/main clock +2s at 3s"))
    stepped = [one for one in received if one.message.stamp_ns > one.recv_ns]
    assert len(stepped) == 20
    assert all(one.header.stamp_ns == one.message.stamp_ns for one in received)


def test_what_is_corrupt_comes_as_it_is_for_the_receiver_to_refuse() -> None:
    received = of(played("gps/main corrupt 1s..2s"))
    assert sum(one.message.problem() is not None for one in received) == 10
