"""Finds how late one sensor's stamps are against another's, from motion or events both have seen.

Signals are compared by shape alone: masked normalised cross-correlation (Padfield, "Masked object
registration in the Fourier domain", 2012) on a common grid, so gaps count for nothing and scale and
zero do not matter. Windows of the signals are then aligned one by one: their line is the drift and
their scatter the uncertainty.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.int64]

MIN_CORRELATION = 0.5
MIN_LEAD = 0.05
"""By which the best correlation must exceed that of any other peak: periodic motion has many."""
MIN_OVERLAP_S = 2.0
MIN_SAMPLES = 20
OVERSAMPLING = 8
"""Grid points per period of the slower signal; a parabola through the peak does the rest."""
MAX_GRID = 1 << 20
GAP_PERIODS = 3.0
EVENT_WIDTH_NS = 10 * NS_PER_MS
WINDOWS = 8
MIN_WINDOW_SAMPLES = 25
DRIFT_SIGNIFICANCE = 3.0
"""Standard deviations; a smaller drift is put down to chance and reported as none."""


class Signal(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One quantity over time, as a sensor stamped it."""

    name: str
    stamps_ns: Stamps
    """(N,), increasing."""
    values: Floats
    """(N,), any unit."""

    def __post_init__(self) -> None:
        if self.stamps_ns.shape != self.values.shape or self.stamps_ns.ndim != 1:
            got = f"{self.stamps_ns.shape} and {self.values.shape}"
            raise CalibrationError(self.name, f"expected as many stamps as values, got {got}")
        if len(self.stamps_ns) < MIN_SAMPLES:
            problem = f"expected {MIN_SAMPLES} samples, got {len(self.stamps_ns)}"
            raise CalibrationError(self.name, problem, "record for longer")
        if not (np.diff(self.stamps_ns) > 0).all() or not np.isfinite(self.values).all():
            raise CalibrationError(self.name, "expected increasing stamps and finite values")

    @property
    def period_ns(self) -> float:
        return float(np.median(np.diff(self.stamps_ns)))

    def rate(self) -> "Signal":
        """Its rate of change per second, stamped half way between the samples."""
        step_s = np.diff(self.stamps_ns) / NS_PER_S
        middle = self.stamps_ns[:-1] + np.diff(self.stamps_ns) // 2
        return Signal(name=self.name, stamps_ns=middle, values=np.diff(self.values) / step_s)


class OffsetEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """How late `late` is stamped against `reference`: its stamps minus `offset_ns` agree."""

    reference: str
    late: str
    offset_ns: int
    """In the middle of the recording."""
    offset_sd_ns: int
    drift_ppm: float
    """0.0 where the recording shows none beyond chance."""
    drift_sd_ppm: float
    correlation: float
    """0..1 at the best offset."""
    lead: float
    """By which it exceeds the next best offset's."""


def signal_from_events(name: str, stamps_ns: Stamps) -> Signal:
    """A pulse per event, on a grid a third of its width."""
    step = EVENT_WIDTH_NS // 3
    grid = np.arange(stamps_ns[0] - NS_PER_S, stamps_ns[-1] + NS_PER_S, step)
    if len(grid) > MAX_GRID:
        problem = f"expected events within {MAX_GRID * step // NS_PER_S} s, got more"
        raise CalibrationError(name, problem, "give a shorter recording")
    values = np.zeros(len(grid))
    for stamp in stamps_ns:
        near = slice(
            *np.searchsorted(grid, [stamp - 5 * EVENT_WIDTH_NS, stamp + 5 * EVENT_WIDTH_NS])
        )
        values[near] += np.exp(-(((grid[near] - stamp) / EVENT_WIDTH_NS) ** 2) / 2)
    return Signal(name=name, stamps_ns=grid.astype(np.int64), values=values)


def estimate_offset(reference: Signal, late: Signal, max_offset_ns: int) -> OffsetEstimate:
    """How late `late` is against `reference`, looked for within `max_offset_ns` either way.

    Raises CalibrationError where nothing moved, the signals do not resemble each other, or several
    offsets fit equally well.
    """
    _check_motion(reference)
    _check_motion(late)
    step_ns = _grid_step_ns(reference, late)
    start = min(int(reference.stamps_ns[0]), int(late.stamps_ns[0]))
    a = _on_grid(reference, start, step_ns)
    b = _on_grid(late, start, step_ns)
    lags = max(int(max_offset_ns / step_ns), 2)
    correlation = _correlation(a, b, lags, MIN_OVERLAP_S * NS_PER_S / step_ns)
    offset_ns, height, lead = _peak(correlation, lags, step_ns, reference, late)
    middle_ns, windows_ns = _windows(a, b, round(offset_ns / step_ns), step_ns)
    drift, drift_sd, offset_sd = _line(middle_ns, windows_ns - offset_ns)
    if abs(drift) < DRIFT_SIGNIFICANCE * drift_sd or not np.isfinite(drift_sd):
        drift = 0.0
    floor_ns = step_ns / 4  # what the parabola leaves where the windows say nothing
    return OffsetEstimate(
        reference=reference.name,
        late=late.name,
        offset_ns=round(offset_ns),
        offset_sd_ns=round(max(offset_sd, floor_ns) if np.isfinite(offset_sd) else step_ns),
        drift_ppm=drift * 1e6,
        drift_sd_ppm=drift_sd * 1e6,
        correlation=height,
        lead=lead,
    )


def _check_motion(signal: Signal) -> None:
    """Noise is rough: its differences are as large as itself. Motion is smooth or spiky."""
    spread = float(signal.values.std())
    roughness = float(np.diff(signal.values).std())
    if spread <= 1e-9 * max(1.0, float(np.abs(signal.values).max())) or roughness > 1.3 * spread:
        problem = "expected motion or events, got a signal that is flat or only noise"
        raise CalibrationError(signal.name, problem, "record turns, stops or claps that both sense")


def _grid_step_ns(reference: Signal, late: Signal) -> float:
    step_ns = max(reference.period_ns, late.period_ns) / OVERSAMPLING
    span = max(reference.stamps_ns[-1], late.stamps_ns[-1]) - min(
        reference.stamps_ns[0], late.stamps_ns[0]
    )
    if span / step_ns > MAX_GRID:
        problem = f"expected recordings of one time, {MAX_GRID * step_ns / NS_PER_S:.0f} s at most"
        raise CalibrationError(late.name, f"{problem}, got {span / NS_PER_S:.0f} s")
    return step_ns


def _on_grid(signal: Signal, start_ns: int, step_ns: float) -> Floats:
    """(N,), NaN before, after and in gaps."""
    at = (signal.stamps_ns - start_ns) / step_ns
    grid = np.arange(int(at[-1]) + 1, dtype=np.float64)
    values = np.interp(grid, at, signal.values, left=np.nan)
    after = np.clip(np.searchsorted(at, grid), 1, len(at) - 1)
    gap = at[after] - at[after - 1] > GAP_PERIODS * signal.period_ns / step_ns
    values[gap] = np.nan
    return np.asarray(values - np.nanmean(values))


def _correlation(a: Floats, b: Floats, lags: int, min_overlap: float) -> Floats:
    """(2 * lags + 1,) correlation of b, moved earlier by -lags..lags, with a; NaN: no overlap."""
    size = 1 << int(np.ceil(np.log2(len(a) + len(b) + 1)))
    is_a, is_b = np.isfinite(a), np.isfinite(b)
    fa, fb = np.where(is_a, a, 0.0), np.where(is_b, b, 0.0)

    def across(x: Floats, y: Floats) -> Floats:
        product = np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size)
        full = np.fft.irfft(product, size)
        return np.concatenate([full[-lags:], full[: lags + 1]])

    ma, mb = is_a.astype(np.float64), is_b.astype(np.float64)
    count = np.maximum(across(ma, mb), 1e-9)
    sum_a, sum_b = across(fa, mb), across(ma, fb)
    covariance = across(fa, fb) - sum_a * sum_b / count
    spread_a = across(fa * fa, mb) - sum_a**2 / count
    spread_b = across(ma, fb * fb) - sum_b**2 / count
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.sqrt(np.maximum(spread_a * spread_b, 0))
    floor = 1e-9 * max(float(spread_a.max() * spread_b.max()), 1e-300)
    correlation[(count < min_overlap) | (spread_a * spread_b <= floor)] = np.nan
    return np.asarray(correlation)


def _peak(
    correlation: Floats, lags: int, step_ns: float, reference: Signal, late: Signal
) -> tuple[float, float, float]:
    """Offset, height and lead over the next peak."""
    pair = f"{reference.name} and {late.name}"
    if not np.isfinite(correlation).any():
        problem = f"expected {MIN_OVERLAP_S:g} s of motion both have seen, got less"
        raise CalibrationError(pair, problem, "record for longer")
    heights = np.nan_to_num(correlation, nan=-1.0)
    best = int(np.argmax(heights))
    height = float(heights[best])
    others = _other_peaks(heights, best)
    lead = height - float(others.max(initial=0.0))
    if height < MIN_CORRELATION:
        problem = f"expected a correlation of {MIN_CORRELATION}, got {height:.2f}"
        way_out = "compare quantities both sense, such as turn rate with turn rate"
        raise CalibrationError(pair, problem, way_out)
    if lead < MIN_LEAD:
        problem = f"expected one offset that fits, got another as good (within {lead:.2f})"
        raise CalibrationError(pair, problem, "record motion that does not repeat itself")
    if best in (0, 2 * lags):
        problem = f"expected an offset below {lags * step_ns / NS_PER_S:g} s, got more"
        raise CalibrationError(pair, problem, "allow a larger one")
    return (best - lags + _vertex(heights, best)) * step_ns, height, lead


def _other_peaks(heights: Floats, best: int) -> Floats:
    """Local maxima outside the hump that the best one stands on."""
    is_peak = np.r_[False, (heights[1:-1] > heights[:-2]) & (heights[1:-1] >= heights[2:]), False]
    low = heights < heights[best] - MIN_LEAD
    left = np.flatnonzero(low[:best])
    right = np.flatnonzero(low[best:])
    is_peak[(left[-1] if len(left) else 0) : best + (right[0] if len(right) else len(heights))] = (
        False
    )
    return np.asarray(heights[is_peak])


def _vertex(heights: Floats, best: int) -> float:
    """Where a parabola through the highest and its neighbours peaks, in steps from it."""
    if not 0 < best < len(heights) - 1:
        return 0.0
    left, middle, right = heights[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _windows(a: Floats, b: Floats, shift: int, step_ns: float) -> tuple[Floats, Floats]:
    """Middle and offset, in ns, of each window in which the signals say something."""
    length = min(len(a), len(b))
    width = max(length // WINDOWS, MIN_WINDOW_SAMPLES * OVERSAMPLING)
    reach = max(min(2 * OVERSAMPLING, width // 4), 2)
    middles, offsets = [], []
    for begin in range(0, length - width + 1, width):
        moved = slice(begin + shift, begin + shift + width)
        if moved.start < 0 or moved.stop > len(b):
            continue
        heights = _correlation(a[begin : begin + width], b[moved], reach, width / 2)
        heights = np.nan_to_num(heights, nan=-1.0)
        best = int(np.argmax(heights))
        if heights[best] < MIN_CORRELATION:
            continue
        if best in (0, len(heights) - 1):
            continue
        middles.append((begin + width / 2) * step_ns)
        offsets.append((best - reach + shift + _vertex(heights, best)) * step_ns)
    return np.array(middles), np.array(offsets)


def _line(at_ns: Floats, values_ns: Floats) -> tuple[float, float, float]:
    """Slope, its standard deviation, and that of the level; NaN where two windows are not there."""
    if len(at_ns) < 3:
        return 0.0, np.nan, np.nan
    centred = at_ns - at_ns.mean()
    slope = float(centred @ values_ns / (centred @ centred))
    rest = values_ns - values_ns.mean() - slope * centred
    scatter = float(np.sqrt((rest**2).sum() / (len(rest) - 2)))
    return slope, scatter / float(np.sqrt(centred @ centred)), scatter / float(np.sqrt(len(rest)))
