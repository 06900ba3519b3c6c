"""Pictures to messages, decoded straight into a loaned slot.

A camera keeps to one size: the one its rig entry states, else that of its first whole picture.
Others are counted, as the intrinsics would not fit them.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fusion_rt.drivers.port import CameraOptions, DriverPort, from_extra
from fusion_rt.messages import CameraFrame, PixelEncoding, image_shape

with from_extra("sensors"):
    import simplejpeg

DAMAGED = "damaged_frames"
"""Counter of pictures that could not be decoded whole."""
OTHER_SIZE = "other_size"
"""Counter of pictures that are not as large as the camera's others."""
SUPERSEDED = "superseded"
"""Counter of pictures left out because a newer one had come already: this process was held up."""

MAX_PIXELS = 64 << 20
"""More than any camera has: what claims more is damaged, and no memory is asked for."""
_COLOURS = {"bgr8": "BGR", "rgb8": "RGB", "mono8": "GRAY"}
# The first complaint, when all rows were there: many webcams pad every picture by a few bytes.
# Damage that loses step within a row leaves hundreds.
_PADDED = re.compile(r"\b(\d+) extraneous bytes before marker 0xd9")
_MOST_PADDING = 16

JPEG_START = b"\xff\xd8"
Bytes = bytes | memoryview
Pixels = npt.NDArray[np.uint8]


class Instant(NamedTuple):
    """When a picture was taken."""

    stamp_ns: int
    """Mid-exposure."""
    exposure_ns: int = 0


class FrameMaker:
    """Makes the messages of one camera.

    Its methods yield one message or none; as it lies in a loan, it lives until the next `next`.
    """

    def __init__(self, options: CameraOptions, port: DriverPort) -> None:
        self._stated = (options.width, options.height)
        self._size: tuple[int, int] | None = None
        self._port = port

    def forget_size(self) -> None:
        """The device was opened anew: it may be another one, or set otherwise."""
        self._size = None

    def from_jpeg(
        self, data: Bytes, encoding: PixelEncoding, instant: Instant
    ) -> Iterator[CameraFrame]:
        """`encoding` jpeg passes the bytes on as they are, once their header is right."""
        size = jpeg_size(data)
        if size is None:
            self._port.counters[DAMAGED] += 1
        elif self._fits(size):
            with self._port.loan(image_shape(encoding, *size) or (len(data),), np.uint8) as image:
                if encoding == "jpeg":
                    image[:] = np.frombuffer(data, np.uint8)
                elif not decode_jpeg(data, encoding, image):
                    self._port.counters[DAMAGED] += 1
                    return
                yield self._frame(image, encoding, size, instant)

    def from_pixels(
        self, pixels: Pixels, encoding: PixelEncoding, size: tuple[int, int], instant: Instant
    ) -> Iterator[CameraFrame]:
        """`pixels`, of the shape that messages have, may be a view; it is copied once."""
        if self._fits(size):
            with self._port.loan(pixels.shape, np.uint8) as image:
                np.copyto(image, pixels)
                yield self._frame(image, encoding, size, instant)

    def _fits(self, size: tuple[int, int]) -> bool:
        wanted = self._size or (self._stated[0] or size[0], self._stated[1] or size[1])
        self._port.counters[OTHER_SIZE] += size != wanted
        return size == wanted

    def _frame(
        self, image: Pixels, encoding: PixelEncoding, size: tuple[int, int], instant: Instant
    ) -> CameraFrame:
        self._size = size
        return CameraFrame(
            stamp_ns=max(0, instant.stamp_ns),
            encoding=encoding,
            width=size[0],
            height=size[1],
            image=image,
            exposure_ns=instant.exposure_ns,
        )


def decode_jpeg(data: Bytes, encoding: PixelEncoding, image: Pixels) -> bool:
    """Into `image`, which must have the picture's size; False where it is not whole."""
    try:
        simplejpeg.decode_jpeg(data, _COLOURS[encoding], buffer=image)
    except ValueError as error:
        padding = _PADDED.search(str(error))
        return padding is not None and int(padding[1]) <= _MOST_PADDING
    return True


def jpeg_size(data: Bytes) -> tuple[int, int] | None:
    """Width and height; None where it is no JPEG, or claims to be larger than any camera's."""
    if bytes(data[:2]) != JPEG_START:
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (width, height) if 0 < width * height <= MAX_PIXELS else None
