"""Makes camera frames of ROS images, raw and compressed."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_rt.drivers.port import from_extra
from fusion_rt.imports.image_file import frame_from_picture
from fusion_rt.messages import CameraFrame, PixelEncoding

with from_extra("import"):
    import cv2

Image = npt.NDArray[np.uint8]

_PLAIN: dict[str, tuple[PixelEncoding, int]] = {
    "bgr8": ("bgr8", 3),
    "8UC3": ("bgr8", 3),
    "rgb8": ("rgb8", 3),
    "mono8": ("mono8", 1),
    "8UC1": ("mono8", 1),
    "yuv422_yuy2": ("yuyv", 2),
    "yuyv": ("yuyv", 2),
}
"""ROS encodings that are ours by another name: ours, and channels."""
_WITH_ALPHA: dict[str, PixelEncoding] = {"bgra8": "bgr8", "8UC4": "bgr8", "rgba8": "rgb8"}
_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerRGGB2BGR,
    "bayer_bggr8": cv2.COLOR_BayerBGGR2BGR,
    "bayer_gbrg8": cv2.COLOR_BayerGBRG2BGR,
    "bayer_grbg8": cv2.COLOR_BayerGRBG2BGR,
}
_UYVY = ("yuv422", "uyvy")
ENCODINGS = (*_PLAIN, *_WITH_ALPHA, *_BAYER, *_UYVY, "nv12")


def frame_from_image(image: Any, stamp_ns: int) -> CameraFrame:
    """From sensor_msgs/Image; raises ValueError for an image that cannot be."""
    encoding, pixels = _pixels(image)
    return CameraFrame(
        stamp_ns=stamp_ns,
        encoding=encoding,
        width=int(image.width),
        height=int(image.height),
        image=np.ascontiguousarray(pixels),
    )


def frame_from_compressed(image: Any, stamp_ns: int) -> CameraFrame:
    """From sensor_msgs/CompressedImage; raises ValueError for what is no picture."""
    try:
        return frame_from_picture(np.frombuffer(image.data, np.uint8), stamp_ns)
    except ValueError as error:
        raise ValueError(f'format "{image.format}": {error}') from error


def _pixels(image: Any) -> tuple[PixelEncoding, Image]:
    name = image.encoding
    if name in _PLAIN:
        encoding, channels = _PLAIN[name]
        return encoding, _rows(image, channels)
    if name in _WITH_ALPHA:
        return _WITH_ALPHA[name], _rows(image, 4)[..., :3]
    if name in _BAYER:
        return "bgr8", np.asarray(cv2.cvtColor(_rows(image, 1), _BAYER[name]), np.uint8)
    if name in _UYVY:
        return "yuyv", _rows(image, 2)[..., ::-1]
    if name == "nv12":
        return "nv12", _rows(image, 1, rows=int(image.height) * 3 // 2)
    raise ValueError(f'encoding "{name}"')


def _rows(image: Any, channels: int, rows: int | None = None) -> Image:
    """(H, W) or (H, W, channels), without what pads each row."""
    height, width, step = rows or int(image.height), int(image.width), int(image.step)
    data = np.frombuffer(image.data, np.uint8)
    if step < width * channels or data.size < height * step or not (height and width):
        got = f"{data.size} bytes, {step} a row"
        raise ValueError(f"{width}x{height} {image.encoding} of {got}")
    pixels = data[: height * step].reshape(height, step)[:, : width * channels]
    return pixels if channels == 1 else pixels.reshape(height, width, channels)
