"""Reads the pictures of a video file in order, with the times that the file gives them."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from fusion_rt.camera.frames import DAMAGED, Pixels
from fusion_rt.camera.video import DECODER_OPTIONS, VideoDecoder, VideoEncoding, time_ns
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import RecordingError

with from_extra("sensors"):
    import av

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as AnyPacket

    Packet = AnyPacket[Any]

_USUAL_RATE_HZ, _LEAST_RATE_HZ = 30, 0.1


class Taken(NamedTuple):
    """One picture."""

    time_ns: int | None
    """As the file counts; None where it does not say."""
    size: tuple[int, int]
    pixels: Pixels
    """As messages have them."""


class VideoFile:
    """The first video stream of a file; close it."""

    def __init__(self, path: str, encoding: VideoEncoding, counters: Counter[str]) -> None:
        """Raises RecordingError where there is no video that can be read."""
        try:
            self._container: InputContainer = av.open(f"file:{path}", options=DECODER_OPTIONS)
        except (av.FFmpegError, ValueError, MemoryError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise RecordingError(path, f"expected a video file, got: {problem}") from error
        decoded = [one for one in self._container.streams.video if one.codec_context is not None]
        if not decoded:
            self._container.close()
            raise RecordingError(path, "expected video that can be decoded in it, found none")
        self._stream = decoded[0]
        self._decoder = VideoDecoder(self._stream.codec_context, encoding, counters)
        self._counters = counters
        self.size = (self._stream.width, self._stream.height)
        rate_hz = float(self._stream.guessed_rate or self._stream.average_rate or _USUAL_RATE_HZ)
        self.step_ns = round(NS_PER_S / max(rate_hz, _LEAST_RATE_HZ))
        """The usual time from one picture to the next."""

    def pictures(self) -> Iterator[Taken | None]:
        """All that are whole; None after every packet."""
        for packet in self._packets():
            for frame in self._decoder.pictures(packet):
                if (pixels := self._decoder.pixels(frame)) is not None:
                    yield Taken(time_ns(frame), (frame.width, frame.height), pixels)
            yield None

    def close(self) -> None:
        self._container.close()

    def _packets(self) -> Iterator["Packet | None"]:
        """Up to the end, or to where nothing can be read any more; at last None."""
        try:
            yield from (one for one in self._container.demux(self._stream) if one.size)
            yield None
        except (av.FFmpegError, ValueError, MemoryError):
            self._counters[DAMAGED] += 1
