"""Sync step: a reference time whose set has not left yet, and what it still waits for."""

from fusion_rt.sync.stream import SyncStream
from fusion_rt.sync.stream_buffer import Sample


class OpenSet:
    """A reference time that waits for its streams. `sample` is None for a tick."""

    __slots__ = (
        "close_ns",
        "deadline_ns",
        "holes_ns",
        "opened_ns",
        "sample",
        "settles_ns",
        "stamp_ns",
        "time_ns",
        "timed",
    )

    def __init__(
        self, time_ns: int, sample: Sample | None, opened_ns: int, deadline_ns: int
    ) -> None:
        self.time_ns = time_ns
        self.sample = sample
        self.stamp_ns = None if sample is None else sample.stamp_ns
        self.opened_ns = opened_ns
        self.deadline_ns = deadline_ns
        self.holes_ns: list[int] = []  # reference times passed over just before this one
        self.settles_ns: list[int] = []
        self.timed = 0  # bit i: stream i settles by the passing of time, not by an arrival
        self.close_ns = deadline_ns

    def settle(self, stream: SyncStream, now_ns: int) -> None:
        """Ask until when this stream is worth waiting for."""
        index = stream.index
        at_ns = stream.settles_at(self.time_ns, self.deadline_ns, now_ns)
        if at_ns > now_ns:
            self.settles_ns[index] = at_ns
            self.timed |= 1 << index
        else:
            self.settles_ns[index] = now_ns
            self.timed &= ~(1 << index)

    def schedule(self) -> None:
        latest_ns = max(self.settles_ns)
        self.close_ns = latest_ns if latest_ns < self.deadline_ns else self.deadline_ns
