"""Sync step: the messages of one stream that a coming set may still use, sorted by time."""

from bisect import bisect_left, bisect_right
from typing import Any

from fusion_rt.clock import NS_PER_MS


class Sample:
    """One pushed message. `time_ns` is its stamp with the clock corrected."""

    __slots__ = ("arrival_ns", "is_used", "payload", "stamp_ns", "time_ns")

    def __init__(self, stamp_ns: int, payload: Any, arrival_ns: int) -> None:
        self.stamp_ns = stamp_ns
        self.payload = payload
        self.arrival_ns = arrival_ns
        self.time_ns = stamp_ns
        self.is_used = False


class StreamBuffer:
    """Sorted samples, with an exact account of those that left."""

    __slots__ = (
        "capacity",
        "newest_ns",
        "overflow",
        "reorder_ns",
        "retention_ns",
        "samples",
        "times",
        "unused",
        "used",
    )

    def __init__(self, retention_ns: int, capacity: int) -> None:
        """At most `capacity` samples, at most `retention_ns` older than the newest."""
        self.retention_ns = retention_ns
        self.capacity = capacity
        self.times: list[int] = []
        self.samples: list[Sample] = []
        self.newest_ns: int | None = None
        """Time of the newest sample ever added, still held or not."""
        self.used = 0
        self.unused = 0
        self.overflow = 0
        self.reorder_ns = 0

    def add(self, sample: Sample, lateness_ns: int) -> bool:
        """Insert by time, False for a repeated stamp; `lateness_ns` caps the learned reordering."""
        times, samples = self.times, self.samples
        time_ns = sample.time_ns
        if not times or time_ns > times[-1]:
            if times and samples[-1].stamp_ns == sample.stamp_ns:
                return False
            times.append(time_ns)
            samples.append(sample)
            self.newest_ns = time_ns
            if time_ns - times[0] > self.retention_ns or len(times) > self.capacity:
                self._trim(time_ns)
            return True
        place = bisect_left(times, time_ns)
        # A corrected clock may have moved since, so a repeated stamp is looked for on both sides.
        if samples[place].stamp_ns == sample.stamp_ns or (
            place and samples[place - 1].stamp_ns == sample.stamp_ns
        ):
            return False
        late_ns = sample.arrival_ns - samples[place].arrival_ns
        self.reorder_ns = max(self.reorder_ns, min(late_ns, lateness_ns))
        times.insert(place, time_ns)
        samples.insert(place, sample)
        if len(times) > self.capacity:
            self._trim(times[-1])
        return True

    def _trim(self, newest_ns: int) -> None:
        self.drop_before(newest_ns - self.retention_ns)
        if len(self.times) > self.capacity:
            self.overflow += not self.samples[0].is_used
            del self.times[0], self.samples[0]

    def drop_before(self, time_ns: int) -> None:
        """Let go of all older than `time_ns`: no coming set may use them."""
        count = bisect_left(self.times, time_ns)
        if count:
            self.unused += sum(not sample.is_used for sample in self.samples[:count])
            del self.times[:count], self.samples[:count]

    def use(self, sample: Sample) -> None:
        """A set holds it: counted once, however many sets do."""
        if not sample.is_used:
            sample.is_used = True
            self.used += 1

    def nearest(self, time_ns: int) -> Sample | None:
        """The sample nearest to `time_ns`, the older of two equally near."""
        times = self.times
        if not times:
            return None
        place = bisect_left(times, time_ns)
        if place == len(times) or (place and time_ns - times[place - 1] <= times[place] - time_ns):
            place -= 1
        return self.samples[place]

    def before(self, time_ns: int) -> int:
        """Index of the newest sample at or before `time_ns`; -1: none."""
        return bisect_right(self.times, time_ns) - 1

    def forget_reordering(self) -> None:
        """Once a set: what was learned of reordering halves in some 350 sets."""
        self.reorder_ns -= (self.reorder_ns >> 9) + 1 if self.reorder_ns > NS_PER_MS else 0

    def buffered(self) -> int:
        """Samples held that no set has used yet."""
        return sum(not sample.is_used for sample in self.samples)
