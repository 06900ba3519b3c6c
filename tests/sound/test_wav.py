import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.drivers.wav import WavOptions, open_audio
from fusion_rt.errors import DriverError, RecordingError
from fusion_rt.messages import AudioChunk
from tests.gnss.ports import START_NS, port
from tests.sound.test_wav_file import stored, wav

SOUND = Path(__file__).parents[3] / "shared/data/audio"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """500 frames of two channels at 8 kHz: 62.5 ms."""
    ramp = np.arange(1000).reshape(-1, 2) / 1000
    return wav(tmp_path / "a.wav", rate_hz=8000, sound=stored(1, 2, ramp))


def play(
    paths: str | list[str], here: DriverPort, turns: int, **options: object
) -> list[AudioChunk]:
    stated = WavOptions(driver="wav", path=paths, **options)  # type: ignore[arg-type]
    with open_audio(stated, here) as messages:
        return [one for one in itertools.islice(messages, turns) if one is not None]


def test_chunks_come_at_recorded_pace_when_their_last_sample_is_there(path: str) -> None:
    here = port()
    first, second, *_ = play(path, here, 2)
    assert (first.stamp_ns, second.stamp_ns) == (START_NS, START_NS + 20 * NS_PER_MS)
    assert here.clock.now_ns() == START_NS + 40 * NS_PER_MS
    assert (first.rate_hz, first.samples.shape) == (8000, (160, 2))


def test_no_sample_is_lost_or_told_twice(path: str) -> None:
    chunks = play(path, port(), 10)
    assert [chunk.first_sample for chunk in chunks] == [0, 160, 320, 480]
    whole = np.concatenate([chunk.samples for chunk in chunks])
    assert whole.shape == (500, 2)
    assert (np.diff(whole[:, 0]) > 0).all()


def test_as_soon_as_possible_nobody_waits(path: str) -> None:
    here = port()
    assert len(play(path, here, 4, pace="asap")) == 4
    assert here.clock.now_ns() == START_NS


def test_an_ended_recording_yields_none_at_each_read_deadline(path: str) -> None:
    with open_audio(WavOptions(driver="wav", path=path), port()) as messages:
        assert len(list(itertools.takewhile(lambda one: one is not None, messages))) == 4
        assert [next(messages) for _ in range(3)] == [None] * 3


def test_a_repeated_recording_goes_on_without_a_hole(path: str) -> None:
    chunks = play(path, port(), 12, repeat=True)
    ends = [chunk.first_sample + len(chunk.samples) for chunk in chunks]
    assert [chunk.first_sample for chunk in chunks[1:]] == ends[:-1]
    stamps = [(chunk.stamp_ns - START_NS) * 8000 // NS_PER_S for chunk in chunks]
    assert stamps == [chunk.first_sample for chunk in chunks]


def test_a_replaced_recording_is_played_too(path: str, tmp_path: Path) -> None:
    with open_audio(WavOptions(driver="wav", path=path), port()) as messages:
        list(itertools.takewhile(lambda one: one is not None, messages))
        os.replace(wav(tmp_path / "b.wav", rate_hz=8000), path)
        (again,) = [one for one in itertools.islice(messages, 8) if one is not None]
    assert again.first_sample == 500
    assert again.samples.shape == (100, 2)


def test_a_recording_that_is_not_there_yet_is_waited_for(path: str, tmp_path: Path) -> None:
    later = str(tmp_path / "later.wav")
    with open_audio(WavOptions(driver="wav", path=later), port()) as messages:
        assert [next(messages) for _ in range(2)] == [None, None]
        os.replace(path, later)
        assert next(one for one in messages if one is not None).first_sample == 0


def test_a_file_that_is_no_sound_is_an_error_at_start(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"MP3!" * 10)
    with pytest.raises(RecordingError, match="expected a WAV file, it starts with b'MP3!"):
        open_audio(WavOptions(driver="wav", path=str(path)), port())


def test_a_rig_that_says_otherwise_than_the_file_is_an_error_at_start(path: str) -> None:
    with pytest.raises(DriverError, match="expected channels 4, got 2 in"):
        open_audio(WavOptions(driver="wav", path=path, channels=4), port())
    with pytest.raises(DriverError, match="expected sample_rate_hz 16000, got 8000 in"):
        open_audio(WavOptions(driver="wav", path=path, sample_rate_hz=16_000), port())


def test_endless_and_unpaced_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pace recorded with repeat, got asap"):
        WavOptions(driver="wav", path="x", repeat=True, pace="asap")


def test_the_driver_is_called_wav() -> None:
    assert find_driver("wav", "audio").options is WavOptions


@pytest.mark.skipif(not SOUND.exists(), reason=f"no recordings of microphones in {SOUND}")
def test_eight_files_of_a_real_array_are_one_stream_of_eight_channels() -> None:
    paths = [str(SOUND / f"AMI_WSJ20-Array1-{n}_T10c0201.wav") for n in range(1, 9)]
    chunks = play(paths, port(), 50)
    samples = np.concatenate([chunk.samples for chunk in chunks]).astype(float)
    assert samples.shape[1] == 8
    assert np.corrcoef(samples.T).min() > 0.3  # all hear the same speaker
