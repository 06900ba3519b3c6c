"""Checks a microphone array's drawing against what it hears, and finds how the array is turned.

Delays between microphones come from cross-correlation with phase transform (Knapp and Carter, "The
generalized correlation method for estimation of time delay", 1976); a direction's score is the sum
of those correlations at the delays it would cause (SRP-PHAT; DiBiase, 2000). Far field, in the
plane of the array.
"""

from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import CalibrationError

Floats = npt.NDArray[np.float64]

SPEED_OF_SOUND_MPS = 343.0
MIN_CHANNELS = 3
MIN_SHARPNESS = 3.0
"""The best direction's score, in standard deviations above the mean of all directions."""
MIN_SCORE = 0.05
"""Of the sound that all pairs agree on; unrelated noise gives 0.01, a voice across a room 0.3."""
QUIET_SHARE = 0.01
"""Of the median channel's level: 40 dB below the others, the channel is dead."""
MAX_SPREAD_DEG = 10.0
_FRAME = 4096
_UPSAMPLING = 8
_STEP_DEG = 0.5
_LOUDEST_SHARE = 0.5
_SWAP_GAIN = 1.15
_SCALE_GAIN = 1.5
_SCALES = (0.5, 0.667, 0.8, 1.25, 1.5, 2.0)


class Heard(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where one sound came from, by one drawing of the array."""

    azimuth_deg: float
    """0..360 in the array's frame, from x towards y."""
    score: float
    """0..1: the share of the sound that all pairs of microphones agree on."""
    sharpness: float


class BearingOffset(msgspec.Struct, frozen=True, kw_only=True):
    """How far the array is turned against where the sounds really were."""

    yaw_deg: float
    """Add to what the array says; -180..180."""
    sd_deg: float
    """Of one bearing."""


def heard_from(samples: Floats, rate_hz: int, microphones_m: Floats) -> Heard:
    """Direction of the sound in samples (N, C), for microphones (C, 3); the loud frames count."""
    return _heard(_pair_correlations(samples, rate_hz, microphones_m), rate_hz, microphones_m)


def array_problems(samples: Floats, rate_hz: int, microphones_m: Floats) -> list[str]:
    """What is wrong with an array by what it heard: dead, doubled or swapped channels, no bearing.

    A sound from one place is enough, if it is broad-band: a clap, a horn, a voice.
    """
    _check_shape(samples, microphones_m)
    if problems := _level_problems(samples):
        return problems
    doubled = _doubled(samples)
    if doubled is not None:
        return [f"channels {doubled[0]} and {doubled[1]} carry the same signal"]
    pairs = _pair_correlations(samples, rate_hz, microphones_m)
    heard = _heard(pairs, rate_hz, microphones_m)
    swap, swapped = _best_swap(pairs, rate_hz, microphones_m)
    scale, scaled = _best_scale(pairs, rate_hz, microphones_m)
    if scaled > max(_SCALE_GAIN * heard.score, swapped, MIN_SCORE):
        return [f"the array seems to be {scale:g} times as large as it is drawn"]
    if swapped > max(_SWAP_GAIN * heard.score, MIN_SCORE):
        return [
            f"channels {swap[0]} and {swap[1]} seem swapped: microphones agree on "
            f"{heard.score:.2f} of the sound as drawn, on {swapped:.2f} when exchanged"
        ]
    if heard.sharpness < MIN_SHARPNESS or heard.score < MIN_SCORE:
        return [
            "no direction stands out: expected one sound from one place, or the drawing is wrong "
            f"(the best is {heard.sharpness:.1f} standard deviations above the rest and agrees "
            f"with {heard.score:.2f} of the sound; {MIN_SHARPNESS:g} and {MIN_SCORE} are needed)"
        ]
    return []


def bearing_offset(heard_deg: Sequence[float], true_deg: Sequence[float]) -> BearingOffset:
    """The array's yaw from sounds at known bearings; raises where they contradict each other."""
    if len(heard_deg) != len(true_deg) or not heard_deg:
        got = f"{len(true_deg)} for {len(heard_deg)} sounds"
        raise CalibrationError("microphones", f"expected a true bearing per sound, got {got}")
    turns = np.exp(1j * np.radians(np.asarray(true_deg) - np.asarray(heard_deg)))
    yaw = float(np.degrees(np.angle(turns.mean())))
    rest = np.degrees(np.angle(turns * np.exp(-1j * np.radians(yaw))))
    if np.abs(rest).max() > MAX_SPREAD_DEG:
        got = f"{np.abs(rest).max():.0f}"
        problem = f"expected sounds that agree to {MAX_SPREAD_DEG:g} degrees, got {got}"
        way_out = "check the bearings and the order of the microphones, or move away from walls"
        raise CalibrationError("microphones", problem, way_out)
    return BearingOffset(yaw_deg=yaw, sd_deg=float(np.sqrt((rest**2).mean())))


def _check_shape(samples: Floats, microphones_m: Floats) -> None:
    channels = len(microphones_m)
    if channels < MIN_CHANNELS:
        raise CalibrationError("microphones", f"expected {MIN_CHANNELS} at least, got {channels}")
    if samples.ndim != 2 or samples.shape[1] != channels:
        got = f"{samples.shape}"
        raise CalibrationError(
            "sound", f"expected {channels} channels, one per microphone, got {got}"
        )
    if len(samples) < _FRAME:
        raise CalibrationError("sound", f"expected {_FRAME} samples, got {len(samples)}")


def _level_problems(samples: Floats) -> list[str]:
    levels = samples.std(axis=0)
    if not np.median(levels) > 0:
        return ["more than half of the channels are silent"]
    quiet = np.flatnonzero(levels < QUIET_SHARE * np.median(levels))
    return [f"channel {channel} is silent" for channel in quiet.tolist()]


def _doubled(samples: Floats) -> tuple[int, int] | None:
    """Two channels that are copies: real microphones have noise of their own."""
    alike = np.abs(np.corrcoef(samples.T)) - np.eye(samples.shape[1])
    first, second = np.unravel_index(int(np.argmax(alike)), alike.shape)
    return (int(first), int(second)) if alike[first, second] > 0.99999 else None


def _pair_correlations(samples: Floats, rate_hz: int, microphones_m: Floats) -> Floats:
    """(C, C, lags) phase-transform correlations for lags -m..m, upsampled, mean of loud frames."""
    _check_shape(samples, microphones_m)
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME, samples.shape[1])
    loudness = frames.std(axis=(1, 2))
    loud = frames[loudness >= np.quantile(loudness, 1 - _LOUDEST_SHARE)]
    spectra = np.fft.rfft(loud * np.hanning(_FRAME)[None, :, None], axis=1)
    lags = _max_lag(rate_hz, microphones_m * max(_SCALES))
    channels = samples.shape[1]
    pairs = np.zeros((channels, channels, 2 * lags + 1))
    for i, j in combinations(range(channels), 2):
        cross = spectra[:, :, i] * np.conj(spectra[:, :, j])
        phases = (cross / np.maximum(np.abs(cross), 1e-12)).mean(axis=0)
        full = np.fft.irfft(phases, _FRAME * _UPSAMPLING) * _UPSAMPLING
        pairs[i, j] = np.concatenate([full[-lags:], full[: lags + 1]])
        pairs[j, i] = pairs[i, j, ::-1]
    return pairs


def _max_lag(rate_hz: int, microphones_m: Floats) -> int:
    widest = max(float(np.linalg.norm(a - b)) for a, b in combinations(microphones_m, 2))
    return int(np.ceil(widest / SPEED_OF_SOUND_MPS * rate_hz * _UPSAMPLING)) + 2


def _heard(pairs: Floats, rate_hz: int, microphones_m: Floats) -> Heard:
    azimuth_deg = np.arange(0, 360, _STEP_DEG)
    scores = _scores(pairs, rate_hz, microphones_m, azimuth_deg)
    best = int(np.argmax(scores))
    return Heard(
        azimuth_deg=float((azimuth_deg[best] + _vertex(scores, best) * _STEP_DEG) % 360),
        score=float(scores[best]),
        sharpness=float((scores[best] - scores.mean()) / max(scores.std(), 1e-12)),
    )


def _scores(pairs: Floats, rate_hz: int, microphones_m: Floats, azimuth_deg: Floats) -> Floats:
    """Mean over the pairs of their correlation at the delay each direction would cause."""
    towards = np.stack([np.cos(np.radians(azimuth_deg)), np.sin(np.radians(azimuth_deg))])
    earlier_s = microphones_m[:, :2] @ towards / SPEED_OF_SOUND_MPS
    middle = pairs.shape[2] // 2
    total = np.zeros(len(azimuth_deg))
    count = 0
    for i, j in combinations(range(len(microphones_m)), 2):
        lag = np.rint((earlier_s[j] - earlier_s[i]) * rate_hz * _UPSAMPLING).astype(int) + middle
        total += pairs[i, j, np.clip(lag, 0, pairs.shape[2] - 1)]
        count += 1
    return total / count


def _vertex(scores: Floats, best: int) -> float:
    left, middle, right = scores[best - 1], scores[best], scores[(best + 1) % len(scores)]
    bend = left - 2 * middle + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _best_swap(pairs: Floats, rate_hz: int, microphones_m: Floats) -> tuple[tuple[int, int], float]:
    """The exchange of two channels that lets the microphones agree best, and the score then."""
    channels = range(len(microphones_m))
    found = []
    for i, j in combinations(channels, 2):
        order = list(channels)
        order[i], order[j] = j, i
        score = _heard(pairs[np.ix_(order, order)], rate_hz, microphones_m).score
        found.append(((i, j), score))
    return max(found, key=lambda swap_and_score: swap_and_score[1])


def _best_scale(pairs: Floats, rate_hz: int, microphones_m: Floats) -> tuple[float, float]:
    """How many times larger the array would hear best, and the score then."""
    scores = [_heard(pairs, rate_hz, microphones_m * scale).score for scale in _SCALES]
    best = int(np.argmax(scores))
    return _SCALES[best], scores[best]
