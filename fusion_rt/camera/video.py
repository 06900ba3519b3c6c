"""Compressed video to pixels by FFmpeg, one picture at a time, damage counted.

A picture that cannot be decoded whole takes those along that are predicted from it: they are left
out too, until one stands for itself again.
"""

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
_ABSURD_S = 1e9
_BT601 = (2, 5, 6)  # of FFmpeg's AVColorSpace: not said, BT.470 BG, SMPTE 170M


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
        self._damaged_ns: int | None = None

    def pictures(self, packet: "Packet | None") -> Iterator["VideoFrame"]:
        """Whole ones; None as packet: those the decoder still held back, which ends it."""
        if packet is not None and not packet.size:  # to FFmpeg this would be the end
            self._counters[DAMAGED] += 1
            return
        try:
            decoded = self._context.decode(packet)
        except (av.FFmpegError, MemoryError, ValueError):
            self._counters[DAMAGED] += 1
            self._damaged_ns = _packet_time_ns(packet)
            return
        for frame in decoded:
            if frame.is_corrupt:
                self._counters[DAMAGED] += 1
                self._damaged_ns = time_ns(frame) or 0
            elif self._is_sound(frame):
                yield frame

    def pixels(self, frame: "VideoFrame") -> Pixels | None:
        """As messages have them: (H, W, 3), (H, W), or (H * 3 / 2, W) for nv12; a view.

        None where damage has made something of it that cannot be converted.
        """
        try:
            return self._converted(frame)
        except (av.FFmpegError, ValueError, MemoryError):
            self._counters[DAMAGED] += 1
            return None

    def _converted(self, frame: "VideoFrame") -> Pixels:
        form = _FORMATS[self._encoding]
        if self._encoding == "nv12" and (frame.width % 2 or frame.height % 2):
            raise ValueError("nv12 has no odd sizes")
        # Consumers of messages read nv12 as BT.601 of limited range, whatever the camera's is.
        colours = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": ColorRange.MPEG}
        is_other = self._encoding == "nv12" and not _is_601_limited(frame)
        made = self._reformatter.reformat(frame, format=form, **(colours if is_other else {}))
        if self._encoding == "nv12":
            return np.concatenate([_rows(made, 0, 1), _rows(made, 1, 2)])
        if self._encoding == "mono8":
            return _rows(made, 0, 1)
        return _rows(made, 0, 3).reshape(made.height, made.width, 3)

    def _is_sound(self, frame: "VideoFrame") -> bool:
        if self._damaged_ns is None:
            return True
        waited_ns = (time_ns(frame) or 0) - self._damaged_ns
        if frame.key_frame or not 0 <= waited_ns <= _LONGEST_WITHOUT_KEY_NS:
            self._damaged_ns = None
            return True
        self._counters[UNREFERENCED] += 1
        return False


def _is_601_limited(frame: "VideoFrame") -> bool:
    """Also where the stream does not say: what FFmpeg takes it for then."""
    is_limited = frame.color_range in (ColorRange.UNSPECIFIED, ColorRange.MPEG)
    return is_limited and frame.colorspace in _BT601 and not frame.format.name.startswith("yuvj")


def own_decoder(stream: "VideoStream") -> "VideoCodecContext":
    """A decoder for the stream's packets that outlives its container.

    Raises ValueError where FFmpeg has none.
    """
    if stream.codec_context is None:
        raise ValueError("it is in a format that FFmpeg does not decode")
    context = decoder_named(stream.codec_context.name)
    context.extradata = stream.codec_context.extradata
    return context


def decoder_named(codec: str) -> "VideoCodecContext":
    """FFmpeg's decoder of that name."""
    return cast("VideoCodecContext", av.CodecContext.create(codec, "r"))


def time_ns(frame: "VideoFrame") -> int | None:
    """When the picture is to be shown, as its stream counts; None where it does not say."""
    if frame.time is None or not abs(frame.time) < _ABSURD_S:  # a damaged file may say NaN
        return None
    return round(frame.time * NS_PER_S)


def _packet_time_ns(packet: "Packet | None") -> int:
    if packet is None or packet.pts is None or not packet.time_base:
        return 0
    return round(packet.pts * packet.time_base * NS_PER_S)


def _rows(frame: "VideoFrame", plane: int, pixel_bytes: int) -> Pixels:
    """(rows, bytes) of one plane, without what pads its rows."""
    part = frame.planes[plane]
    rows: Pixels = np.frombuffer(memoryview(part), np.uint8).reshape(-1, part.line_size)
    return rows[: part.height, : part.width * pixel_bytes]
