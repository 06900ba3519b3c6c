"""Noise that is a function of an index: any process can start anywhere and draw the same."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_BLOCK = 4096


class WhiteNoise:
    """Standard normal numbers at every index from 0 on, in several channels."""

    def __init__(self, key: tuple[int, ...], channels: int) -> None:
        self._key = key
        self._channels = channels
        self._block = lru_cache(maxsize=8)(self._draw)

    def at(self, first: int, count: int) -> Floats:
        """(count, channels); indices below 0 hold zeros."""
        out = np.zeros((count, self._channels))
        done = max(0, -first)
        while done < count:
            block, start = divmod(first + done, _BLOCK)
            taken = min(count - done, _BLOCK - start)
            out[done : done + taken] = self._block(block)[start : start + taken]
            done += taken
        return out

    def _draw(self, block: int) -> Floats:
        rng = np.random.default_rng([*self._key, block])
        return rng.standard_normal((_BLOCK, self._channels))


class Wandering:
    """A first-order Gauss-Markov process: it forgets itself to 1/e in `memory` steps.

    The sum over its past ends after 6 memories, where less than 1e-5 of the variance is left out;
    before index 0 it has been going on for ever.
    """

    def __init__(self, key: tuple[int, ...], channels: int, memory: float) -> None:
        self._noise = WhiteNoise(key, channels)
        keep = math.exp(-1 / memory)
        self._reach = math.ceil(6 * memory)
        weights = math.sqrt(1 - keep * keep) * keep ** np.arange(self._reach)
        self._weights: Floats = np.asarray(weights[::-1], np.float64)

    def at(self, index: int) -> Floats:
        """(channels,), variance 1."""
        past = self._weights @ self._noise.at(index + 1, self._reach)
        return np.asarray(past, np.float64)
