"""Encode step, live: a thread per stream, one frame in flight and one queued, the newest.

The networks and kernels release the interpreter while they run, so lanes share the cores.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence

from fusion_rt.clock import Clock
from fusion_rt.fusion.encoding import Encoders, Item

log = logging.getLogger(__name__)


class Lane:
    """Encodes the messages of one stream. `progress` is notified whenever an item is settled."""

    def __init__(
        self,
        topic: str,
        encoders: Encoders,
        clock: Clock,
        progress: threading.Condition,
        settled: Callable[[Item], None],
        cores: Sequence[int] = (),
    ) -> None:
        """`settled` is called from the lane's thread, or from the submitter's for a superseded
        item, before anybody is notified."""
        self.busy_since_ns: int | None = None
        """When it took up what it is at; None while it waits for work."""
        self._encoders = encoders
        self._clock = clock
        self._progress = progress
        self._settled = settled
        self._cores = cores
        self._queued: Item | None = None
        self._is_open = True
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"lane {topic}", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Encode it next, in place of whatever still waits."""
        with self._wake:
            before, self._queued = self._queued, item
            self._wake.notify()
        if before is not None:
            before.state, before.message = "superseded", None
            before.reason = "superseded by a newer one while the encoder was busy"
            self._announce(before)

    def close(self) -> None:
        """Ends after what is in flight."""
        with self._wake:
            self._is_open = False
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        pin(self._cores)
        while (item := self._next()) is not None:
            taken_ns = self.busy_since_ns = self._clock.now_ns()
            for frame in item.frames:
                frame.taken_ns = frame.taken_ns or taken_ns
            self._encoders.encode(item)
            ready_ns, self.busy_since_ns = self._clock.now_ns(), None
            for frame in item.frames:
                frame.ready_ns = frame.ready_ns or ready_ns
            self._announce(item)

    def _next(self) -> Item | None:
        with self._wake:
            self._wake.wait_for(lambda: self._queued is not None or not self._is_open)
            item, self._queued = self._queued, None
            return item if self._is_open else None

    def _announce(self, item: Item) -> None:
        self._settled(item)
        with self._progress:
            self._progress.notify_all()


def pin(cores: Sequence[int]) -> None:
    """Keep the calling thread to these cores; any core where none are named or there are none."""
    if not cores:
        return
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        log.warning("cannot keep to cores %s (%s): runs on any", list(cores), error)
