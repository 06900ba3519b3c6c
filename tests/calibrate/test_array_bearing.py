import wave

import numpy as np
import pytest

from fusion_rt.calibrate.array_bearing import array_problems, bearing_offset, heard_from
from fusion_rt.calibrate.sound_file import read_sound
from fusion_rt.errors import CalibrationError
from tests.calibrate.real_data import recording

SQUARE = np.array([[0.1, 0.1, 0], [-0.1, 0.1, 0], [-0.1, -0.1, 0], [0.1, -0.1, 0]])
ODD = np.array([[0.12, 0.1, 0], [-0.1, 0.13, 0], [-0.07, -0.1, 0], [0.1, -0.15, 0], [0.0, 0.02, 0]])
RATE_HZ = 16_000


def sound(places, azimuth_deg: float, noise: float = 0.2):
    """White noise from far away, as microphones at `places` hear it."""
    rng = np.random.default_rng(0)
    source = np.fft.rfft(rng.normal(size=30_000))
    hz = np.fft.rfftfreq(30_000, 1 / RATE_HZ)
    towards = [np.cos(np.radians(azimuth_deg)), np.sin(np.radians(azimuth_deg))]
    earlier_s = places[:, :2] @ towards / 343
    heard = [np.fft.irfft(source * np.exp(2j * np.pi * hz * t), 30_000) for t in earlier_s]
    return np.stack(heard, axis=1) + rng.normal(0, noise, (30_000, len(places)))


@pytest.mark.parametrize("azimuth_deg", [0, 33, 120, 251])
def test_a_sound_is_heard_from_where_it_comes(azimuth_deg: float) -> None:
    samples = sound(SQUARE, azimuth_deg)
    heard = heard_from(samples, RATE_HZ, SQUARE)
    error = (heard.azimuth_deg - azimuth_deg + 180) % 360 - 180
    assert abs(error) < 1
    assert array_problems(samples, RATE_HZ, SQUARE) == []


def test_swapped_channels_are_named() -> None:
    samples = sound(ODD, 130)[:, [0, 3, 2, 1, 4]]
    (problem,) = array_problems(samples, RATE_HZ, ODD)
    assert "channels 1 and 3 seem swapped" in problem


def test_an_array_drawn_too_large_is_told_so() -> None:
    (problem,) = array_problems(sound(ODD, 40), RATE_HZ, ODD * 2)
    assert problem == "the array seems to be 0.5 times as large as it is drawn"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: s * [1, 1, 0, 1], "channel 2 is silent"),
        (lambda s: s * 0, "more than half of the channels are silent"),
        (lambda s: s[:, [0, 1, 1, 3]], "channels 1 and 2 carry the same signal"),
        (
            lambda s: np.random.default_rng(1).normal(size=s.shape),
            "no direction stands out: expected one sound from one place",
        ),
    ],
)
def test_broken_channels_are_named(spoil, words: str) -> None:
    (problem,) = array_problems(spoil(sound(SQUARE, 70)), RATE_HZ, SQUARE)
    assert words in problem


def test_the_yaw_of_an_array_comes_from_known_bearings() -> None:
    found = bearing_offset([350, 80.5, 169.5], [10, 100, 190])
    assert found.yaw_deg == pytest.approx(20, abs=0.5)
    assert found.sd_deg < 1


def test_bearings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(CalibrationError, match="expected sounds that agree to 10 degrees, got 45"):
        bearing_offset([0, 90], [0, 180])
    with pytest.raises(CalibrationError, match="expected a true bearing per sound, got 1 for 2"):
        bearing_offset([0, 90], [0])


@pytest.mark.parametrize(
    ("samples", "places", "words"),
    [
        (np.zeros((9000, 2)), SQUARE[:2], "expected 3 at least, got 2"),
        (np.zeros((9000, 3)), SQUARE, "expected 4 channels, one per microphone"),
        (np.zeros((90, 4)), SQUARE, "expected 4096 samples, got 90"),
    ],
)
def test_sound_that_does_not_belong_to_the_array_is_refused(samples, places, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        array_problems(samples, RATE_HZ, places)


def test_a_recorded_voice_is_heard_where_other_methods_hear_it() -> None:
    """245 and 244 degrees by SRP-PHAT and MUSIC of another library."""
    folder = recording("audio")
    names = [folder / f"AMI_WSJ20-Array1-{k}_T10c0201.wav" for k in range(1, 9)]
    samples, rate_hz = read_sound(names)
    angle = np.arange(8) * np.pi / 4
    circle = 0.1 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    assert array_problems(samples, rate_hz, circle) == []
    assert heard_from(samples, rate_hz, circle).azimuth_deg == pytest.approx(244.5, abs=3)
    swapped = samples[:, [0, 1, 3, 2, 4, 5, 6, 7]]
    assert "channels 2 and 3 seem swapped" in array_problems(swapped, rate_hz, circle)[0]


def write_wav(path, samples, rate_hz: int = 8000, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes((samples * (2 ** (8 * width - 1) - 1)).astype(f"<i{width}").tobytes())


def test_sound_is_read_from_one_file_or_one_per_channel(tmp_path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    write_wav(tmp_path / "both.wav", samples)
    for k in (0, 1):
        write_wav(tmp_path / f"{k}.wav", samples[:, [k]], width=4)
    both, rate_hz = read_sound([tmp_path / "both.wav"])
    apart, _ = read_sound([tmp_path / "0.wav", tmp_path / "1.wav"])
    assert rate_hz == 8000
    assert both == pytest.approx(samples, abs=1e-4)
    assert apart == pytest.approx(samples, abs=1e-4)


def test_what_is_no_sound_is_refused(tmp_path) -> None:
    samples = np.zeros((100, 1))
    write_wav(tmp_path / "a.wav", samples)
    write_wav(tmp_path / "b.wav", samples, rate_hz=16_000)
    with pytest.raises(CalibrationError, match=r"expected one sample rate, got \[8000, 16000\]"):
        read_sound([tmp_path / "a.wav", tmp_path / "b.wav"])
    (tmp_path / "c.wav").write_bytes(b"RIFF")
    with pytest.raises(CalibrationError, match="expected a PCM WAV file, got"):
        read_sound([tmp_path / "c.wav"])
