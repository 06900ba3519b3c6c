"""Small videos and pictures for the tests, made by FFmpeg."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.camera.fake_camera import picture


def write_video(
    path: Path | str,
    frames: int = 10,
    size: tuple[int, int] = (320, 240),
    rate_hz: int = 20,
    key_every: int = 5,
    container_format: str | None = None,
    codec: str = "libx264",
) -> Path:
    """Picture n is `picture(seed=4 * n)`."""
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "bgr0"
        stream.options = {"g": str(key_every)}
        if codec == "libx264":
            stream.options |= {"preset": "ultrafast", "tune": "zerolatency", "qp": "10"}
        for n in range(frames):
            image = av.VideoFrame.from_ndarray(picture(*size, seed=4 * n), "bgr24")
            for packet in stream.encode(image):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return Path(path)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    context = av.CodecContext.create("png", "w")
    context.height, context.width = pixels.shape[:2]
    is_grey = pixels.ndim == 2
    context.pix_fmt = "gray" if is_grey else "rgb24"
    context.time_base = Fraction(1)
    form = "gray" if is_grey else "bgr24"
    frame = av.VideoFrame.from_ndarray(pixels, form).reformat(format=context.pix_fmt)
    packets = [*context.encode(frame), *context.encode(None)]
    path.write_bytes(b"".join(map(bytes, packets)))
    return path
