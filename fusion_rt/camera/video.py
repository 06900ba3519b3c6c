"""Compressed video to pixels by FFmpeg, one picture at a time, damage counted.

A picture that cannot be decoded whole takes those along that are predicted from it: they are left
out too, until one stands for itself again.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from fusion_rt.camera.frames import DAMAGED, MAX_PIXELS, Pixels
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import from_extra

with from_extra("sensors"):
    import av
    from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

if TYPE_CHECKING:
    from av.packet import Packet as AnyPacket
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    Packet = AnyPacket[Any]

VideoEncoding = Literal["bgr8", "rgb8", "mono8", "nv12"]
UNREFERENCED = "unreferenced_frames"
"""Counter of pictures left out because one that they are predicted from was damaged."""

DECODER_OPTIONS = {
    "err_detect": "explode",  # say so rather than make something up
    "max_pixels": str(MAX_PIXELS),
    "flags": "+low_delay",
}
_FORMATS = {"bgr8": "bgr24", "rgb8": "rgb24", "mono8": "gray", "nv12": "nv12"}
_LONGEST_WITHOUT_KEY_NS = 2 * NS_PER_S  # some encoders refresh bit by bit and send no key pictures

log = logging.getLogger(__name__)


class VideoDecoder:
    """Turns one stream's packets into pictures."""

    def __init__(
        self, context: "VideoCodecContext", encoding: VideoEncoding, counters: Counter[str]
    ) -> None:
        context.options = DECODER_OPTIONS
        context.thread_count = 1  # the others wait for pictures to come, a live one must not
        self._context = context
        self._encoding = encoding
        self._counters = counters
        self._reformatter = VideoReformatter()
        self._damaged_s: float | None = None

    def pictures(self, packet: "Packet | None") -> Iterator["VideoFrame"]:
        """Whole ones; None as packet: those the decoder still held back."""
        try:
            decoded = self._context.decode(packet)
        except (av.FFmpegError, MemoryError, ValueError):
            self._counters[DAMAGED] += 1
            self._damaged_s = _time_s(packet)
            return
        for frame in decoded:
            if frame.is_corrupt:
                self._counters[DAMAGED] += 1
                self._damaged_s = frame.time or 0.0
            elif self._is_sound(frame):
                yield frame

    def pixels(self, frame: "VideoFrame") -> Pixels:
        """As messages have them: (H, W, 3), (H, W), or (H * 3 / 2, W) for nv12; a view."""
        form = _FORMATS[self._encoding]
        if self._encoding == "nv12":  # as the consumers of messages read it, whatever the camera's
            made = self._reformatter.reformat(
                frame,
                format=form,
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.MPEG,
            )
            return np.concatenate([_rows(made, 0, 1), _rows(made, 1, 2)])
        made = self._reformatter.reformat(frame, format=form)
        if self._encoding == "mono8":
            return _rows(made, 0, 1)
        return _rows(made, 0, 3).reshape(made.height, made.width, 3)

    def _is_sound(self, frame: "VideoFrame") -> bool:
        if self._damaged_s is None:
            return True
        waited_s = (frame.time or 0.0) - self._damaged_s
        if frame.key_frame or not 0 <= waited_s * NS_PER_S <= _LONGEST_WITHOUT_KEY_NS:
            self._damaged_s = None
            return True
        self._counters[UNREFERENCED] += 1
        return False


def own_decoder(stream: "VideoStream") -> "VideoCodecContext":
    """A decoder for the stream's packets that outlives its container."""
    context = decoder_named(stream.codec_context.name)
    context.extradata = stream.codec_context.extradata
    return context


def decoder_named(codec: str) -> "VideoCodecContext":
    """FFmpeg's decoder of that name."""
    return cast("VideoCodecContext", av.CodecContext.create(codec, "r"))


def _time_s(packet: "Packet | None") -> float:
    if packet is None or packet.pts is None or packet.time_base is None:
        return 0.0
    return float(packet.pts * packet.time_base)


def _rows(frame: "VideoFrame", plane: int, pixel_bytes: int) -> Pixels:
    """(rows, bytes) of one plane, without what pads its rows."""
    part = frame.planes[plane]
    rows: Pixels = np.frombuffer(memoryview(part), np.uint8).reshape(-1, part.line_size)
    return rows[: part.height, : part.width * pixel_bytes]
