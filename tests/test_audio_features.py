"""Log-mel and delays against numpy.fft, and what a known delay and real recordings give."""

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_rt.errors import ArrayError, ConfigError
from fusion_rt.preprocess.audio_features import AudioFeatures, AudioRecipe
from tests import numpy_kernels

AUDIO = Path(__file__).parents[2] / "shared" / "data" / "audio"


def noise(recipe: AudioRecipe, seed: int = 0) -> np.ndarray:
    shape = (recipe.samples, recipe.channels)
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def assert_equals_reference(recipe: AudioRecipe, samples: np.ndarray) -> None:
    mel, delays = AudioFeatures(recipe).run(samples)
    expected_mel, expected_delays = numpy_kernels.log_mel_and_delays(recipe, samples)
    np.testing.assert_allclose(mel, expected_mel, atol=2e-3)
    np.testing.assert_allclose(delays, expected_delays, atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    channels=st.integers(1, 7),
    frames=st.integers(1, 20),
    bits=st.integers(4, 10),
    hop=st.integers(1, 200),
    bands=st.integers(1, 80),
)
def test_equals_reference_for_any_shape(seed, channels, frames, bits, hop, bands):
    recipe = AudioRecipe(
        channels=channels, frames=frames, fft_size=1 << bits, hop=hop, bands=bands, lags=16
    )
    assert_equals_reference(recipe, noise(recipe, seed))


def test_a_known_delay_is_the_peak():
    recipe = AudioRecipe(channels=2)
    source = noise(recipe)[:, 0]
    samples = np.stack([np.roll(source, 7), source], axis=1)
    _, delays = AudioFeatures(recipe).run(np.ascontiguousarray(samples))
    assert (delays[0].argmax(axis=1) - recipe.lags // 2 == 7).all()


def test_a_tone_is_in_its_band():
    recipe = AudioRecipe(channels=1)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(recipe.samples) / recipe.rate_hz)
    mel, _ = AudioFeatures(recipe).run(tone[:, None].astype(np.float32))
    edges = np.linspace(*(2595 * np.log10(1 + np.array([60, 7600]) / 700)), recipe.bands + 2)
    expected = np.abs(edges[1:-1] - 2595 * np.log10(1 + 1000 / 700)).argmin()
    assert abs(int(mel[0, :, 10].argmax()) - int(expected)) <= 1


def test_int16_is_scaled_to_one():
    recipe = AudioRecipe(channels=2, frames=4)
    samples = np.random.default_rng(0).integers(-32768, 32767, (recipe.samples, 2), np.int16)
    mel = AudioFeatures(recipe).run(samples)[0].copy()
    as_float = (samples / np.float32(32768)).astype(np.float32)
    np.testing.assert_array_equal(mel, AudioFeatures(recipe).run(as_float)[0])


def test_silence_and_bad_samples_give_finite_features():
    recipe = AudioRecipe(channels=3, frames=9)
    samples = np.zeros((recipe.samples, 3), np.float32)
    samples[5:9, 0] = [np.nan, np.inf, -np.inf, 1e38]
    mel, delays = AudioFeatures(recipe).run(samples)
    assert (mel == mel.min()).all()
    assert mel.min() == pytest.approx(np.log(1e-10))
    assert not delays.any()


@pytest.mark.skipif(not AUDIO.is_dir(), reason="shared sensor data is not here")
def test_equals_reference_on_a_real_array_recording():
    recipe = AudioRecipe(channels=8)
    channels = []
    for path in sorted(AUDIO.glob("AMI_*.wav")):
        with wave.open(str(path)) as recording:
            recording.setpos(32000)
            channels.append(np.frombuffer(recording.readframes(recipe.samples), np.int16))
    samples = np.stack(channels, axis=1).astype(np.float32) / 32768
    assert_equals_reference(recipe, samples)


@pytest.mark.parametrize(
    ("samples", "got"),
    [
        (np.zeros((10, 4), np.float32), r"\(10, 4\) float32"),
        (np.zeros((10, 4), np.int16), r"\(10, 4\) int16"),
        (np.zeros((8576, 4)), "float64"),
    ],
)
def test_refuses_other_arrays(samples, got):
    with pytest.raises(ArrayError, match=rf'audio_features: "samples" expects .*, got .*{got}'):
        AudioFeatures(AudioRecipe()).run(samples)


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"fft_size": 500}, "a power of two from 16 to 4096"),
        ({"channels": 17}, "1 to 16 channels"),
        ({"lags": 63}, "an even number of lags"),
        ({"max_hz": 9000.0}, "max_hz <= rate_hz / 2"),
        ({"frames": 0}, "at least one frame"),
    ],
)
def test_refuses_recipes_it_cannot_run(change, claim):
    with pytest.raises(ConfigError, match=f"audio recipe: expected .*{claim}"):
        AudioRecipe(**change)
