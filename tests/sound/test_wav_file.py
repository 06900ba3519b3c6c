import struct
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.errors import RecordingError
from fusion_rt.sound.wav_file import WavArray, read_head

RAMP = np.arange(-100, 100, dtype=np.float64).reshape(-1, 2) / 100  # (100, 2), -1..0.99
EXTENSIBLE = 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def stored(code: int, sample_bytes: int, samples: np.ndarray = RAMP) -> bytes:
    """Samples in -1..1 as a file of this format holds them."""
    if code == 3:
        return samples.astype(f"<f{sample_bytes}").tobytes()
    if sample_bytes == 1:
        return np.round(samples * 127 + 128).astype(np.uint8).tobytes()
    full = np.round(samples * (2 ** (8 * sample_bytes - 1) - 1)).astype("<i8")
    return full.reshape(-1, 1).view(np.uint8)[:, :sample_bytes].tobytes()


def wav(
    path: Path,
    code: int = 1,
    sample_bytes: int = 2,
    channels: int = 2,
    rate_hz: int = 16_000,
    sound: bytes | None = None,
    size: int | None = None,
    extra: bytes = b"",
) -> str:
    sound = stored(code, sample_bytes) if sound is None else sound
    frame = sample_bytes * channels
    shape = (channels, rate_hz, rate_hz * frame, frame, sample_bytes * 8)
    described = struct.pack("<HHIIHH", EXTENSIBLE if extra else code, *shape) + extra
    chunks = b"fmt " + struct.pack("<I", len(described)) + described
    chunks += b"LIST\x03\x00\x00\x00abc\x00"
    chunks += b"data" + struct.pack("<I", len(sound) if size is None else size) + sound
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks)
    return str(path)


@pytest.mark.parametrize(
    ("code", "sample_bytes", "dtype", "step"),
    [
        (1, 1, np.int16, 1 / 64),
        (1, 2, np.int16, 2**-14),
        (1, 3, np.float32, 2**-22),
        (1, 4, np.float32, 1e-6),
        (3, 4, np.float32, 1e-6),
        (3, 8, np.float32, 1e-6),
    ],
)
def test_every_format_gives_the_sound_that_was_stored(
    tmp_path: Path, code: int, sample_bytes: int, dtype: type, step: float
) -> None:
    array = WavArray([wav(tmp_path / "a.wav", code, sample_bytes)])
    samples = array.read(0, 1000)
    assert (samples.dtype, samples.shape) == (dtype, (100, 2))
    scale = 32_767 if dtype is np.int16 else 1
    np.testing.assert_allclose(samples / scale, RAMP, atol=step)
    array.close()


def test_the_extensible_format_is_read_by_its_own_format(tmp_path: Path) -> None:
    extra = struct.pack("<HHIH", 22, 32, 3, 3) + GUID_TAIL
    array = WavArray([wav(tmp_path / "a.wav", 3, 4, extra=extra)])
    np.testing.assert_allclose(array.read(0, 100), RAMP, atol=1e-6)
    array.close()


def test_several_files_are_one_array(tmp_path: Path) -> None:
    mono = [RAMP[:, [0]], RAMP[:90, [1]]]
    paths = [
        wav(tmp_path / f"{n}.wav", channels=1, sound=stored(1, 2, one))
        for n, one in enumerate(mono)
    ]
    array = WavArray(paths)
    assert (array.channels, array.frames) == (2, 90)
    np.testing.assert_allclose(array.read(10, 100) / 32_767, RAMP[10:90], atol=1e-4)
    array.close()


def test_files_of_different_types_meet_in_float(tmp_path: Path) -> None:
    array = WavArray([wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav", 1, 3)])
    samples = array.read(0, 100)
    assert (samples.dtype, samples.shape) == (np.float32, (100, 4))
    np.testing.assert_allclose(samples[:, :2], samples[:, 2:], atol=1e-4)
    array.close()


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 100_000])
def test_a_recorder_that_crashed_left_its_sound(tmp_path: Path, size: int) -> None:
    path = wav(tmp_path / "a.wav", sound=stored(1, 2) + b"\x01", size=size)
    assert read_head(path).frames == 100


def test_a_file_beyond_4_gib_tells_its_size_elsewhere(tmp_path: Path) -> None:
    path = Path(wav(tmp_path / "a.wav", size=0xFFFFFFFF))
    raw = path.read_bytes()
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, 200, 50, 0)
    path.write_bytes(b"RF64" + raw[4:12] + ds64 + raw[12:])
    assert read_head(str(path)).frames == 50


def test_float_sound_stays_within_full_scale(tmp_path: Path) -> None:
    wild = np.array([[np.nan, np.inf], [-np.inf, 3.0]])
    array = WavArray([wav(tmp_path / "a.wav", 3, 4, sound=stored(3, 4, wild))])
    np.testing.assert_array_equal(array.read(0, 9), [[0, 1], [-1, 1]])
    array.close()


def test_what_is_no_sound_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"OggS" + bytes(40))
    with pytest.raises(RecordingError, match=r"a\.wav: expected a WAV file, it starts with b'Ogg"):
        read_head(str(path))
    wav(path, 6, 1)
    expected = "expected PCM or float samples, got 8 bits of A-law; convert it: ffmpeg -i IN"
    with pytest.raises(RecordingError, match=expected):
        read_head(str(path))
    wav(path, rate_hz=1)
    with pytest.raises(RecordingError, match="expected sound, got 2 channels at 1 Hz"):
        read_head(str(path))
    raw = Path(wav(path)).read_bytes()
    path.write_bytes(raw[: raw.index(b"data")])
    with pytest.raises(RecordingError, match="expected sound, got a WAV file without data"):
        read_head(str(path))
    path.write_bytes(raw[:12] + raw[raw.index(b"data") :])
    with pytest.raises(RecordingError, match="expected its format before its data, got none"):
        read_head(str(path))
    path.write_bytes(raw[:12] + b"fmt \x04\x00\x00\x00abcd")
    with pytest.raises(RecordingError, match="expected 16 bytes or more of format, got 4"):
        read_head(str(path))


def test_files_of_different_rates_are_no_array(tmp_path: Path) -> None:
    paths = [wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav", rate_hz=8000)]
    expected = r"b\.wav: expected 16000 Hz as a\.wav has, got 8000 Hz"
    with pytest.raises(RecordingError, match=expected):
        WavArray(paths)
