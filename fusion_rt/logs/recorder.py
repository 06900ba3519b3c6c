"""Records a running rig: one thread takes messages out of transport, another writes them.

Between them stands a bounded queue. When the disk falls behind for longer than that, transport's
own queues fill, and what they drop is counted like any other loss; the ledger in the log says it.
"""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S, Clock
from fusion_rt.logs.byte_queue import ByteQueue
from fusion_rt.logs.options import RecordOptions
from fusion_rt.logs.parts import Parts
from fusion_rt.logs.rig import NO_RIG, LoggedRig, logged_rig, rig_from, sensed
from fusion_rt.logs.write import OWN, Encoded, encoded
from fusion_rt.messages import Health, Mode
from fusion_rt.session import Session
from fusion_rt.supervisor import HEALTH_TOPIC, MOUNTING_TOPIC
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.subscriber import Subscriber

LEDGER = f"{OWN}ledger"
QUEUE_DEPTH = 4096
"""Headers per topic: sensors' payloads are taken long before."""
FUSED_TOPIC = "detections/fused"
SAVE_REQUEST = "save-snapshot"
"""Name of the file in the run directory that asks for a snapshot."""
_WAIT_NS = 50 * NS_PER_MS
_LEDGER_PERIOD_NS = NS_PER_S
_LONGEST_DRAIN_NS = NS_PER_S
_LONGEST_WRITE_NS = 2 * NS_PER_S
"""After the end, less than a supervisor's patience: the log must become whole by then."""


class TopicLedger(msgspec.Struct, frozen=True, kw_only=True):
    """Where the messages of one topic went, since the recorder started."""

    received: int
    recorded: int
    drops: dict[str, int]
    """Lost on the way to the recorder (`fusion_rt.transport.drops`) and in it, by cause."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a recording, once a second and at its end."""

    stamp_ns: int
    topics: dict[str, TopicLedger]
    counters: dict[str, int]
    queue_bytes: int


class _Save(msgspec.Struct, frozen=True):
    reason: str


class Recorder:
    """Records what `inbox` receives into `parts`."""

    def __init__(
        self, inbox: Subscriber, parts: Parts, rig: LoggedRig, clock: Clock, queue_bytes: int
    ) -> None:
        self._inbox = inbox
        self._parts = parts
        self._rig = rig
        self._clock = clock
        self._queue: ByteQueue[Encoded | Ledger | _Save] = ByteQueue(queue_bytes)
        self._ledger_due_ns = 0
        self._write_until_ns: int | None = None
        self._mode: Mode | None = None
        self._is_over = threading.Event()
        self._writer = threading.Thread(target=self._write, name="log writer", daemon=True)

    def run(self, is_running: Callable[[], bool], run_dir: Path, *, saves: bool) -> None:
        """Until `is_running` says no; then all that waits is written and the file made whole.

        With `saves`, a change of mode, and a file SAVE_REQUEST in `run_dir`, save a snapshot.
        """
        self._writer.start()
        try:
            while is_running():
                if (received := self._inbox.receive(_WAIT_NS)) is not None:
                    self._take(received, saves=saves)
                self._tick()
                if saves and _was_asked(run_dir / SAVE_REQUEST):
                    self._queue.put(_Save("asked"), 0)
            self._write_until_ns = self._clock.now_ns() + _LONGEST_WRITE_NS
            self._drain(saves=saves)
            self._queue.put(self._ledger(), 0)
        finally:
            self._is_over.set()
            self._writer.join()

    def _take(self, received: Received, *, saves: bool) -> None:
        topic = received.header.topic
        one = encoded(received, self._rig.frame_of(topic))
        self._queue.put(one, len(one.data))
        if saves and isinstance(received.message, Health):
            mode, self._mode = self._mode, received.message.mode
            if mode is not None and mode != self._mode:
                self._queue.put(_Save(self._mode.lower()), 0)

    def _tick(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns >= self._ledger_due_ns:
            self._ledger_due_ns = now_ns + _LEDGER_PERIOD_NS
            self._queue.put(self._ledger(), 0)

    def _drain(self, *, saves: bool) -> None:
        """What came before we were told to stop."""
        end_ns = self._clock.now_ns() + _LONGEST_DRAIN_NS
        while self._clock.now_ns() < end_ns:
            if (received := self._inbox.receive(0)) is None:
                return
            self._take(received, saves=saves)

    def _is_out_of_time(self) -> bool:
        """Told to stop so long ago that what still waits must be let go."""
        end_ns = self._write_until_ns
        return end_ns is not None and self._clock.now_ns() > end_ns

    def _ledger(self) -> Ledger:
        """As the receiving thread sees it; what was recorded until here the other one fills in."""
        topics = {
            topic: TopicLedger(received=inbox.received, recorded=0, drops=dict(inbox.drops))
            for topic, inbox in self._inbox.inboxes.items()
        }
        now_ns = self._clock.now_ns()
        return Ledger(stamp_ns=now_ns, topics=topics, counters={}, queue_bytes=self._queue.bytes)

    def _closed(self, ledger: Ledger) -> Ledger:
        topics = {topic: self._account(topic, row) for topic, row in ledger.topics.items()}
        counters = dict(self._parts.counters)
        return msgspec.structs.replace(ledger, topics=topics, counters=counters)

    def _account(self, topic: str, row: TopicLedger) -> TopicLedger:
        parts = self._parts
        lost = {cause: count for (of, cause), count in parts.lost.items() if of == topic}
        return TopicLedger(
            received=row.received, recorded=parts.written[topic], drops={**row.drops, **lost}
        )

    def _write(self) -> None:
        """The writing thread: goes on until all is written."""
        while True:
            item = self._queue.take(_WAIT_NS / NS_PER_S)
            if isinstance(item, Encoded) and self._is_out_of_time():
                self._parts.lose(item, "out_of_time")
            elif isinstance(item, Encoded):
                self._parts.write(item)
            elif isinstance(item, Ledger):
                self._parts.write_row(LEDGER, self._closed(item), item.stamp_ns)
            elif isinstance(item, _Save):
                self._parts.save(item.reason)
            elif self._is_over.is_set():
                break
            self._parts.tick()
        self._parts.close()
        self._parts.discard_ring()


def record_session(
    session: Session,
    options: RecordOptions,
    is_running: Callable[[], bool],
    counters: Counter[str],
) -> Path:
    """Record a running rig until `is_running` says no; the last part's path.

    The calling thread interrupts nobody from then on, and neither do those that this starts.
    Raises LogError where the folder cannot be written to.
    """
    _give_way()
    clock, run_dir = session.clock(), Path(session.run_dir)
    rig = logged_rig(rig_from(session.files, run_dir)) if session.files else NO_RIG
    topics = options.topics or (*sensed(session), FUSED_TOPIC, HEALTH_TOPIC, MOUNTING_TOPIC)
    parts = Parts(Path(options.folder), rig, options, clock, counters)
    (run_dir / SAVE_REQUEST).unlink(missing_ok=True)
    with Subscriber(topics, session, clock, queue_depth=QUEUE_DEPTH) as inbox:
        recorder = Recorder(inbox, parts, rig, clock, options.queue_mb * 1_000_000)
        recorder.run(is_running, run_dir, saves=options.mode == "snapshot")
    return parts.path


def _give_way() -> None:
    """Wait for a turn instead of taking it when a message comes: whoever fuses is not interrupted.

    SCHED_BATCH keeps its share of the cores (sched(7)); with a lower priority a recorder would
    starve where there are none to spare, and lose what it is there for.
    """
    with contextlib.suppress(OSError):  # sandboxes may forbid it: it is a courtesy
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _was_asked(request: Path) -> bool:
    """Whether the file was there; it is not any more."""
    try:
        request.unlink()
    except FileNotFoundError:
        return False
    return True
