"""What a replay feeds in: a log's sensor messages, faults on purpose acted out on them.

A fault acts where it acts live, between sensor and publisher: what is dropped leaves no gap in the
sequence, what is delayed is sent later and overtaken, a killed node comes back as another one.
"""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.fault_injector import Injector
from fusion_rt.faults import FaultSchedule
from fusion_rt.latency.row_file import read_rows
from fusion_rt.latency.rows import FrameRow
from fusion_rt.logs.entry import fingerprint_of
from fusion_rt.messages import Message
from fusion_rt.transport.inbox import Received

_FARTHEST_NS = 2 * NS_PER_S
"""More than the recorder and the fusion may be apart."""
_UNSEEN = ("sensor", "transport")
RESTART_NS = NS_PER_S
"""How long a killed node stays away: about what a supervisor and an interpreter need."""


def with_faults(
    messages: Iterable[Received], schedule: FaultSchedule, start_ns: int
) -> Iterator[Received]:
    """The messages as a rig with these faults would have received them, in order of receipt.

    `start_ns`: what the schedule's times count from. Messages may come out that `problem()`
    refuses: a subscriber would have counted them as invalid.
    """
    lines: dict[str, _Line] = {}
    waiting: list[tuple[int, str, int, Received]] = []
    number = 0
    for received in messages:
        while waiting and waiting[0][0] < received.recv_ns:
            yield _sent(heapq.heappop(waiting), lines)
        topic = received.header.topic
        line = lines.setdefault(topic, _Line(schedule, topic, start_ns))
        for late in line.push(received):
            heapq.heappush(waiting, (late.recv_ns, topic, number, late))
            number += 1
    while waiting:
        yield _sent(heapq.heappop(waiting), lines)


def with_arrivals(messages: Iterable[Received], rows: Path) -> Iterator[Received]:
    """The messages as the fusion of that run received them, by the rows of its ledger.

    The recorder got each of them a moment sooner or later; what fusion never got is left out.
    Raises what `read_rows` does where there are none.
    """
    arrivals = {
        (row.topic, row.incarnation, row.seq): row.recv_ns
        for row in read_rows(rows)
        if isinstance(row, FrameRow) and row.seq >= 0 and row.recv_ns and row.place not in _UNSEEN
    }
    waiting: list[tuple[int, str, int, Received]] = []
    for received in messages:
        header = received.header
        while waiting and waiting[0][0] < received.recv_ns - _FARTHEST_NS:
            yield heapq.heappop(waiting)[-1]
        recv_ns = arrivals.get((header.topic, header.incarnation, header.seq))
        if recv_ns is not None:
            moved = Received(header, recv_ns, received.message)
            heapq.heappush(waiting, (recv_ns, header.topic, header.seq, moved))
    while waiting:
        yield heapq.heappop(waiting)[-1]


def _sent(waiting: tuple[int, str, int, Received], lines: dict[str, "_Line"]) -> Received:
    _, topic, _, received = waiting
    return lines[topic].sent(received)


class _Line:
    """One topic between its sensor and its publisher."""

    def __init__(self, schedule: FaultSchedule, topic: str, start_ns: int) -> None:
        self._schedule = schedule
        self._topic = topic
        self._start_ns = start_ns
        self._is_faulty = bool(schedule.for_topic(topic))
        self._injector: Injector[Message] = Injector(schedule, topic, start_ns)
        self._back_ns = start_ns
        self._deaths = 0
        self._next_seq: int | None = None

    def push(self, received: Received) -> list[Received]:
        """What leaves the sensor, with the times at which it does."""
        header, sent_ns = received.header, received.header.sent_ns
        if not self._is_faulty:
            return [received]
        if self._next_seq is None:
            self._next_seq = header.seq
        if sent_ns < self._back_ns:
            return []
        if self._injector.is_killed(sent_ns):
            self._deaths += 1
            self._back_ns = sent_ns + RESTART_NS
            self._next_seq = 0
            self._injector = Injector(
                self._schedule, self._topic, self._start_ns, born_ns=self._back_ns
            )
            return []
        hop_ns = received.recv_ns - sent_ns
        return [
            Received(
                msgspec.structs.replace(
                    header,
                    sent_ns=timed.due_ns,
                    stamp_ns=timed.message.stamp_ns,
                    incarnation=header.incarnation + self._deaths,
                    fingerprint=_fingerprint(received, timed.message),
                ),
                timed.due_ns + hop_ns,
                timed.message,
            )
            for timed in self._injector.push(received.message, sent_ns)
        ]

    def sent(self, received: Received) -> Received:
        """Numbered as its publisher would, in the order in which it sends."""
        if self._next_seq is None:  # without faults: as it was
            return received
        received.header = msgspec.structs.replace(received.header, seq=self._next_seq)
        self._next_seq += 1
        return received


def _fingerprint(received: Received, message: Message) -> int:
    """Taken anew only where the content is another, and where one was taken."""
    before = received.header.fingerprint
    if not before or message is received.message:
        return before
    return fingerprint_of(message)
