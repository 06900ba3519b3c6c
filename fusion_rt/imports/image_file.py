"""Makes camera frames of picture files: JPEG as it is, everything else decoded."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fusion_rt.drivers.port import from_extra
from fusion_rt.logs.jpeg import jpeg_size
from fusion_rt.messages import CameraFrame

with from_extra("import"):
    import cv2

_JPEG_START = b"\xff\xd8"


def frame_from_file(path: Path, stamp_ns: int) -> CameraFrame:
    """Raises OSError for a file that cannot be read, ValueError for one that is no picture."""
    return frame_from_picture(np.fromfile(path, np.uint8), stamp_ns)


def frame_from_picture(data: npt.NDArray[np.uint8], stamp_ns: int) -> CameraFrame:
    """A compressed picture: JPEG keeps its bytes, others become bgr8 or mono8 without loss."""
    if data[:2].tobytes() == _JPEG_START:
        width, height = jpeg_size(data.data)
        return CameraFrame(
            stamp_ns=stamp_ns, encoding="jpeg", width=width, height=height, image=data
        )
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None or pixels.dtype != np.uint8:
        raise ValueError("no picture of 8 bits that OpenCV reads")
    height, width = pixels.shape[:2]
    return CameraFrame(
        stamp_ns=stamp_ns,
        encoding="mono8" if pixels.ndim == 2 else "bgr8",
        width=width,
        height=height,
        image=np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., :3]),
    )


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture file; None where it is none."""
    try:
        frame = frame_from_file(path, 0)
    except (OSError, ValueError):
        return None
    return frame.width, frame.height
