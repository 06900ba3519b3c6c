"""The checksum of Ouster packets, CRC-64/XZ, computed by liblzma where this machine has it."""

import ctypes
import ctypes.util
from collections.abc import Callable


def find_crc64() -> Callable[[bytes], int] | None:
    """A function that computes the checksum of some bytes; None without liblzma."""
    name = ctypes.util.find_library("lzma")
    if name is None:
        return None
    try:
        function = ctypes.CDLL(name).lzma_crc64
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
    function.restype = ctypes.c_uint64
    return lambda data: int(function(data, len(data), 0))
