"""Fusion, live: the loop between transport, lanes and answers.

Threads live here and in what this opens: this loop reads headers and decides, a lane per stream
encodes, one more thread fuses and publishes. The books are kept here, by this thread alone.
"""

import contextlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from fusion_rt.calibration_file import BASE, Calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S, Clock
from fusion_rt.engine.engine import EngineOptions
from fusion_rt.fusion.admission import Admission
from fusion_rt.fusion.core import FusionCore, FusionSet
from fusion_rt.fusion.encoding import Encoders, Item, UnderWay, warm_up
from fusion_rt.fusion.finisher import Done, Finisher
from fusion_rt.fusion.fuser import Fuser
from fusion_rt.fusion.inline import tolerances_of
from fusion_rt.fusion.intake import Intake
from fusion_rt.fusion.lanes import Lane
from fusion_rt.fusion.options import FUSION_TOPIC, FusionPlan
from fusion_rt.fusion.shelf import Shelf, used_frames
from fusion_rt.fusion.watchdog import Watchdog
from fusion_rt.geometry import Pinhole
from fusion_rt.latency.budgets import LatencyOptions, budgets_in_ms
from fusion_rt.latency.ledger import Ledger, answer_times
from fusion_rt.latency.metrics import MetricsPage, snapshot_of
from fusion_rt.latency.row_file import RowWriter
from fusion_rt.latency.rows import NoteRow, RunInfo
from fusion_rt.machine import machine_text
from fusion_rt.messages import Message, Mode
from fusion_rt.modes import SIGHT_KINDS
from fusion_rt.perception import Mounts, Perception, open_model
from fusion_rt.session import Session
from fusion_rt.transport.inbox import Arrival
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber

log = logging.getLogger(__name__)
_LOOK_NS = 20 * NS_PER_MS
"""How long the loop may sleep: results and failures are booked this late at most."""
_BURST = 256
_QUEUED = 64
"""Headers per topic: all of them are for the synchronizer and the books; lanes keep the newest."""
_SHOW_NS = NS_PER_S
"""Between two snapshots for Prometheus, which scrapes a few times a minute."""


class FusionRunner:
    """One rig's fusion at work."""

    def __init__(
        self,
        plan: FusionPlan,
        perception: Perception,
        calibration: Calibration,
        session: Session,
        clock: Clock,
        ledger: Ledger,
        counters: Counter[str],
    ) -> None:
        """`counters` are shown in Health: what was answered, and what went wrong, by cause."""
        self._plan = plan
        self._session = session
        self._clock = clock
        self._ledger = ledger
        self._counters = counters
        self._core = FusionCore(plan, clock.now_ns(), antenna_m(plan, calibration))
        self._intake = Intake(self._core, perception.model.file, ledger)
        self._encoders = Encoders(perception)
        self._fuser = Fuser(plan, perception)
        self._shelf = Shelf(plan)
        self._admission = Admission(max(self._core.reference_period_ns, plan.max_wait_ns))
        self._under_way = UnderWay()
        """Of slots."""
        self._progress = threading.Condition()
        self._settled: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._mode: Mode = "BLIND"
        self._shown_ns = 0

    def run(self, is_running: Callable[[], bool]) -> None:
        """Until told to stop."""
        topics = [stream.topic for stream in self._plan.streams]
        with contextlib.ExitStack() as opened:
            inbox = opened.enter_context(Subscriber(topics, self._session, self._clock, _QUEUED))
            publisher = opened.enter_context(
                Publisher(FUSION_TOPIC, self._session, self._clock, "fuse")
            )
            lanes = dict(self._lanes(opened))
            finisher = Finisher(
                self._plan, self._fuser, self._shelf, publisher, self._clock, self._progress
            )
            opened.callback(finisher.close)
            page = _metrics_page(self._session, opened)
            watchdog = Watchdog({**lanes, FUSION_TOPIC: finisher})
            # While one is stuck we do not say that we run: the supervisor starts us anew.
            while finisher.failed is None and (
                watchdog.is_stuck(self._clock.now_ns()) or is_running()
            ):
                self._step(inbox, lanes, finisher)
                if page is not None:
                    self._show(page)
        self._book(finisher)
        if finisher.failed is not None:
            raise finisher.failed

    def _lanes(self, opened: contextlib.ExitStack) -> Iterator[tuple[str, Lane]]:
        for stream in self._plan.streams:
            if stream.kind == "gps":
                continue
            cores = self._plan.options.cores.get(stream.kind, ())
            lane = Lane(
                stream.topic, self._encoders, self._clock, self._progress, self._settle, cores
            )
            opened.callback(lane.close)
            yield stream.topic, lane

    def _step(self, inbox: Subscriber, lanes: dict[str, Lane], finisher: Finisher) -> None:
        arrival = inbox.receive_header(self._wait_ns())
        taken = 0
        while arrival is not None and taken < _BURST:
            header, recv_ns = arrival.header, arrival.recv_ns
            sets, item = self._intake.take(header, recv_ns, partial(_opened, inbox, arrival))
            if item is not None:
                self._encode(item, lanes, finisher)
            self._submit(sets, finisher)
            taken += 1
            arrival = inbox.receive_header(0)
        now_ns = self._clock.now_ns()
        self._submit(self._core.advance(now_ns, inbox_drained=taken < _BURST), finisher)
        for topic, box in inbox.inboxes.items():
            self._ledger.count_inbox(topic, box.drops, now_ns)
        self._book(finisher)

    def _wait_ns(self) -> int:
        due_ns = self._core.next_deadline_ns()
        if due_ns is None:
            return _LOOK_NS
        return min(max(due_ns - self._clock.now_ns(), 0), _LOOK_NS)

    def _encode(self, item: Item, lanes: dict[str, Lane], finisher: Finisher) -> None:
        """Hand it to its lane, unless its slot is not fused."""
        has_slot = item.kind in SIGHT_KINDS or item.topic == self._plan.reference
        if has_slot and self._is_admitted(item.stamp_ns, finisher):
            self._under_way.begin(item, self._clock.now_ns())
            lanes[item.topic].submit(item)
        elif not has_slot and self._admission.is_open:
            lanes[item.topic].submit(item)
        else:
            item.shed()
            self._book_failure(item)

    def _is_admitted(self, stamp_ns: int, finisher: Finisher) -> bool:
        now_ns = self._clock.now_ns()
        both = (self._under_way.since_ns(now_ns), finisher.working_since_ns)
        since_ns = min((ns for ns in both if ns is not None), default=None)
        return self._admission.admits(self._core.slot(stamp_ns), now_ns, since_ns)

    def _submit(self, sets: list[FusionSet], finisher: Finisher) -> None:
        for each in sets:
            is_shed = not self._is_admitted(each.frame_set.reference_ns, finisher)
            finisher.submit(each, self._core.motion, is_shed=is_shed)

    def _settle(self, item: Item) -> None:
        """From a lane's thread, or this one."""
        if item.state == "ready":
            self._shelf.put(item)
        else:
            self._settled.put(item)

    def _show(self, page: MetricsPage) -> None:
        """The ledger's numbers, now and then."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._shown_ns + _SHOW_NS:
            self._shown_ns = now_ns
            states = {topic: verdict.state for topic, verdict in self._core.verdicts.items()}
            page.show(snapshot_of(self._ledger, states, self._core.mode.mode))

    def _book(self, finisher: Finisher) -> None:
        """What the other threads have done since the last time."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._book_failure(self._settled.get_nowait())
        with contextlib.suppress(queue.Empty):
            while True:
                self._book_answer(finisher.done.get_nowait())

    def _book_failure(self, item: Item) -> None:
        now_ns = self._clock.now_ns()
        self._counters[f"{item.topic} {item.state}"] += 1
        for frame in item.frames:
            if item.state == "failed":
                self._ledger.dropped(frame, "failed", "encode", at_ns=now_ns, cause=item.reason)
            elif item.kind != "audio":  # a chunk goes into the next windows as well
                cause = item.state if item.state == "shed" else ""
                self._ledger.dropped(frame, "superseded", "queue", at_ns=now_ns, cause=cause)
        if item.state == "failed":
            self._core.invalid(item.topic, now_ns, item.reason)
            log.warning("%s: %s", item.topic, item.reason)

    def _book_answer(self, done: Done) -> None:
        answer = done.answer
        self._counters["answers"] += 1
        if done.is_shed:
            self._counters["answers shed"] += 1
        self._counters[f"answers {answer.mode}"] += 1
        if answer.failure:
            self._counters["answers failed"] += 1
            log.warning("%s", answer.failure)
        for member in answer.members:
            if member.quality == "missing":
                self._counters[f"{member.topic} missing"] += 1
        times = answer_times(
            done.fusion_set.frame_set,
            started_ns=done.started_ns,
            fused_ns=done.fused_ns,
            published_ns=done.published_ns,
            mode=answer.mode,
            boxes=len(answer.boxes),
            failure=answer.failure,
        )
        missing = {m.topic: m.reason for m in answer.members if m.quality == "missing"}
        used = {} if done.is_shed else used_frames(done.fusion_set, done.items)
        for alarm in self._ledger.answered(times, used, missing):
            log.warning("latency %s", alarm.text)
        self._note_mode(answer.mode, "; ".join(answer.mode_reasons), done.published_ns)

    def _note_mode(self, mode: Mode, why: str, at_ns: int) -> None:
        if mode != self._mode:
            log.info("mode %s -> %s %s", self._mode, mode, why)
            self._ledger.note(
                NoteRow(at_ns=at_ns, subject="rig", kind="mode", text=f"{mode} {why}".strip())
            )
            self._mode = mode


@contextlib.contextmanager
def open_fusion(
    session: Session,
    plan: FusionPlan,
    calibration: Calibration,
    clock: Clock,
    counters: Counter[str],
) -> Iterator[FusionRunner]:
    """The model loaded and warm, the books open."""
    mounts = mounts_of(plan, calibration)
    options = plan.options
    with contextlib.ExitStack() as opened:
        perception = opened.enter_context(
            open_model(
                Path(plan.model), mounts, options.backend, EngineOptions(), options.precision
            )
        )
        warm_up(perception)
        ledger = opened.enter_context(_ledger(session, plan, perception, clock))
        yield FusionRunner(plan, perception, calibration, session, clock, ledger, counters)


@contextlib.contextmanager
def _ledger(
    session: Session, plan: FusionPlan, perception: Perception, clock: Clock
) -> Iterator[Ledger]:
    options = msgspec.convert(session.latency, LatencyOptions)
    with contextlib.ExitStack() as opened:
        sink, first = None, 0
        if session.rows is not None:
            info = RunInfo(
                rig=session.rig,
                started_ns=session.start_ns,
                topics=tuple(stream.topic for stream in plan.streams),
                rates_hz={stream.topic: stream.rate_hz for stream in plan.streams},
                budgets=budgets_in_ms(options.budgets),
                model=perception.model.file.name,
                machine=machine_text(),
            )
            folder = Path(session.rows)
            writer = opened.enter_context(RowWriter(folder, info, options.keep_mb << 20))
            sink, first = writer.put, writer.next_answer
        ledger = Ledger(tolerances_of(plan), options, sink, first)
        if session.faults:
            from fusion_rt.live_faults import notes_of  # only who asks for faults pays for them

            for note in notes_of(session):
                ledger.note(note)
        try:
            yield ledger
        finally:
            ledger.close(clock.now_ns())


def _metrics_page(session: Session, opened: contextlib.ExitStack) -> MetricsPage | None:
    """Where the rig asks for one; a port that is taken is a warning, not the end of the fusion."""
    port = msgspec.convert(session.latency, LatencyOptions).prometheus_port
    if port is None:
        return None
    try:
        page = opened.enter_context(MetricsPage(port))
    except OSError as error:
        log.warning("no metrics at port %d: %s", port, error)
        return None
    log.info("metrics at %s", page.address)
    return page


def mounts_of(plan: FusionPlan, calibration: Calibration) -> Mounts:
    """Where the planned streams' sensors sit."""
    frames = {stream.kind: stream.frame for stream in plan.streams}
    pinhole = calibration.cameras.get(frames.get("camera", ""))
    return Mounts(
        pinhole=pinhole if isinstance(pinhole, Pinhole) else None,
        base_from_camera=calibration.base_from.get(frames.get("camera", "")),
        base_from_lidar=calibration.base_from.get(frames.get("lidar", "")),
    )


def antenna_m(plan: FusionPlan, calibration: Calibration) -> tuple[float, float, float]:
    """Where the GPS antenna sits in `base`; the origin where there is none."""
    frame = next((stream.frame for stream in plan.streams if stream.kind == "gps"), BASE)
    x_m, y_m, z_m = calibration.base_from[frame].translation_m.tolist()
    return (x_m, y_m, z_m)


def _opened(inbox: Subscriber, arrival: Arrival) -> Message | None:
    received = inbox.open(arrival)
    return None if received is None else received.message
