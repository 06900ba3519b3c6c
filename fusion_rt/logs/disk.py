"""The file under a log's writer: whole records, and a way to ask for room when the disk is full."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from fusion_rt.errors import LogError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFile:
    """A new file that grows at its end. Unbuffered: what was written survives us."""

    def __init__(self, path: Path, make_room: Callable[[], bool] | None = None) -> None:
        """`make_room` is asked when the disk is full; it says whether it is worth trying again."""
        self.path = path
        self.size = 0
        self._make_room = make_room or (lambda: False)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            way_out = "name another file, or remove it"
            raise LogError(str(path), "expected a new file, it is there already", way_out) from None
        except OSError as error:
            raise LogError(str(path), f"cannot be written ({error.strerror})") from error

    def write(self, *pieces: bytes | bytearray | memoryview) -> None:
        """All of them, or none that a reader would take for a record; then raises LogError."""
        start, rest = self.size, [memoryview(piece) for piece in pieces]
        while rest:
            try:
                rest = _without(rest, os.writev(self._fd, rest))
            except OSError as error:
                if error.errno in _FULL and self._make_room():
                    continue
                os.ftruncate(self._fd, start)
                os.lseek(self._fd, start, os.SEEK_SET)
                raise LogError(str(self.path), f"cannot be written ({error.strerror})") from error
        self.size = start + sum(map(len, pieces))

    def sync(self) -> None:
        """Return once it would survive a power cut."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def _without(pieces: list[memoryview], count: int) -> list[memoryview]:
    """What is left of them after so many bytes."""
    left = []
    for piece in pieces:
        skipped = min(count, len(piece))
        count -= skipped
        if skipped < len(piece):
            left.append(piece[skipped:])
    return left
