import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fusion_rt.drivers
from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.errors import DriverError, MissingExtraError
from fusion_rt.messages import AudioChunk
from fusion_rt.reconnect import RECONNECTS
from fusion_rt.sound.sample_clock import HOLES
from tests.gnss.ports import START_NS, port
from tests.sound.fake_portaudio import InputStream, Module

SOURCE = Path(fusion_rt.drivers.__file__).with_name("alsa.py")


def load(sounddevice: object, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The driver on top of this module, without a trace in the list of imported ones."""
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice)
    spec = importlib.util.spec_from_file_location("alsa_on_a_fake", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "alsa_on_a_fake", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def portaudio() -> Iterator[Module]:
    InputStream.opened.clear()
    yield Module()
    InputStream.opened.clear()


@pytest.fixture
def alsa(portaudio: Module, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load(portaudio, monkeypatch)
    monkeypatch.setattr(module, "READ_DEADLINE_NS", NS_PER_MS)
    return module


class Recorder:
    """A driver at work on a card whose time the test tells."""

    def __init__(self, alsa: ModuleType, **options: Any) -> None:
        stated = {"device": "UMA-8", "channels": 4, "sample_rate_hz": 16_000, **options}
        self.clock = SettableClock(START_NS)
        self.port: DriverPort = port("audio/array", self.clock)
        self.options = alsa.AlsaOptions(driver="alsa", **stated)
        self.messages = alsa.chunks(self.options, self.port)
        self.blocks = 0

    def open(self) -> InputStream:
        """The stream, opened by the driver's first turn."""
        assert next(self.messages) is None
        return InputStream.opened[-1]

    def record(self, age_s: float = 0.03, **how: Any) -> AudioChunk:
        """One block, of which the first sample was taken `age_s` ago."""
        self.clock.advance_ns(20 * NS_PER_MS)
        self.blocks += 1
        InputStream.opened[-1].deliver(self.blocks, adc_s=5.0 - age_s, now_s=5.0, **how)
        return next(one for one in itertools.islice(self.messages, 5) if one is not None)


def test_the_device_is_opened_as_the_rig_says(alsa: ModuleType) -> None:
    asked = Recorder(alsa).open().asked
    assert asked["device"] == 1
    assert (asked["channels"], asked["samplerate"], asked["blocksize"]) == (4, 16_000, 320)
    assert asked["dtype"] == "int16"


def test_chunks_own_their_samples_and_count_them(alsa: ModuleType) -> None:
    recorder = Recorder(alsa)
    recorder.open()
    first, second = recorder.record(), recorder.record()
    assert first.problem() is None
    assert first.samples.shape == (320, 4)
    assert (np.unique(first.samples).tolist(), np.unique(second.samples).tolist()) == ([1], [2])
    assert (first.first_sample, second.first_sample) == (0, 320)


def test_the_stamp_is_that_of_the_first_sample_by_the_card_s_time(alsa: ModuleType) -> None:
    recorder = Recorder(alsa, latency_ms=2)
    recorder.open()
    chunk = recorder.record(age_s=0.05)
    assert chunk.stamp_ns == recorder.clock.now_ns() - 52 * NS_PER_MS


def test_a_card_that_tells_no_time_is_stamped_by_arrival(alsa: ModuleType) -> None:
    recorder = Recorder(alsa)
    recorder.open().deliver(1, adc_s=0.0, now_s=5.0)
    chunk = next(one for one in recorder.messages if one is not None)
    assert chunk.stamp_ns == recorder.clock.now_ns() - 20 * NS_PER_MS


def test_an_overrun_is_counted_and_leaves_a_hole_of_its_size(alsa: ModuleType) -> None:
    recorder = Recorder(alsa)
    recorder.open()
    for _ in range(10):
        recorder.record()
    recorder.clock.advance_ns(100 * NS_PER_MS)
    after = recorder.record(is_overflow=True)
    assert after.first_sample == 10 * 320 + 1600
    assert (recorder.port.counters[alsa.XRUNS], recorder.port.counters[HOLES]) == (1, 1)


def test_blocks_that_nobody_fetches_are_dropped_and_counted(alsa: ModuleType) -> None:
    recorder = Recorder(alsa)
    stream = recorder.open()
    for _ in range(120):
        recorder.clock.advance_ns(20 * NS_PER_MS)
        stream.deliver(1, adc_s=4.97, now_s=5.0)
    assert recorder.port.counters[alsa.BACKLOG] == 20


def test_drift_of_the_sample_clock_is_told(alsa: ModuleType) -> None:
    recorder = Recorder(alsa)
    recorder.open()
    for _ in range(500):
        recorder.clock.advance_ns(1000)  # 20.001 ms per block: 50 ppm slow
        recorder.record()
    assert recorder.port.counters[alsa.DRIFT_PPB] == pytest.approx(50_000, abs=100)


def test_a_device_pulled_out_comes_back_with_a_hole(
    alsa: ModuleType, portaudio: Module, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(alsa)
    stream = recorder.open()
    recorder.record()
    there, portaudio.devices = portaudio.devices, []
    recorder.clock.advance_ns(3 * NS_PER_S)
    while stream.is_running:
        assert next(recorder.messages) is None
    assert next(recorder.messages) is None
    portaudio.devices = there
    while not InputStream.opened[-1].is_running:
        assert next(recorder.messages) is None
    assert recorder.record().first_sample > 3 * 16_000
    assert recorder.port.counters[RECONNECTS] == 1
    assert "it fell silent; trying again" in caplog.text
    assert "found none; there is none at all" in caplog.text


def test_a_wrong_name_is_told_once_with_the_devices_there_are(
    alsa: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(alsa, device="Kinect")
    assert [next(recorder.messages) for _ in range(4)] == [None] * 4
    expected = "expected an input device 'Kinect', found none; there are 1 \"UMA-8"
    assert caplog.text.count(expected) == 1


def test_an_ambiguous_name_is_told(alsa: ModuleType) -> None:
    with pytest.raises(OSError, match="expected an input device 'usb audio', 2 are called so"):
        alsa.find_input("usb audio")
    assert alsa.find_input(None)["index"] == 2
    assert alsa.find_input(1)["index"] == 1
    assert alsa.find_input("Webcam: USB Audio (hw:2,0)")["index"] == 2


def test_a_rate_that_the_card_cannot_do_is_told(
    alsa: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(alsa, sample_rate_hz=11_025, chunk_ms=40)
    next(recorder.messages)
    assert "Invalid sample rate; trying again" in caplog.text


def test_more_channels_than_there_are_is_an_error_at_start(alsa: ModuleType) -> None:
    options = alsa.AlsaOptions(driver="alsa", device="Webcam", channels=4)
    with pytest.raises(DriverError, match=r'expected 4 channels, "Webcam: USB Audio .* has 2'):
        alsa.open_audio(options, port("audio/array"))


def test_a_device_that_is_not_there_yet_is_no_error_at_start(alsa: ModuleType) -> None:
    options = alsa.AlsaOptions(driver="alsa", device="Kinect")
    with alsa.open_audio(options, port("audio/array")) as messages:
        assert next(messages) is None


def test_chunks_that_are_no_whole_samples_are_refused(alsa: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"expected chunk_ms of whole samples, got 220\.5 s"):
        alsa.AlsaOptions(driver="alsa", sample_rate_hz=11_025)
    with pytest.raises(ValueError, match="expected rate_hz 50, which chunk_ms settles, or none"):
        alsa.AlsaOptions(driver="alsa", rate_hz=10)


def test_a_missing_portaudio_names_the_package_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    spec = importlib.util.spec_from_file_location("alsa_without", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(MissingExtraError, match="not found: install it with apt install libportau"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
