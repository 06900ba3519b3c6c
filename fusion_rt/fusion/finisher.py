"""Fuse and publish, live: a thread that takes sets in order and waits for their encoders."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Mapping

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S, Clock
from fusion_rt.fusion.core import FusionSet
from fusion_rt.fusion.ego_motion import EgoMotion
from fusion_rt.fusion.encoding import HANGS_NS, Item
from fusion_rt.fusion.fuser import Fuser
from fusion_rt.fusion.lanes import pin
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.fusion.shelf import Shelf, choose, tokens
from fusion_rt.messages import Detections
from fusion_rt.transport.publisher import Publisher

log = logging.getLogger(__name__)


class Job(msgspec.Struct, eq=False):
    """A set that is due, with our motion as it was known when it closed."""

    fusion_set: FusionSet
    motion: EgoMotion
    is_shed: bool


class Done(msgspec.Struct, frozen=True, eq=False):
    """A published answer, for the books."""

    fusion_set: FusionSet
    items: Mapping[str, Item]
    answer: Detections
    started_ns: int
    fused_ns: int
    published_ns: int
    is_shed: bool
    """Answered from the tracks alone (`fusion_rt.fusion.admission`)."""


class Finisher:
    """Answers sets in order. `done` fills with what was published; `failed` with what ended it."""

    def __init__(
        self,
        plan: FusionPlan,
        fuser: Fuser,
        shelf: Shelf,
        publisher: Publisher,
        clock: Clock,
        progress: threading.Condition,
    ) -> None:
        """The publisher is this thread's from now on."""
        self.done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self.failed: BaseException | None = None
        self.busy_since_ns: int | None = None
        """When it took up what it is at; None while it waits for work."""
        self._cores = plan.options.cores.get("fuse", ())
        self._fuser = fuser
        self._shelf = shelf
        self._publisher = publisher
        self._clock = clock
        self._progress = progress
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._unanswered_ns: deque[int] = deque()
        self._thread = threading.Thread(target=self._run, name="fuse", daemon=True)
        self._thread.start()

    def submit(self, fusion_set: FusionSet, motion: EgoMotion, *, is_shed: bool = False) -> None:
        """Answer it after those before it."""
        self._unanswered_ns.append(fusion_set.frame_set.closed_ns)
        self._jobs.put(Job(fusion_set, motion.snapshot(), is_shed))

    @property
    def working_since_ns(self) -> int | None:
        """When the oldest set that is not answered was closed."""
        try:
            return self._unanswered_ns[0]
        except IndexError:
            return None

    def close(self) -> None:
        """Ends after what was submitted."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        pin(self._cores)
        try:
            while (job := self._jobs.get()) is not None:
                self.busy_since_ns = self._clock.now_ns()
                self._answer(job)
                self.busy_since_ns = None
        except BaseException as error:  # told to the loop, which ends the process
            self.failed = error

    def _answer(self, job: Job) -> None:
        fusion_set = job.fusion_set
        items: dict[str, Item] = {}
        if job.is_shed:
            started_ns = self._clock.now_ns()
            answer = self._fuser.predicted(fusion_set, job.motion)
        else:
            self._await(fusion_set)
            items, reasons = choose(fusion_set, self._shelf)
            started_ns = self._clock.now_ns()
            answer = self._fuser.answer(fusion_set, items, reasons, job.motion)
        fused_ns = self._clock.now_ns()
        trace = (
            ("opened", fusion_set.frame_set.opened_ns),
            ("closed", fusion_set.frame_set.closed_ns),
            ("started", started_ns),
            ("fused", fused_ns),
        )
        published_ns = self._publisher.publish(answer, trace=trace)
        self._unanswered_ns.popleft()
        self.done.put(
            Done(fusion_set, items, answer, started_ns, fused_ns, published_ns, job.is_shed)
        )

    def _await(self, fusion_set: FusionSet) -> None:
        """Until every member is encoded or is known not to be."""
        waiting = list(tokens(fusion_set).values())
        due_ns = fusion_set.frame_set.closed_ns + HANGS_NS
        left_ns = max(due_ns - self._clock.now_ns(), NS_PER_MS)
        with self._progress:
            self._progress.wait_for(
                lambda: all(item.state != "waiting" for item in waiting), left_ns / NS_PER_S
            )
