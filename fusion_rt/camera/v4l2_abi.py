"""The part of the kernel's Video4Linux2 interface that capturing needs, as it lies in memory.

After <linux/videodev2.h>; a test compares sizes, offsets and numbers with those of a C compiler.
"""

from ctypes import (
    Structure,
    Union,
    c_char,
    c_int32,
    c_long,
    c_uint8,
    c_uint32,
    c_ulong,
    c_void_p,
    sizeof,
)

CAPTURE, MMAP, FIELD_ANY = 1, 1, 0
CAP_VIDEO_CAPTURE, CAP_STREAMING, CAP_DEVICE_CAPS = 0x1, 0x0400_0000, 0x8000_0000
CAP_VIDEO_CAPTURE_MPLANE = 0x1000
CAP_TIMEPERFRAME = 0x1000
DISCRETE = 1
FLAG_ERROR = 0x40
FLAG_TIMESTAMP_MASK, FLAG_TIMESTAMP_MONOTONIC = 0xE000, 0x2000
FLAG_SOURCE_MASK, FLAG_SOURCE_START_OF_EXPOSURE = 0x70000, 0x10000
CONTROL_EXPOSURE_AUTO, EXPOSURE_MANUAL = 0x009A_0901, 1
CONTROL_EXPOSURE_ABSOLUTE = 0x009A_0902  # in units of 100 us


class Capability(Structure):
    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class PixFormat(Structure):
    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    )


class _AnyFormat(Union):
    _fields_ = (("pix", PixFormat), ("raw", c_uint8 * 200), ("alignment", c_void_p))


class Format(Structure):
    _fields_ = (("type", c_uint32), ("fmt", _AnyFormat))


class FormatDescription(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class Fraction(Structure):
    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class _Discrete(Structure):
    _fields_ = (("width", c_uint32), ("height", c_uint32))


class _Stepwise(Structure):
    _fields_ = (
        ("min_width", c_uint32),
        ("max_width", c_uint32),
        ("step_width", c_uint32),
        ("min_height", c_uint32),
        ("max_height", c_uint32),
        ("step_height", c_uint32),
    )


class _AnySize(Union):
    _fields_ = (("discrete", _Discrete), ("stepwise", _Stepwise))


class FrameSize(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", _AnySize),
        ("reserved", c_uint32 * 2),
    )


class _IntervalRange(Structure):
    _fields_ = (("min", Fraction), ("max", Fraction), ("step", Fraction))


class _AnyInterval(Union):
    _fields_ = (("discrete", Fraction), ("stepwise", _IntervalRange))


class FrameInterval(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", _AnyInterval),
        ("reserved", c_uint32 * 2),
    )


class CaptureParameters(Structure):
    _fields_ = (
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fraction),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    )


class _AnyParameters(Union):
    _fields_ = (("capture", CaptureParameters), ("raw", c_uint8 * 200))


class StreamParameters(Structure):
    _fields_ = (("type", c_uint32), ("parm", _AnyParameters))


class RequestBuffers(Structure):
    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class _TimeValue(Structure):
    _fields_ = (("tv_sec", c_long), ("tv_usec", c_long))


class _TimeCode(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("flags", c_uint32),
        ("rest", c_uint8 * 8),
    )


class _Place(Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_ulong), ("fd", c_int32))


class Buffer(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", _TimeValue),
        ("timecode", _TimeCode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Place),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


class Control(Structure):
    _fields_ = (("id", c_uint32), ("value", c_int32))


_WRITE, _READ = 1, 2


def _request(direction: int, number: int, argument: type[Structure] | type[c_int32]) -> int:
    return direction << 30 | sizeof(argument) << 16 | ord("V") << 8 | number


QUERYCAP = _request(_READ, 0, Capability)
ENUM_FMT = _request(_READ | _WRITE, 2, FormatDescription)
S_FMT = _request(_READ | _WRITE, 5, Format)
REQBUFS = _request(_READ | _WRITE, 8, RequestBuffers)
QUERYBUF = _request(_READ | _WRITE, 9, Buffer)
QBUF = _request(_READ | _WRITE, 15, Buffer)
DQBUF = _request(_READ | _WRITE, 17, Buffer)
STREAMON = _request(_WRITE, 18, c_int32)
STREAMOFF = _request(_WRITE, 19, c_int32)
S_PARM = _request(_READ | _WRITE, 22, StreamParameters)
G_CTRL = _request(_READ | _WRITE, 27, Control)
ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, FrameSize)
ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, FrameInterval)


def fourcc(code: str) -> int:
    """A pixel format's number, of its four letters."""
    return int.from_bytes(code.encode("ascii"), "little")


def letters(number: int) -> str:
    """A pixel format's four letters; those that cannot be shown are dots."""
    text = number.to_bytes(4, "little").decode("ascii", "replace")
    return "".join(letter if letter.isprintable() else "." for letter in text)
