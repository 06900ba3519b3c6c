"""The file under a log's writer: whole records, and a way to ask for room when the disk is full.

Where the file system allows it, blocks go to the disk past the page cache: handing raw pictures to
that costs more of a core than all else that recording does.
"""

import contextlib
import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from fusion_rt.errors import LogError

BLOCK_BYTES = 4096
"""What writes past the page cache come in, and begin at; no disk asks for more."""
_STAGE_BYTES = 4 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFile:
    """A new file that grows at its end. After a `flush`, all that was written survives us."""

    def __init__(self, path: Path, make_room: Callable[[], bool] | None = None) -> None:
        """`make_room` is asked when the disk is full; it says whether it is worth trying again."""
        self.path = path
        self.size = 0
        """Of all that was written, flushed or not."""
        self._make_room = make_room or (lambda: False)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            way_out = "name another file, or remove it"
            raise LogError(str(path), "expected a new file, it is there already", way_out) from None
        except OSError as error:
            raise LogError(str(path), f"cannot be written ({error.strerror})") from error
        self._direct_fd: int | None = None
        with contextlib.suppress(OSError):  # the file system knows only its page cache
            self._direct_fd = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        self._stage = memoryview(mmap.mmap(-1, _STAGE_BYTES))
        """What is not written yet, from `_staged_at` on, which is the begin of a block."""
        self._staged_at = 0

    def write(self, *pieces: bytes | bytearray | memoryview) -> None:
        """All of them, or none that a reader would take for a record; then raises LogError."""
        start = self.size
        try:
            for piece in pieces:
                self._add(memoryview(piece))
            self._spill()
        except OSError as error:
            self._cut_or_leave(start)
            raise self._refused(error) from error

    def flush(self) -> None:
        """Hand over the last block too, as far as it goes. Raises LogError."""
        held = self.size - self._staged_at
        try:
            self._put(self._fd, self._stage[:held], self._staged_at)
        except OSError as error:
            raise self._refused(error) from error

    def sync(self) -> None:
        """Return once all that was flushed would survive a power cut. Raises LogError."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Without a word about a last block that there was no room for: `flush` has one."""
        with contextlib.suppress(LogError):
            self.flush()
        os.close(self._fd)
        if self._direct_fd is not None:
            os.close(self._direct_fd)

    def _add(self, piece: memoryview) -> None:
        while piece:
            held = self.size - self._staged_at
            count = min(_STAGE_BYTES - held, len(piece))
            self._stage[held : held + count] = piece[:count]
            self.size += count
            piece = piece[count:]
            if held + count == _STAGE_BYTES:
                self._spill()

    def _spill(self) -> None:
        """Write the whole blocks of the stage, and keep the rest."""
        held = self.size - self._staged_at
        whole = held // BLOCK_BYTES * BLOCK_BYTES
        if not whole:
            return
        if self._direct_fd is not None and not self._put_directly(whole):
            os.close(self._direct_fd)
            self._direct_fd = None
        if self._direct_fd is None:
            self._put(self._fd, self._stage[:whole], self._staged_at)
        self._stage[: held - whole] = self._stage[whole:held]
        self._staged_at += whole

    def _put_directly(self, count: int) -> bool:
        """False where the file system took such a file, but not such a write."""
        assert self._direct_fd is not None
        try:
            self._put(self._direct_fd, self._stage[:count], self._staged_at)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        return True

    def _put(self, fd: int, data: memoryview, at: int) -> None:
        while data:
            try:
                count = os.pwrite(fd, data, at)
            except OSError as error:
                if error.errno in _FULL and self._make_room():
                    continue
                raise
            data, at = data[count:], at + count

    def _cut_or_leave(self, size: int) -> None:
        try:
            self._cut(size)
        except OSError:  # the disk is gone: what it has, it has
            self.size = self._staged_at = size

    def _cut(self, size: int) -> None:
        """Back to what the file was."""
        os.ftruncate(self._fd, min(size, os.fstat(self._fd).st_size))
        if size < self._staged_at:
            self._staged_at = size // BLOCK_BYTES * BLOCK_BYTES
            rest = os.pread(self._fd, size - self._staged_at, self._staged_at)
            self._stage[: len(rest)] = rest
        self.size = size

    def _refused(self, error: OSError) -> LogError:
        return LogError(str(self.path), f"cannot be written ({error.strerror})")
