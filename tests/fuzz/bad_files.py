"""Files that are no ring, for announcements that lie."""

import contextlib
import fcntl
import os
import random

from fusion_rt.transport.ring import RingGeometry


class BadFiles:
    """One of each kind, open."""

    def __init__(self) -> None:
        size = RingGeometry(8, 4096).size
        self._stack = contextlib.ExitStack()
        self._files = [
            self._open(os.open(os.devnull, os.O_RDONLY)),
            self._open(os.open("/", os.O_RDONLY)),
            *map(self._open, os.pipe()),
            self._memfd(size, 0),
            self._memfd(0, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW),
            self._memfd(size - 1, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW),
            self._memfd(size, fcntl.F_SEAL_GROW),
        ]

    def any(self, random: random.Random) -> int:
        return random.choice(self._files)

    def close(self) -> None:
        self._stack.close()

    def _memfd(self, size: int, seals: int) -> int:
        fd = self._open(os.memfd_create("bad", os.MFD_ALLOW_SEALING))
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        return fd

    def _open(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd
