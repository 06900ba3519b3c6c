"""A V4L2 camera made of memory, behind the system calls that the driver makes.

It keeps to the kernel's rules where the driver could break them: buffers must be queued to be
filled, are filled in order, and are gone with the file; lists end with EINVAL.
"""

import ctypes
import errno
from collections import deque

import numpy as np

from fusion_rt.camera import v4l2_abi as abi
from fusion_rt.clock import NS_PER_S, SettableClock

SIZES = {"YUYV": [(640, 480)], "MJPG": [(1280, 720), (640, 480)]}


class FakeCamera:
    """One camera at `path`, and a node that delivers no pictures beside it."""

    def __init__(self, clock: SettableClock, path: str = "/dev/video0") -> None:
        self.path = path
        self.sizes: dict[str, list[tuple[int, int]]] = dict(SIZES)
        self.rates_hz = {"YUYV": [15], "MJPG": [30, 15]}
        self.is_there = True
        self.is_manual = False
        self.flags = abi.FLAG_TIMESTAMP_MONOTONIC | abi.FLAG_SOURCE_START_OF_EXPOSURE
        self.padding = 0
        self.opened: dict[int, str] = {}
        self.rate: tuple[int, int] | None = None
        self.format: tuple[str, int, int] | None = None
        self.memory: list[bytearray] = []
        self._clock = clock
        self._empty: deque[int] = deque()
        self._full: deque[tuple[int, int, int, int, int]] = deque()
        self._sequence = 0
        self._is_on = False

    def shoot(self, picture: bytes, *, age_ns: int = 0, flags: int = 0, skip: int = 0) -> None:
        """Take one picture; it is lost, as in the kernel, when no buffer is free."""
        self._sequence += skip
        if self._is_on and self._empty:
            index = self._empty.popleft()
            self.memory[index][: len(picture)] = picture
            taken_ns = self._clock.now_ns() - age_ns
            one = (index, len(picture), self.flags | flags, taken_ns, self._sequence)
            self._full.append(one)
        self._sequence += 1

    def unplug(self) -> None:
        self.is_there = self._is_on = False
        self._full.clear()

    def plug_in(self) -> None:
        self.is_there = True
        self._sequence = 0

    def paths(self) -> list[str]:
        return [self.path, "/dev/video1"] if self.is_there else ["/dev/video1"]

    def open(self, path: str) -> int:
        if path not in self.paths():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        fd = 1000 + len(self.opened)
        self.opened[fd] = path
        return fd

    def close(self, fd: int) -> None:
        del self.opened[fd]
        if not self.opened:
            self._is_on = False
            self._empty.clear()
            self._full.clear()

    def map(self, _fd: int, length: int, offset: int) -> bytearray:
        self.memory.append(bytearray(length))
        assert offset == (len(self.memory) - 1) * 4096
        return self.memory[-1]

    def wait(self, _fd: int, timeout_ns: int) -> bool:
        if self._full or not self.is_there:
            return True
        self._clock.advance_ns(timeout_ns)
        return False

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        path = self.opened[fd]
        if not self.is_there and path == self.path:
            raise OSError(errno.ENODEV, "No such device")
        handlers = {
            abi.QUERYCAP: lambda one: self._query(path, one),
            abi.ENUM_FMT: self._enum_formats,
            abi.ENUM_FRAMESIZES: self._enum_sizes,
            abi.ENUM_FRAMEINTERVALS: self._enum_intervals,
            abi.S_FMT: self._set_format,
            abi.S_PARM: self._set_rate,
            abi.G_CTRL: self._control,
            abi.REQBUFS: self._request_buffers,
            abi.QUERYBUF: self._query_buffer,
            abi.QBUF: lambda one: self._empty.append(one.index),
            abi.DQBUF: self._dequeue,
            abi.STREAMON: self._switch_on,
            abi.STREAMOFF: lambda _: None,
        }
        handlers[request](argument)

    def _query(self, path: str, about: abi.Capability) -> None:
        about.card, about.bus_info = b"Fake Cam", b"usb-0000:00:14.0-1"
        about.capabilities = abi.CAP_DEVICE_CAPS | abi.CAP_VIDEO_CAPTURE | abi.CAP_STREAMING
        about.device_caps = abi.CAP_STREAMING
        if path == self.path:
            about.device_caps |= abi.CAP_VIDEO_CAPTURE

    def _enum_formats(self, entry: abi.FormatDescription) -> None:
        entry.pixelformat = abi.fourcc(_at(list(self.sizes), entry.index))

    def _enum_sizes(self, entry: abi.FrameSize) -> None:
        size = _at(self.sizes[abi.letters(entry.pixel_format)], entry.index)
        entry.type = abi.DISCRETE
        entry.size.discrete.width, entry.size.discrete.height = size

    def _enum_intervals(self, entry: abi.FrameInterval) -> None:
        rate = _at(self.rates_hz[abi.letters(entry.pixel_format)], entry.index)
        entry.type = abi.DISCRETE
        entry.interval.discrete.numerator, entry.interval.discrete.denominator = 1, rate

    def _set_format(self, wanted: abi.Format) -> None:
        pix = wanted.fmt.pix
        name = abi.letters(pix.pixelformat)
        self.format = (name, pix.width, pix.height)
        pix.bytesperline = 2 * pix.width + self.padding if name == "YUYV" else 0
        pix.sizeimage = max(1 << 20, pix.bytesperline * pix.height)

    def _set_rate(self, parameters: abi.StreamParameters) -> None:
        interval = parameters.parm.capture.timeperframe
        self.rate = (interval.numerator, interval.denominator)

    def _control(self, control: abi.Control) -> None:
        is_mode = control.id == abi.CONTROL_EXPOSURE_AUTO
        control.value = (abi.EXPOSURE_MANUAL if self.is_manual else 3) if is_mode else 80

    def _request_buffers(self, request: abi.RequestBuffers) -> None:
        request.count = 3  # drivers may grant fewer than asked for
        self.memory.clear()

    def _query_buffer(self, buffer: abi.Buffer) -> None:
        buffer.length, buffer.m.offset = 1 << 20, buffer.index * 4096

    def _switch_on(self, _kind: object) -> None:
        self._is_on = True

    def _dequeue(self, buffer: abi.Buffer) -> None:
        if not self._full:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        index, size, flags, taken_ns, sequence = self._full.popleft()
        buffer.index, buffer.bytesused, buffer.flags = index, size, flags
        buffer.timestamp.tv_sec, rest_ns = divmod(taken_ns, NS_PER_S)
        buffer.timestamp.tv_usec = rest_ns // 1000
        buffer.sequence = sequence


def _at(values: list, index: int):  # type: ignore[no-untyped-def,type-arg]
    if index >= len(values):
        raise OSError(errno.EINVAL, "Invalid argument")
    return values[index]


def picture(width: int = 640, height: int = 480, seed: int = 0) -> np.ndarray:
    """(H, W, 3): smooth enough for JPEG to keep it."""
    across = np.linspace(0, 200, width)[None, :, None] + np.zeros((height, 1, 1))
    down = np.linspace(0, 50, height)[:, None, None]
    return (across + down * np.array([1, 0.5, 0.2]) + seed).clip(0, 255).astype(np.uint8)
