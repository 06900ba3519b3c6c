"""Microphones at a sound card through PortAudio: blocks with the time of their first sample."""

import queue
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any, Literal

import msgspec
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import (
    READ_DEADLINE_NS,
    Channels,
    Driver,
    DriverPort,
    Messages,
    SampleRateHz,
    from_extra,
)
from fusion_rt.errors import DriverError
from fusion_rt.messages import AudioChunk
from fusion_rt.pacing import at_deadlines
from fusion_rt.reconnect import reconnecting
from fusion_rt.sound.options import ChunkOptions
from fusion_rt.sound.sample_clock import SampleClock

with from_extra("sensors"):
    try:
        import sounddevice
    except OSError as error:
        raise ImportError(f"{error}: install it with apt install libportaudio2") from error

XRUNS = "xruns"
"""Counter of overruns that the sound card reported: it had to throw samples away."""
BACKLOG = "backlog_dropped"
"""Counter of blocks that this process did not fetch in time."""
DRIFT_PPB = "sample_clock_drift_ppb"
"""Not a count: by how many parts in 10^9 the card is slower than rig time."""

_BACKLOG_NS = 2 * NS_PER_S
_OLDEST_S = 5.0  # an older block than the card can hold: its time is not to be believed
_SILENCE_NS = 2 * NS_PER_S  # the stream of a device that was pulled out just stops


class AlsaOptions(ChunkOptions, frozen=True, kw_only=True):
    """Options of a sound card."""

    device: str | int | None = None
    """Part of its name, or its number; None: the system's default."""
    channels: Channels = 1
    sample_rate_hz: SampleRateHz = 48_000
    format: Literal["int16", "float32"] = "int16"
    latency_ms: Annotated[float, msgspec.Meta(ge=-500, le=500)] = 0
    """From the membrane to the time that the driver states, if measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        samples = self.sample_rate_hz * self.chunk_ms / 1000
        if samples != round(samples):
            raise ValueError(f"expected chunk_ms of whole samples, got {samples:g} samples")

    def payload_bytes(self) -> int:
        return self.chunk_samples() * self.channels * (2 if self.format == "int16" else 4)

    def chunk_samples(self) -> int:
        """Samples per chunk and channel."""
        return round(self.sample_rate_hz * self.chunk_ms / 1000)


Device = dict[str, Any]
"""As PortAudio describes it."""


class Block(msgspec.Struct, frozen=True, eq=False):
    """What the sound card delivered at one time."""

    samples: npt.NDArray[Any]
    time_ns: int
    """Rig time of the first sample, as the card tells it."""
    is_after_hole: bool


def open_audio(options: AlsaOptions, port: DriverPort) -> Messages:
    """Fails where the device is there but cannot do what is asked; a missing one may still come."""
    try:
        device = find_input(options.device)
    except OSError:
        pass  # reported, again and again, by what opens it
    else:
        _check_channels(device, options.channels)
    return closing(at_deadlines(chunks(options, port), port.clock))


def chunks(options: AlsaOptions, port: DriverPort) -> Generator[AudioChunk | None, None, None]:
    """One message per block; None at every turn without."""
    first_sample = 0
    clock = SampleClock(options.sample_rate_hz, port.counters)
    for block in reconnecting(lambda: _opened(options, port), port):
        if block is None:
            yield None
            continue
        first_sample += clock.observe(first_sample, block.time_ns, is_hole=block.is_after_hole)
        yield AudioChunk(
            stamp_ns=clock.time_ns(first_sample),
            samples=block.samples,
            rate_hz=options.sample_rate_hz,
            first_sample=first_sample,
        )
        first_sample += len(block.samples)
        if (drift := clock.drift()) is not None:
            port.counters[DRIFT_PPB] = round(drift.ppm * 1000)


def find_input(wanted: str | int | None) -> Device:
    """The input device that is meant; raises OSError with those there are."""
    devices = [device for device in sounddevice.query_devices() if device["max_input_channels"]]
    there = ", ".join(f'{device["index"]} "{device["name"]}"' for device in devices)
    there = f"there are {there}" if there else "there is none at all"
    if wanted is None:
        wanted = sounddevice.default.device[0]
    if isinstance(wanted, int):
        found = [device for device in devices if device["index"] == wanted]
    else:
        found = [device for device in devices if wanted.lower() in device["name"].lower()]
        found = [device for device in found if device["name"] == wanted] or found
    if len(found) != 1:
        problem = "found none" if not found else f"{len(found)} are called so"
        raise OSError(f"sound: expected an input device {wanted!r}, {problem}; {there}")
    device: Device = found[0]
    return device


def _check_channels(device: Device, channels: int) -> None:
    if device["max_input_channels"] < channels:
        problem = f'expected {channels} channels, "{device["name"]}" has '
        raise DriverError("alsa", f"{problem}{device['max_input_channels']}")


@contextmanager
def _opened(options: AlsaOptions, port: DriverPort) -> Iterator[Iterator[Block | None]]:
    _look_again()
    device = find_input(options.device)
    intake = _Intake(options, port)
    try:
        stream = sounddevice.InputStream(
            device=device["index"],
            channels=options.channels,
            samplerate=options.sample_rate_hz,
            blocksize=options.chunk_samples(),
            dtype=options.format,
            callback=intake.take,
        )
    except sounddevice.PortAudioError as error:
        raise OSError(f'sound device "{device["name"]}": {error}') from error
    with stream:
        yield intake.blocks(device["name"])


def _look_again() -> None:
    """PortAudio lists the devices once, when it starts; one plugged in later needs a new start."""
    sounddevice._terminate()
    sounddevice._initialize()


class _Intake:
    """Takes blocks in PortAudio's thread and hands them out in ours."""

    def __init__(self, options: AlsaOptions, port: DriverPort) -> None:
        self._port = port
        self._rate_hz = options.sample_rate_hz
        self._latency_ns = round(options.latency_ms * NS_PER_MS)
        depth = max(4, round(_BACKLOG_NS / NS_PER_MS / options.chunk_ms))
        self._queue: queue.Queue[Block] = queue.Queue(depth)
        self._is_after_hole = True  # whatever came before, this device was not open

    def take(self, samples: npt.NDArray[Any], count: int, time: Any, status: Any) -> None:
        """PortAudio's callback: must not wait, and does not own `samples`."""
        now_ns = self._port.clock.now_ns()
        age_s = time.currentTime - time.inputBufferAdcTime
        if not (time.inputBufferAdcTime > 0 and 0 <= age_s < _OLDEST_S):  # some hosts tell none
            age_s = count / self._rate_hz
        if status.input_overflow:
            self._port.counters[XRUNS] += 1
            self._is_after_hole = True
        time_ns = now_ns - round(age_s * NS_PER_S) - self._latency_ns
        try:
            self._queue.put_nowait(Block(samples.copy(), time_ns, self._is_after_hole))
        except queue.Full:
            self._port.counters[BACKLOG] += 1
            self._is_after_hole = True
        else:
            self._is_after_hole = False

    def blocks(self, name: str) -> Iterator[Block | None]:
        """Raises OSError when the device has stopped."""
        heard_ns = self._port.clock.now_ns()
        while True:
            try:
                block = self._queue.get(timeout=READ_DEADLINE_NS / NS_PER_S)
            except queue.Empty:
                yield None
                if self._port.clock.now_ns() - heard_ns > _SILENCE_NS:
                    raise OSError(f'sound device "{name}": it fell silent') from None
                continue
            heard_ns = self._port.clock.now_ns()
            yield block


DRIVERS = {"audio": Driver(AlsaOptions, open_audio)}
