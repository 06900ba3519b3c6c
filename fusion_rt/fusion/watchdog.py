"""Tells when a network will not come back: its thread cannot be ended, only the process can."""

import logging
from collections.abc import Mapping
from typing import Protocol

from fusion_rt.clock import NS_PER_S

log = logging.getLogger(__name__)
STUCK_NS = 5 * NS_PER_S
"""No network of a rig that is of any use takes longer for one message."""


class Worker(Protocol):
    """A thread that runs one network."""

    @property
    def busy_since_ns(self) -> int | None:
        """When it took up what it is at; None while it waits for work."""
        ...


class Watchdog:
    """Watches the workers, by what they run."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers
        self._told: set[str] = set()

    def is_stuck(self, now_ns: int) -> bool:
        """Whether one of them has been at the same thing for longer than STUCK_NS."""
        stuck = {name for name, worker in self._workers.items() if _is_stuck(worker, now_ns)}
        for name in stuck - self._told:
            log.error("%s has not returned for %d s", name, STUCK_NS // NS_PER_S)
        self._told = stuck
        return bool(stuck)


def _is_stuck(worker: Worker, now_ns: int) -> bool:
    since_ns = worker.busy_since_ns
    return since_ns is not None and now_ns - since_ns > STUCK_NS
