"""Sync step, for audio: a window of sound cut to the sample.

The device's sample counter is the better clock: it does not jitter. Stamps only place it in time.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S

MOST_RATE_ERROR = 500e-6
"""Sound cards are off by some ten to hundred parts in a million."""
REFIT_NS = 2 * NS_PER_S
RESTART_NS = NS_PER_S // 2
"""A stamp this far off its place: the device or its clock began anew."""


class Chunk(msgspec.Struct, frozen=True):
    """Consecutive samples of one device."""

    stamp_ns: int
    """Of the first sample."""
    first_sample: int
    """Samples the device delivered before this chunk."""
    samples: npt.NDArray[np.generic]
    """(frames, channels)"""


class AudioWindow(msgspec.Struct, frozen=True):
    """A stretch of sound on a common grid of samples; what is missing is zero and marked."""

    first_sample: int
    samples: npt.NDArray[np.generic]
    """(frames, channels), dtype of the chunks; owned by the caller."""
    is_real: npt.NDArray[np.bool_]
    """(frames,) False where nothing was received."""


class SampleClock:
    """Time of each sample: a line under the stamps, because delays only ever make them late."""

    def __init__(self, rate_hz: float, first_sample: int, stamp_ns: int) -> None:
        """From the first chunk's counter and stamp."""
        self._nominal_ns = NS_PER_S / rate_hz
        self._line = _Line(first_sample, stamp_ns, self._nominal_ns)

    def observe(self, first_sample: int, stamp_ns: int) -> None:
        """Learn from a further chunk."""
        line = self._line
        late_ns = stamp_ns - self.time_ns(first_sample)
        if first_sample < line.newest_sample or abs(late_ns) > RESTART_NS:
            self._line = _Line(first_sample, stamp_ns, self._nominal_ns)
            return
        line.newest_sample = first_sample
        if late_ns < line.least_late_ns:
            line.least_late_ns, line.best = late_ns, (first_sample, stamp_ns)
        if stamp_ns >= line.refit_ns:
            line.refit(stamp_ns, self._nominal_ns)

    def time_ns(self, sample: int) -> int:
        """When that sample was taken."""
        first_sample, stamp_ns = self._line.origin
        return stamp_ns + round((sample - first_sample) * self._line.sample_ns)

    def sample_at(self, time_ns: int) -> int:
        """The sample taken at that time, rounded."""
        first_sample, stamp_ns = self._line.origin
        return first_sample + round((time_ns - stamp_ns) / self._line.sample_ns)


class _Line:
    """Sample counter to time, through the least late stamp of the last stretch of time."""

    def __init__(self, first_sample: int, stamp_ns: int, sample_ns: float) -> None:
        self.origin = self.best = (first_sample, stamp_ns)
        self.previous: tuple[int, int] | None = None
        self.newest_sample = first_sample
        self.sample_ns = sample_ns
        self.least_late_ns = 0.0
        self.refit_ns = stamp_ns + REFIT_NS

    def refit(self, now_ns: int, nominal_ns: float) -> None:
        if self.previous is not None and self.best[0] > self.previous[0]:
            slope_ns = (self.best[1] - self.previous[1]) / (self.best[0] - self.previous[0])
            most_ns = nominal_ns * MOST_RATE_ERROR
            error_ns = max(-most_ns, min(most_ns, slope_ns - nominal_ns))
            self.sample_ns += (nominal_ns + error_ns - self.sample_ns) / 4
        self.origin = self.previous = self.best
        self.least_late_ns = float("inf")
        self.refit_ns = now_ns + REFIT_NS


def cut_window(chunks: Sequence[Chunk], first_sample: int, frames: int) -> AudioWindow:
    """`frames` samples from `first_sample` on, by the counter; overlaps are written once over."""
    channels = chunks[0].samples.shape[1] if chunks else 0
    dtype = chunks[0].samples.dtype if chunks else np.dtype(np.float32)
    samples = np.zeros((frames, channels), dtype)
    is_real = np.zeros(frames, np.bool_)
    for chunk in chunks:
        begin = max(chunk.first_sample, first_sample)
        end = min(chunk.first_sample + len(chunk.samples), first_sample + frames)
        if begin < end:
            into = slice(begin - first_sample, end - first_sample)
            samples[into] = chunk.samples[begin - chunk.first_sample : end - chunk.first_sample]
            is_real[into] = True
    return AudioWindow(first_sample, samples, is_real)
