"""Cameras of this machine, USB or on board, through the kernel's Video4Linux2."""

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Annotated

import msgspec
import numpy as np

from fusion_rt.camera.frames import DAMAGED, SUPERSEDED, FrameMaker, Instant, Pixels
from fusion_rt.camera.options import LiveCameraOptions, Milliseconds
from fusion_rt.camera.v4l2_device import KERNEL, Kernel, Shot, Stream, cameras, describe, streaming
from fusion_rt.camera.v4l2_modes import ENCODING, Choice, PixelFormat, choose
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import READ_DEADLINE_NS, Driver, DriverPort, Messages
from fusion_rt.errors import DriverError
from fusion_rt.messages import CameraFrame, PixelEncoding, image_shape
from fusion_rt.pacing import at_deadlines
from fusion_rt.reconnect import reconnecting

LOST = "lost_frames"
"""Counter of pictures that the camera took but never delivered, by its own count."""
STAMPED_AT_RECEIPT = "stamped_at_receipt"
"""Counter of pictures whose time the kernel does not tell, or tells on another clock."""

_SILENCE_NS = 5 * NS_PER_S  # a camera that hangs may come back when it is opened anew
_OLDEST_NS = 2 * NS_PER_S
_CLOCK_SLACK_NS = NS_PER_MS


class V4l2Options(LiveCameraOptions, frozen=True, kw_only=True):
    """Options of a camera of this machine."""

    device: Annotated[str, msgspec.Meta(description="for example /dev/video0")]
    format: PixelFormat | None = None
    """What the camera is to deliver; None: the cheapest that has size and rate."""
    encoding: PixelEncoding | None = None
    """What mjpeg becomes: bgr8 when absent, rgb8, mono8, or jpeg, passed on as it is."""
    readout_ms: Milliseconds = 0
    """From the first row's to the last row's exposure: a rolling shutter's."""

    def __post_init__(self) -> None:
        if self.encoding not in (None, "bgr8", "rgb8", "mono8", "jpeg"):
            raise ValueError(f"expected encoding bgr8, rgb8, mono8 or jpeg, got {self.encoding}")
        if self.encoding is not None and self.format not in (None, "mjpeg"):
            wanted = f"none beside format {self.format}, which is passed on as it is"
            raise ValueError(f"expected encoding {wanted}, got {self.encoding}")

    def payload_bytes(self) -> int | None:
        encoding = ENCODING.get(self.format) if self.format else None
        if self.format == "mjpeg":
            encoding = self.encoding or "bgr8"
        if encoding in (None, "jpeg") or self.width is None or self.height is None:
            return None
        return int(np.prod(image_shape(encoding, self.width, self.height) or (0,)))


def open_camera(options: V4l2Options, port: DriverPort, kernel: Kernel = KERNEL) -> Messages:
    """Fails where the device is there but cannot do what is asked; a missing one may still come."""
    with suppress(OSError):  # reported, again and again, by what opens it
        choose_mode(options, kernel)
    return closing(at_deadlines(frames(options, port, kernel), port.clock))


def choose_mode(options: V4l2Options, kernel: Kernel = KERNEL) -> Choice:
    """What the camera is to be set to.

    Raises OSError where it is missing or busy, DriverError where it is no camera or has no such
    mode, both with what there is instead.
    """
    try:
        camera = describe(options.device, kernel)
    except FileNotFoundError:
        problem = f"camera {options.device}: expected it, found none"
        raise OSError(f"{problem}; {_there(kernel)}") from None
    except OSError as error:
        way_out = ": are you in the group video?" if isinstance(error, PermissionError) else ""
        raise OSError(
            f"camera {options.device}: {os.strerror(error.errno or 0)}{way_out}"
        ) from error
    if camera is None:
        problem = f"expected a camera at {options.device}, which delivers no pictures"
        raise DriverError("v4l2", problem, _there(kernel))
    wanted = (options.width, options.height, options.rate_hz, options.format)
    choice = choose(camera.modes, *wanted)
    if choice is None:
        problem = f"expected {_asked(options)} of {options.device} ({camera.card})"
        offered = "; ".join(str(mode) for mode in camera.modes) or "nothing"
        raise DriverError("v4l2", problem, f"it offers {offered}")
    if options.encoding is not None and choice.format != "mjpeg":
        problem = f"expected mjpeg to make {options.encoding} of, chose {choice.format}"
        raise DriverError("v4l2", problem, "add format: mjpeg, or leave encoding out")
    return choice


def _asked(options: V4l2Options) -> str:
    size = f"{options.width or 'any'}x{options.height or 'any'}"
    rate = "" if options.rate_hz is None else f" at {options.rate_hz:g} Hz"
    return f"{options.format or 'a format we read'} {size}{rate}"


def _there(kernel: Kernel) -> str:
    """What this machine has instead, in a sentence."""
    found = [f"{camera.path} ({camera.card})" for camera in cameras(kernel)]
    return f"there are {', '.join(found)}" if found else "there is no camera at all"


def frames(
    options: V4l2Options, port: DriverPort, kernel: Kernel
) -> Generator[CameraFrame | None, None, None]:
    """One message per whole picture; None at every turn without."""
    maker, opened = FrameMaker(options, port), None
    for taken in reconnecting(lambda: _opened(options, port, kernel), port):
        if taken is None:
            yield None
            continue
        shot, stream, exposure_ns = taken
        if stream is not opened:
            maker.forget_size()
            opened = stream
        instant = _instant(shot, exposure_ns, options, port)
        yield from _frame(shot, stream, instant, options, maker, port)
        yield None


_Taken = tuple[Shot, Stream, int]
"""With the exposure that the camera states, ns."""


@contextmanager
def _opened(
    options: V4l2Options, port: DriverPort, kernel: Kernel
) -> Iterator[Iterator[_Taken | None]]:
    try:
        choice = choose_mode(options, kernel)
    except DriverError as error:  # not at the start: something else was plugged in
        raise OSError(str(error)) from error
    with streaming(options.device, choice, kernel) as stream:
        yield _taken(stream, options, port)


def _taken(stream: Stream, options: V4l2Options, port: DriverPort) -> Iterator[_Taken | None]:
    exposure_ns = stream.exposure_ns() or options.exposure_ns()
    heard_ns = port.clock.now_ns()
    last: int | None = None
    while True:
        taken = stream.take(READ_DEADLINE_NS)
        now_ns = port.clock.now_ns()
        if taken is None:
            if now_ns - heard_ns > _SILENCE_NS:
                raise OSError(f"camera {options.device}: it fell silent")
            yield None
            continue
        shot, older = taken
        heard_ns = now_ns
        if last is not None and shot.sequence > last:  # some start again at 0
            port.counters[LOST] += max(0, shot.sequence - last - 1 - older)
        port.counters[SUPERSEDED] += older
        last = shot.sequence
        yield shot, stream, exposure_ns


def _instant(shot: Shot, exposure_ns: int, options: V4l2Options, port: DriverPort) -> Instant:
    """Mid-exposure of the middle row."""
    now_ns = port.clock.now_ns()
    half_ns = (exposure_ns + round(options.readout_ms * NS_PER_MS)) // 2
    taken_ns = None
    if shot.monotonic_ns is not None:
        taken_ns = port.clock.from_monotonic_ns(shot.monotonic_ns)
    if taken_ns is None or not -_CLOCK_SLACK_NS <= now_ns - taken_ns <= _OLDEST_NS:
        port.counters[STAMPED_AT_RECEIPT] += 1
        return Instant(now_ns - half_ns - options.latency_ns(), exposure_ns)
    middle_ns = taken_ns + (half_ns if shot.is_start_of_exposure else -half_ns)
    return Instant(middle_ns - options.latency_ns(), exposure_ns)


def _frame(
    shot: Shot,
    stream: Stream,
    instant: Instant,
    options: V4l2Options,
    maker: FrameMaker,
    port: DriverPort,
) -> Iterator[CameraFrame]:
    choice = stream.choice
    if choice.format == "mjpeg" and not shot.is_damaged:
        yield from maker.from_jpeg(shot.data.data, options.encoding or "bgr8", instant)
        return
    pixels = None if shot.is_damaged else pixels_of(shot.data, choice, stream.line_bytes)
    if pixels is None:
        port.counters[DAMAGED] += 1
        return
    size = (choice.width, choice.height)
    yield from maker.from_pixels(pixels, ENCODING[choice.format], size, instant)


def pixels_of(data: Pixels, choice: Choice, line_bytes: int) -> Pixels | None:
    """A view in the shape that messages have; None where bytes are missing."""
    encoding = ENCODING[choice.format]
    shape = image_shape(encoding, choice.width, choice.height) or (0,)
    used = int(np.prod(shape[1:]))
    stride = max(line_bytes, used)
    if len(data) < stride * (shape[0] - 1) + used:
        return None
    rows = np.lib.stride_tricks.as_strided(data, (shape[0], used), (stride, 1))
    if choice.format == "uyvy":
        rows = rows.reshape(shape[0], -1, 2)[:, :, ::-1]
    return rows.reshape(shape)


DRIVERS = {"camera": Driver(V4l2Options, open_camera)}
