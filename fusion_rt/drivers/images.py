"""Folders of pictures, numbered or with a list of times, as if their camera were there."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from fusion_rt.camera.frames import DAMAGED, FrameMaker, Instant
from fusion_rt.camera.picture_list import CODECS, JPEGS, Picture, pictures
from fusion_rt.camera.recording import ENDED
from fusion_rt.camera.timeline import Pace, Timeline
from fusion_rt.camera.video import VideoDecoder, decoder_named
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import (
    CameraOptions,
    Driver,
    DriverPort,
    Messages,
    RigPath,
    from_extra,
)
from fusion_rt.errors import DriverError, RecordingError
from fusion_rt.messages import CameraFrame
from fusion_rt.pacing import at_deadlines, until_replaced, wait_until
from fusion_rt.reconnect import reconnecting
from fusion_rt.topics import topic_kind

with from_extra("sensors"):
    import av

MISSING = "missing_pictures"
"""Counter of pictures that the list of times names and the folder does not hold."""
_LARGEST_BYTES = 256 << 20


class ImagesOptions(CameraOptions, frozen=True, kw_only=True):
    """Options of a folder of pictures."""

    path: RigPath
    """The folder."""
    timestamps: RigPath | None = None
    """Times of the pictures, one a line, with their names or in their order."""
    encoding: Literal["bgr8", "rgb8", "mono8", "jpeg"] = "bgr8"
    """jpeg: as they are, undecoded; all pictures must be JPEGs."""
    pace: Pace = "recorded"
    """recorded: as it was, stamped now. asap: without waiting, stamped with the recorded times."""
    repeat: bool = False
    """At the end, start over; else wait until there are more pictures."""

    def __post_init__(self) -> None:
        if self.repeat and self.pace == "asap":
            raise ValueError("expected pace recorded with repeat, got asap: it would never rest")


def open_camera(options: ImagesOptions, port: DriverPort) -> Messages:
    """Fails where what is there can never be played; a missing folder may still come."""
    path = Path(options.path)
    if path.exists() and not path.is_dir():
        way_out = "for a video file use driver: file"
        raise DriverError("images", f"expected a folder, got the file {path}", way_out)
    if path.exists():
        _check(options, _listed(options))
    return closing(at_deadlines(frames(options, port), port.clock))


def _check(options: ImagesOptions, found: list[Picture]) -> None:
    others = [one.path.name for one in found if one.path.suffix.lower() not in JPEGS]
    if options.encoding == "jpeg" and others:
        problem = f"expected JPEGs, which can be passed on undecoded, got {others[0]}"
        raise DriverError("images", problem, "leave encoding out")


def _listed(options: ImagesOptions) -> list[Picture]:
    """Raises RecordingError where there are none."""
    timestamps = Path(options.timestamps) if options.timestamps else None
    found = pictures(Path(options.path), timestamps)
    if not found:
        endings = " ".join(sorted({*JPEGS, *CODECS}))
        raise RecordingError(options.path, f"expected pictures ({endings}), found none")
    return found


def frames(options: ImagesOptions, port: DriverPort) -> Generator[CameraFrame | None, None, None]:
    """One message per whole picture; None while there are none."""
    player = _Player(options, port)
    watched = [options.path, *([options.timestamps] if options.timestamps else [])]
    for found in reconnecting(lambda: _opened(options), port):
        if found is None:
            yield None
            continue
        yield from player.played(found)
        yield None
        if not options.repeat or not player.has_played:
            yield from until_replaced(watched, port.clock)


@contextmanager
def _opened(options: ImagesOptions) -> Iterator[Iterator[list[Picture]]]:
    yield _lists(options)


def _lists(options: ImagesOptions) -> Iterator[list[Picture]]:
    while True:
        yield _listed(options)


class _Player:
    """Plays what a folder holds, and later only what has come since."""

    def __init__(self, options: ImagesOptions, port: DriverPort) -> None:
        self._options = options
        self._port = port
        self._maker = FrameMaker(options, port)
        self._timeline = Timeline(options.pace, port)
        self._decoders: dict[str, VideoDecoder] = {}
        self._played: set[Picture] = set()
        self.has_played = False
        """Whether any of the pictures last given was whole."""
        rate_hz = options.rate_hz or topic_kind(port.topic).rate_hz
        self._step_ns = round(NS_PER_S / rate_hz)

    def played(self, found: list[Picture]) -> Iterator[CameraFrame | None]:
        self._timeline.begin(self._step_ns)
        self.has_played = False
        before = set() if self._options.repeat else self._played
        for picture in found:
            if picture not in before:
                yield from self._frame(picture)
            yield None
        self._played = set(found)
        self._port.counters[ENDED] += 1

    def _frame(self, picture: Picture) -> Iterator[CameraFrame | None]:
        stamp_ns = self._timeline.stamp_ns(picture.time_ns)
        for frame in self._decoded(picture.path, Instant(stamp_ns)):
            if self._options.pace == "recorded":
                yield from wait_until(stamp_ns, self._port.clock)
            self.has_played = True
            yield frame

    def _decoded(self, path: Path, instant: Instant) -> Iterator[CameraFrame]:
        try:
            data = path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else b""
        except OSError:
            self._port.counters[MISSING] += 1
            return
        if path.suffix.lower() in JPEGS:
            yield from self._maker.from_jpeg(data, self._options.encoding, instant)
        elif path.suffix.lower() in CODECS and data and self._options.encoding != "jpeg":
            yield from self._other(data, CODECS[path.suffix.lower()], instant)
        else:
            self._port.counters[DAMAGED] += 1

    def _other(self, data: bytes, codec: str, instant: Instant) -> Iterator[CameraFrame]:
        encoding = self._options.encoding
        assert encoding != "jpeg"
        decoder = self._decoders.get(codec)
        if decoder is None:
            decoder = VideoDecoder(decoder_named(codec), encoding, self._port.counters)
            self._decoders[codec] = decoder
        for frame in decoder.pictures(av.Packet(data)):
            if (pixels := decoder.pixels(frame)) is not None:
                size = (frame.width, frame.height)
                yield from self._maker.from_pixels(pixels, encoding, size, instant)


DRIVERS = {"camera": Driver(ImagesOptions, open_camera)}
