"""Encode step: a camera's JPEG as the picture that networks are fed from."""

import numpy as np

from fusion_rt.arrays import AnyArray
from fusion_rt.errors import MissingExtraError
from fusion_rt.messages import CameraFrame


def decode(frame: CameraFrame, into: AnyArray | None = None) -> AnyArray:
    """The picture of a JPEG as bgr8, in `into` where that has its size; ValueError: damaged."""
    try:
        from fusion_rt.camera.frames import decode_jpeg, jpeg_size
    except ImportError as error:
        raise MissingExtraError("sensors", str(error)) from error
    size = jpeg_size(frame.image.data)
    if size is None:
        raise ValueError("its JPEG is damaged")
    if size != (frame.width, frame.height):  # before anything of a stated size is allocated
        stated = f"{frame.width}x{frame.height}"
        raise ValueError(f"expected a JPEG of {stated}, got {size[0]}x{size[1]}")
    shape = (frame.height, frame.width, 3)
    picture = into if into is not None and into.shape == shape else np.empty(shape, np.uint8)
    if not decode_jpeg(frame.image.data, "bgr8", picture):
        raise ValueError("its JPEG is damaged")
    return picture
