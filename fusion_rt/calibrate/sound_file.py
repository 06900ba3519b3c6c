"""Reads sound from WAV files, for the microphone array."""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fusion_rt.errors import CalibrationError

Floats = npt.NDArray[np.float64]

MAX_BYTES = 1 << 29


def read_sound(paths: Sequence[Path]) -> tuple[Floats, int]:
    """Samples (N, C) in -1..1 and their rate, from one file or from one mono file per channel."""
    read = [_read(path) for path in paths]
    rates = {rate for _, rate in read}
    if len(rates) != 1:
        raise CalibrationError(str(paths[0]), f"expected one sample rate, got {sorted(rates)}")
    length = min(len(samples) for samples, _ in read)
    return np.hstack([samples[:length] for samples, _ in read]), rates.pop()


def _read(path: Path) -> tuple[Floats, int]:
    try:
        with wave.open(str(path)) as file:
            width, channels = file.getsampwidth(), file.getnchannels()
            if width not in (2, 4) or file.getnframes() * width * channels > MAX_BYTES:
                raise CalibrationError(str(path), f"expected 16 or 32 bits, got {8 * width}")
            raw, rate = file.readframes(file.getnframes()), file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise CalibrationError(str(path), f"expected a PCM WAV file, got: {error}") from error
    samples = np.frombuffer(raw, f"<i{width}").reshape(-1, channels)
    return samples.astype(np.float64) / (1 << (8 * width - 1)), rate
