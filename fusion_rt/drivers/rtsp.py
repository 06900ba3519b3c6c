"""Network cameras: H.264, H.265 or MJPEG over RTSP."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Literal

import msgspec
import numpy as np

from fusion_rt.camera.frames import SUPERSEDED, FrameMaker, Instant
from fusion_rt.camera.network import Arrived, Connected, NetworkCamera, connected
from fusion_rt.camera.options import LiveCameraOptions
from fusion_rt.camera.video import VideoDecoder, VideoEncoding, time_ns
from fusion_rt.clock import NS_PER_S
from fusion_rt.device_clock import DeviceClock
from fusion_rt.drivers.port import Driver, DriverPort, Messages
from fusion_rt.messages import CameraFrame
from fusion_rt.pacing import at_deadlines

_NEVER_NS = 1 << 61
"""When a stream's time starts again at zero: 73 years; FFmpeg unfolds RTP's 32 bits."""


class RtspOptions(LiveCameraOptions, frozen=True, kw_only=True):
    """Options of a network camera."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern="^rtsps?://.", description="for example rtsp://USER:PASSWORD@HOST/PATH"
        ),
    ]
    transport: Literal["tcp", "udp"] = "tcp"
    """udp: less delay, but a lost packet costs pictures."""
    encoding: VideoEncoding = "bgr8"
    """nv12 costs the least."""


def open_camera(options: RtspOptions, port: DriverPort) -> Messages:
    """A camera that does not answer may do so later: it is tried again and again."""
    return _opened(options, port)


@contextmanager
def _opened(options: RtspOptions, port: DriverPort) -> Iterator[Iterator[CameraFrame | None]]:
    link = {
        "rtsp_transport": options.transport,
        "fflags": "nobuffer",
        "analyzeduration": "1000000",
        "max_delay": "200000",  # us that udp waits for packets that were overtaken
    }
    camera = NetworkCamera(options.url, link, port.clock, port.counters)
    with (
        connected(camera) as arrivals,
        closing(at_deadlines(frames(arrivals, options, port), port.clock)) as messages,
    ):
        yield messages


def frames(
    arrivals: Iterator[Connected | Arrived | None], options: RtspOptions, port: DriverPort
) -> Generator[CameraFrame | None, None, None]:
    """One message per whole picture; None at every turn without."""
    maker = FrameMaker(options, port)
    stream: _Stream | None = None
    for one in arrivals:
        if isinstance(one, Connected):
            maker.forget_size()
            stream = _Stream(one, options, port)
        elif one is not None and stream is not None:
            yield from stream.frames(one, maker)
        yield None


class _Stream:
    """One connection: its decoder, and its clock."""

    def __init__(self, link: Connected, options: RtspOptions, port: DriverPort) -> None:
        self._decoder = VideoDecoder(link.context, options.encoding, port.counters)
        self._clock = DeviceClock(_NEVER_NS, "receipt", port.counters)
        self._options = options
        self._counters = port.counters

    def frames(self, arrived: Arrived, maker: FrameMaker) -> Iterator[CameraFrame]:
        packet, recv_ns = arrived.packet, arrived.recv_ns
        if packet.pts is not None and packet.time_base:
            sent_ns = round(packet.pts * packet.time_base * NS_PER_S)
            self._clock.observe(np.array([sent_ns % _NEVER_NS]), np.array([recv_ns]))
        for picture in self._decoder.pictures(packet):
            if arrived.is_late:
                self._counters[SUPERSEDED] += 1
                continue
            if (pixels := self._decoder.pixels(picture)) is None:
                continue
            size = (picture.width, picture.height)
            instant = self._instant(time_ns(picture), recv_ns)
            yield from maker.from_pixels(pixels, self._options.encoding, size, instant)

    def _instant(self, sent_ns: int | None, recv_ns: int) -> Instant:
        """A camera stamps when a picture is complete: half an exposure before is its middle."""
        stamp_ns = recv_ns
        if sent_ns is not None:
            stamp_ns = self._clock.rig_ns(sent_ns, recv_ns)
        exposure_ns = self._options.exposure_ns()
        return Instant(stamp_ns - self._options.latency_ns() - exposure_ns // 2, exposure_ns)


DRIVERS = {"camera": Driver(RtspOptions, open_camera)}
