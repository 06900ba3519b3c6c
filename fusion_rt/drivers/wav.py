"""Sound out of WAV files, as if the microphones were there; several files make one array."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import Driver, DriverPort, Messages, RigPath
from fusion_rt.errors import DriverError
from fusion_rt.messages import AudioChunk
from fusion_rt.pacing import at_deadlines, until_replaced, wait_until
from fusion_rt.reconnect import reconnecting
from fusion_rt.sound.options import ChunkOptions
from fusion_rt.sound.wav_file import WavArray


class WavOptions(ChunkOptions, frozen=True, kw_only=True):
    """Options of a recording of microphones."""

    path: RigPath | Annotated[list[RigPath], msgspec.Meta(min_length=1, max_length=64)]
    """One file, or one per microphone or group of them, in channel order."""
    pace: Literal["recorded", "asap"] = "recorded"
    """recorded: as it was, stamped now. asap: without waiting, stamps as even as the samples."""
    repeat: bool = False
    """At the end, start over without a break; else wait until a file is replaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repeat and self.pace == "asap":
            raise ValueError("expected pace recorded with repeat, got asap: it would never rest")

    def paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


def open_audio(options: WavOptions, port: DriverPort) -> Messages:
    """Fails where files that are there cannot be played; missing ones may still come."""
    if all(Path(path).exists() for path in options.paths()):
        _checked(options).close()
    return closing(at_deadlines(chunks(options, port), port.clock))


def chunks(options: WavOptions, port: DriverPort) -> Generator[AudioChunk | None, None, None]:
    """Consecutive chunks; None while there are none."""
    first_sample = 0
    for opened in reconnecting(lambda: _opened(options), port):
        if opened is None:
            yield None
            continue
        for chunk in _played(opened, options, port, first_sample):
            yield chunk
            if chunk is not None:
                first_sample = chunk.first_sample + len(chunk.samples)
        yield from until_replaced(options.paths(), port.clock)


@contextmanager
def _opened(options: WavOptions) -> Iterator[Iterator[WavArray]]:
    with closing(_checked(options)) as array:
        yield iter([array])


def _checked(options: WavOptions) -> WavArray:
    """Raises RecordingError, or DriverError where rig and files differ."""
    array = WavArray(options.paths())
    for name, wanted, found in (
        ("channels", options.channels, array.channels),
        ("sample_rate_hz", options.sample_rate_hz, array.rate_hz),
    ):
        if wanted not in (None, found):
            array.close()
            raise DriverError("wav", f"expected {name} {wanted}, got {found} in {options.paths()}")
    return array


def _played(
    array: WavArray, options: WavOptions, port: DriverPort, first_sample: int
) -> Iterator[AudioChunk | None]:
    size = max(1, round(array.rate_hz * options.chunk_ms / 1000))
    start_ns, played = port.clock.now_ns(), 0
    while True:
        place = played % max(1, array.frames) if options.repeat else played
        samples = array.read(place, size)
        if not len(samples):
            return
        stamp_ns = start_ns + played * NS_PER_S // array.rate_hz
        played += len(samples)
        if options.pace == "recorded":  # a chunk is there once its last sample is
            yield from wait_until(start_ns + played * NS_PER_S // array.rate_hz, port.clock)
        yield AudioChunk(
            stamp_ns=stamp_ns,
            samples=samples,
            rate_hz=array.rate_hz,
            first_sample=first_sample + played - len(samples),
        )


DRIVERS = {"audio": Driver(WavOptions, open_audio)}
