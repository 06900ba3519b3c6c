"""Microphone samples -> network input: log-mel energies and delays between microphones (CPU)."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fusion_rt import _kernels
from fusion_rt.arrays import AnyArray, Floats, TensorSpec, array_text
from fusion_rt.errors import ArrayError, ConfigError

_LANES = 8  # frames side by side in the CPU kernel
MAX_CHANNELS = 16
MAX_FFT = 4096

# Layout shared with AudioParams in kernels/audio_features.cuh.
AUDIO_PARAMS = np.dtype(
    [
        ("channels", np.int32),
        ("frames", np.int32),
        ("fft_size", np.int32),
        ("fft_bits", np.int32),
        ("hop", np.int32),
        ("bands", np.int32),
        ("lags", np.int32),
    ]
)


@dataclass(frozen=True)
class AudioRecipe:
    """`frames` windows of `fft_size` samples, `hop` apart; `bands` of mel; `lags` per pair."""

    rate_hz: float = 16000.0
    channels: int = 4
    frames: int = 64
    fft_size: int = 512
    hop: int = 128
    bands: int = 64
    lags: int = 64
    min_hz: float = 60.0
    max_hz: float = 7600.0

    def __post_init__(self) -> None:
        claims = {
            f"1 to {MAX_CHANNELS} channels": 1 <= self.channels <= MAX_CHANNELS,
            f"a power of two from 16 to {MAX_FFT} as fft_size": 16 <= self.fft_size <= MAX_FFT
            and self.fft_size & (self.fft_size - 1) == 0,
            "at least one frame, hop and band": min(self.frames, self.hop, self.bands) >= 1,
            "an even number of lags up to fft_size": 2 <= self.lags <= self.fft_size
            and self.lags % 2 == 0,
            "0 <= min_hz < max_hz <= rate_hz / 2": 0
            <= self.min_hz
            < self.max_hz
            <= self.rate_hz / 2,
        }
        for claim, holds in claims.items():
            if not holds:
                raise ConfigError("audio recipe", "", f"expected {claim}, got {self}")

    @property
    def samples(self) -> int:
        """How many samples per channel one call takes."""
        return self.fft_size + (self.frames - 1) * self.hop

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Microphone pairs in the order of the second output."""
        return list(combinations(range(self.channels), 2))


@dataclass(frozen=True)
class AudioTables:
    """What the CPU and the GPU kernel look up, made once per recipe."""

    window: Floats
    twiddles: Floats
    bands: npt.NDArray[np.int32]
    band_weights: Floats
    pairs: npt.NDArray[np.int32]
    params: AnyArray  # () AUDIO_PARAMS


def audio_tables(recipe: AudioRecipe) -> AudioTables:
    """Hann window, FFT twiddles, mel triangles (HTK scale, peak 1) and pairs."""
    size = recipe.fft_size
    angle = 2 * np.pi * np.arange(size) / size
    twiddles = np.stack([np.cos(angle), -np.sin(angle)], axis=1)[: size // 2]
    bands, weights = _mel_triangles(recipe)
    params = np.zeros((), AUDIO_PARAMS)
    for name in ("channels", "frames", "fft_size", "hop", "bands", "lags"):
        params[name] = getattr(recipe, name)
    params["fft_bits"] = size.bit_length() - 1
    return AudioTables(
        window=(0.5 - 0.5 * np.cos(angle)).astype(np.float32),
        twiddles=np.ascontiguousarray(twiddles, np.float32),
        bands=bands,
        band_weights=weights,
        pairs=np.asarray(recipe.pairs, np.int32).reshape(-1, 2),
        params=params,
    )


class AudioFeatures:
    """Features of one microphone array. One thread at a time; nothing is allocated per call."""

    def __init__(self, recipe: AudioRecipe) -> None:
        self.recipe = recipe
        self._tables = audio_tables(recipe)
        self._params = self._tables.params.reshape(1).view(np.uint8)
        bins = recipe.fft_size // 2 + 1
        floats = 2 * _LANES * (recipe.fft_size + recipe.channels * bins)
        self._scratch: Floats = np.zeros(floats, np.float32)
        self._samples: Floats = np.zeros((recipe.samples, recipe.channels), np.float32)
        self._mel: Floats = np.zeros((recipe.channels, recipe.bands, recipe.frames), np.float32)
        self._gcc: Floats = np.zeros((len(recipe.pairs), recipe.frames, recipe.lags), np.float32)
        self._spec = TensorSpec("samples", self._samples.shape, np.dtype(np.float32))

    def run(self, samples: AnyArray) -> tuple[Floats, Floats]:
        """Log-mel (channels, bands, frames) and GCC-PHAT (pairs, frames, lags).

        `samples` is (samples, channels), float32 of -1..1 or int16. A peak right of the middle lag
        says that the pair's first microphone hears later. Non-finite samples count as silence.
        Both results are this object's own and are overwritten by the next call.
        """
        t = self._tables
        _kernels.audio_features(
            self._as_float(samples),
            t.window,
            t.twiddles,
            t.bands,
            t.band_weights,
            t.pairs,
            self._params,
            self._scratch,
            self._mel,
            self._gcc,
        )
        return self._mel, self._gcc

    def _as_float(self, samples: AnyArray) -> Floats:
        if samples.dtype != np.int16:
            self._spec.check(samples, "audio_features")
            return samples
        if samples.shape != self._spec.shape:
            expected = f"{self._spec} or int16"
            raise ArrayError("audio_features", "samples", expected, array_text(samples))
        np.multiply(samples, np.float32(1 / 32768), out=self._samples)
        return self._samples


def _mel_triangles(recipe: AudioRecipe) -> tuple[npt.NDArray[np.int32], Floats]:
    bins = np.arange(recipe.fft_size // 2 + 1)
    bin_mel = _mel_from_hz(bins * recipe.rate_hz / recipe.fft_size)
    low, high = _mel_from_hz(np.array([recipe.min_hz, recipe.max_hz]))
    edges = np.linspace(low, high, recipe.bands + 2)
    width = edges[1] - edges[0]
    bands, weights, start = [], [], 0
    for centre in edges[1:-1]:
        triangle = np.maximum(0, 1 - np.abs(bin_mel - centre) / width)
        if not triangle.any():  # narrower than a bin: take the nearest one
            triangle[np.argmin(np.abs(bin_mel - centre))] = 1
        used = np.flatnonzero(triangle)
        bands.append((used[0], len(used), start))
        weights.append(triangle[used[0] : used[-1] + 1])
        start += len(used)
    return np.asarray(bands, np.int32), np.concatenate(weights).astype(np.float32)


def _mel_from_hz(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mel: npt.NDArray[np.float64] = 2595 * np.log10(1 + hz / 700)  # HTK
    return mel
