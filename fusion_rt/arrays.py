"""What an array must be where it enters a kernel or an engine: shape, dtype, C order."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_rt.errors import ArrayError

AnyArray = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TensorSpec:
    """A named array: `shape` with every dimension fixed (-1: any length), and its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{_shape_text(self.shape)} {self.dtype}"

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, array: AnyArray, where: str) -> None:
        """Refuse anything but a C-contiguous array of this shape and dtype."""
        if not isinstance(array, np.ndarray):
            raise ArrayError(where, self.name, str(self), type(array).__name__)
        if array.dtype != self.dtype or not self._fits(array.shape):
            raise ArrayError(where, self.name, str(self), array_text(array))
        if not array.flags.c_contiguous:
            got = (
                f"{array_text(array)} with strides {array.strides}; np.ascontiguousarray copies it"
            )
            raise ArrayError(where, self.name, f"C-contiguous {self}", got)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        if shape == self.shape:
            return True
        same_rank = len(shape) == len(self.shape)
        return same_rank and all(w in (-1, g) for w, g in zip(self.shape, shape, strict=True))


def array_text(array: AnyArray) -> str:
    """Shape and dtype, as error messages show them."""
    return f"{_shape_text(array.shape)} {array.dtype}"


def aligned_empty(nbytes: int, alignment: int = 64) -> npt.NDArray[np.uint8]:
    """Uninitialized bytes that start on a cache line (or any other power of two)."""
    raw = np.empty(nbytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + nbytes]


def _shape_text(shape: tuple[int, ...]) -> str:
    sizes = ["any" if size == -1 else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
