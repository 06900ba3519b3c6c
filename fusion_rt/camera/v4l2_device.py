"""Talks to a Video4Linux2 camera: asks what it can do, sets it, and takes its buffers.

`Kernel` is the seam: everything else here runs in tests against a camera made of memory.
"""

import contextlib
import ctypes
import errno
import fcntl
import glob
import mmap
import os
import select
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.camera import v4l2_abi as abi
from fusion_rt.camera.v4l2_modes import FOURCC, Choice, Mode
from fusion_rt.clock import NS_PER_MS, NS_PER_S

_BUFFERS = 4  # one being filled, one being copied, and what a late wake-up needs
_US = 1000
_EXPOSURE_UNIT_NS = 100_000
_MOST_LISTED = 256
_ENDS = (errno.EINVAL, errno.ENOTTY)
"""How drivers say that a list is over, or that they keep none."""
_FORMATS = {abi.fourcc(code): name for name, code in FOURCC.items()}


class Kernel:
    """The system calls a camera needs."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure | ctypes.c_int32) -> None:
        """Fills in `argument`; raises OSError."""
        while True:
            try:
                fcntl.ioctl(fd, request, argument)
            except InterruptedError:
                continue
            return

    def map(self, fd: int, length: int, offset: int) -> "mmap.mmap":
        return mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)

    def wait(self, fd: int, timeout_ns: int) -> bool:
        """Whether there is a buffer, or an error, to be had."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(timeout_ns / NS_PER_MS))

    def paths(self) -> list[str]:
        """Of all video devices, in the order of their numbers."""
        return sorted(glob.glob("/dev/video*"), key=lambda path: (len(path), path))


KERNEL = Kernel()


class Camera(msgspec.Struct, frozen=True):
    """One device as it describes itself."""

    path: str
    card: str
    bus: str
    modes: tuple[Mode, ...]


class Shot(NamedTuple):
    """One buffer; `data` is the kernel's memory, and its again with the next one taken."""

    data: npt.NDArray[np.uint8]
    monotonic_ns: int | None
    """None where the driver does not stamp by CLOCK_MONOTONIC."""
    is_start_of_exposure: bool
    """Else the stamp is when the last pixel had come."""
    sequence: int
    is_damaged: bool


@contextlib.contextmanager
def opened(path: str, kernel: Kernel = KERNEL) -> Iterator[int]:
    """The device's file, non-blocking."""
    fd = kernel.open(path)
    try:
        yield fd
    finally:
        kernel.close(fd)


def describe(path: str, kernel: Kernel = KERNEL) -> Camera | None:
    """What the device is and can do; None where it is no camera. Raises OSError."""
    with opened(path, kernel) as fd:
        about = abi.Capability()
        try:
            kernel.ioctl(fd, abi.QUERYCAP, about)
        except OSError as error:
            if error.errno in _ENDS:
                return None
            raise
        of_device = about.capabilities & abi.CAP_DEVICE_CAPS
        abilities = about.device_caps if of_device else about.capabilities
        if not abilities & abi.CAP_VIDEO_CAPTURE or not abilities & abi.CAP_STREAMING:
            return None
        return Camera(
            path=path,
            card=about.card.decode(errors="replace"),
            bus=about.bus_info.decode(errors="replace"),
            modes=tuple(_modes(fd, kernel)),
        )


def cameras(kernel: Kernel = KERNEL) -> list[Camera]:
    """All that can be opened."""
    found = []
    for path in kernel.paths():
        with contextlib.suppress(OSError):
            found.append(describe(path, kernel))
    return [camera for camera in found if camera is not None]


def _modes(fd: int, kernel: Kernel) -> Iterator[Mode]:
    for index in range(_MOST_LISTED):
        entry = abi.FormatDescription(index=index, type=abi.CAPTURE)
        if not _listed(fd, abi.ENUM_FMT, entry, kernel):
            return
        yield from _sizes(fd, entry.pixelformat, kernel)


def _sizes(fd: int, pixel_format: int, kernel: Kernel) -> Iterator[Mode]:
    name = _FORMATS.get(pixel_format, abi.letters(pixel_format))
    for index in range(_MOST_LISTED):
        entry = abi.FrameSize(index=index, pixel_format=pixel_format)
        if not _listed(fd, abi.ENUM_FRAMESIZES, entry, kernel):
            return
        if entry.type == abi.DISCRETE:
            size = (entry.size.discrete.width, entry.size.discrete.height)
            yield Mode(name, size, size, rates_hz=_rates(fd, pixel_format, size, kernel))
            continue
        span = entry.size.stepwise
        most = (span.max_width, span.max_height)
        least, step = (span.min_width, span.min_height), (span.step_width, span.step_height)
        yield Mode(name, least, most, step, _rates(fd, pixel_format, most, kernel))
        return


def _rates(fd: int, pixel_format: int, size: tuple[int, int], kernel: Kernel) -> tuple[float, ...]:
    intervals: list[abi.Fraction] = []
    for index in range(_MOST_LISTED):
        entry = abi.FrameInterval(
            index=index, pixel_format=pixel_format, width=size[0], height=size[1]
        )
        if not _listed(fd, abi.ENUM_FRAMEINTERVALS, entry, kernel):
            break
        if entry.type == abi.DISCRETE:
            intervals.append(entry.interval.discrete)
            continue
        intervals += [entry.interval.stepwise.min, entry.interval.stepwise.max]
        break
    rates = {round(one.denominator / one.numerator, 3) for one in intervals if one.numerator}
    return tuple(sorted(rates, reverse=True))


def _listed(fd: int, request: int, entry: ctypes.Structure, kernel: Kernel) -> bool:
    try:
        kernel.ioctl(fd, request, entry)
    except OSError as error:
        if error.errno in _ENDS:
            return False
        raise
    return True


class Stream:
    """A camera that delivers; made by `streaming`."""

    def __init__(self, fd: int, kernel: Kernel, form: abi.PixFormat, choice: Choice) -> None:
        self.choice = choice
        self.line_bytes = int(form.bytesperline)
        self._fd = fd
        self._kernel = kernel
        self._maps: list[npt.NDArray[np.uint8]] = []
        self._taken: int | None = None

    def start(self) -> None:
        request = abi.RequestBuffers(count=_BUFFERS, type=abi.CAPTURE, memory=abi.MMAP)
        self._kernel.ioctl(self._fd, abi.REQBUFS, request)
        for index in range(request.count):
            buffer = abi.Buffer(index=index, type=abi.CAPTURE, memory=abi.MMAP)
            self._kernel.ioctl(self._fd, abi.QUERYBUF, buffer)
            memory = self._kernel.map(self._fd, buffer.length, buffer.m.offset)
            self._maps.append(np.frombuffer(memory, np.uint8))
            self._kernel.ioctl(self._fd, abi.QBUF, buffer)
        self._kernel.ioctl(self._fd, abi.STREAMON, ctypes.c_int32(abi.CAPTURE))

    def stop(self) -> None:
        """The buffers are freed with the file; a device that was pulled out can do nothing."""
        with contextlib.suppress(OSError):
            self._kernel.ioctl(self._fd, abi.STREAMOFF, ctypes.c_int32(abi.CAPTURE))
        self._maps.clear()

    def take(self, timeout_ns: int) -> tuple[Shot, int] | None:
        """The newest picture and how many older ones waited; None when none comes in time.

        Raises OSError where the device is gone.
        """
        if not self._kernel.wait(self._fd, timeout_ns):
            return None
        shot, older = self._next(), 0
        while shot is not None and (newer := self._next()) is not None:
            shot, older = newer, older + 1
        return None if shot is None else (shot, older)

    def exposure_ns(self) -> int:
        """As set by hand; 0 where the camera chooses it, as nearly none then tells the truth."""
        try:
            mode = abi.Control(id=abi.CONTROL_EXPOSURE_AUTO)
            self._kernel.ioctl(self._fd, abi.G_CTRL, mode)
            exposure = abi.Control(id=abi.CONTROL_EXPOSURE_ABSOLUTE)
            self._kernel.ioctl(self._fd, abi.G_CTRL, exposure)
        except OSError:
            return 0
        is_by_hand = mode.value == abi.EXPOSURE_MANUAL
        return max(0, int(exposure.value)) * _EXPOSURE_UNIT_NS if is_by_hand else 0

    def _next(self) -> Shot | None:
        buffer = abi.Buffer(type=abi.CAPTURE, memory=abi.MMAP)
        try:
            self._kernel.ioctl(self._fd, abi.DQBUF, buffer)
        except BlockingIOError:
            return None
        if self._taken is not None:  # only now: until then its picture could be read
            back = abi.Buffer(index=self._taken, type=abi.CAPTURE, memory=abi.MMAP)
            self._kernel.ioctl(self._fd, abi.QBUF, back)
        self._taken = buffer.index
        is_monotonic = buffer.flags & abi.FLAG_TIMESTAMP_MASK == abi.FLAG_TIMESTAMP_MONOTONIC
        source = buffer.flags & abi.FLAG_SOURCE_MASK
        taken_ns = buffer.timestamp.tv_sec * NS_PER_S + buffer.timestamp.tv_usec * _US
        return Shot(
            data=self._maps[buffer.index][: buffer.bytesused],
            monotonic_ns=taken_ns if is_monotonic else None,
            is_start_of_exposure=source == abi.FLAG_SOURCE_START_OF_EXPOSURE,
            sequence=buffer.sequence,
            is_damaged=bool(buffer.flags & abi.FLAG_ERROR),
        )


@contextlib.contextmanager
def streaming(path: str, choice: Choice, kernel: Kernel = KERNEL) -> Iterator[Stream]:
    """The camera set as chosen, and delivering. Raises OSError where it refuses."""
    with opened(path, kernel) as fd:
        form = _set_format(fd, path, choice, kernel)
        if choice.rate_hz is not None:
            _set_rate(fd, choice.rate_hz, kernel)
        stream = Stream(fd, kernel, form, choice)
        try:
            stream.start()
            yield stream
        finally:
            stream.stop()


def _set_format(fd: int, path: str, choice: Choice, kernel: Kernel) -> abi.PixFormat:
    wanted = abi.Format(type=abi.CAPTURE)
    pix = wanted.fmt.pix
    pix.width, pix.height, pix.field = choice.width, choice.height, abi.FIELD_ANY
    pix.pixelformat = abi.fourcc(FOURCC[choice.format])
    kernel.ioctl(fd, abi.S_FMT, wanted)
    got = (_FORMATS.get(pix.pixelformat), pix.width, pix.height)
    if got != (choice.format, choice.width, choice.height):
        set_to = f"{abi.letters(pix.pixelformat)} {pix.width}x{pix.height}"
        asked = f"{choice.format} {choice.width}x{choice.height}"
        raise OSError(f"camera {path}: expected {asked}, it set itself to {set_to}")
    made: abi.PixFormat = pix
    return made


def _set_rate(fd: int, rate_hz: float, kernel: Kernel) -> None:
    """A camera that cannot be set keeps its own rate: Health will say so."""
    parameters = abi.StreamParameters(type=abi.CAPTURE)
    interval = parameters.parm.capture.timeperframe
    interval.numerator, interval.denominator = 1000, round(rate_hz * 1000)
    with contextlib.suppress(OSError):
        kernel.ioctl(fd, abi.S_PARM, parameters)
