"""Reads compressed pictures of recordings: the size of a JPEG, the pixels of a PNG."""

import cv2
import numpy as np
import numpy.typing as npt

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start of frame, of whatever coding; the three others are tables."""


def jpeg_size(data: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Width and height of a JPEG; None where it is none, or is cut off before it says."""
    raw = data.data if data.flags.c_contiguous else memoryview(data.tobytes())
    if bytes(raw[:2]) != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker, length = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "big")
        if marker in _FRAME_MARKERS:
            height = int.from_bytes(raw[at + 5 : at + 7], "big")
            width = int.from_bytes(raw[at + 7 : at + 9], "big")
            return (width, height) if width and height else None
        at += 2 + length
    return None


def picture(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) bgr8 of any picture OpenCV reads; None where it reads none."""
    if data.size == 0:
        return None
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if pixels is None else np.asarray(pixels, np.uint8)
