"""A log's file holds exactly what was written, past the page cache or through it."""

import errno
import fcntl
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_rt.errors import LogError
from fusion_rt.logs.disk import BLOCK_BYTES, DiskFile

SIZES = (0, 1, 17, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 300_000, (4 << 20) + 5, 9_000_001)


def refuses_to_open(patch: pytest.MonkeyPatch) -> None:
    honest = os.open

    def opened(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no O_DIRECT here")
        return honest(path, flags, mode)

    patch.setattr(os, "open", opened)


def refuses_to_write(patch: pytest.MonkeyPatch) -> None:
    honest = os.pwrite

    def written(fd: int, data: memoryview, at: int) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "not so aligned")
        return honest(fd, data, at)

    patch.setattr(os, "pwrite", written)


class Disk:
    """Takes so many bytes, then is full."""

    def __init__(self, patch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._honest = os.pwrite
        patch.setattr(os, "pwrite", self._write)

    def _write(self, fd: int, data: memoryview, at: int) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "full")
        count = min(len(data), self.room)
        self.room -= count
        return self._honest(fd, data[:count], at)


@pytest.mark.parametrize("make_worse", [lambda _: None, refuses_to_open, refuses_to_write])
def test_every_byte_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_worse: Callable[..., None]
) -> None:
    make_worse(monkeypatch)
    rng, expected = random.Random(1), bytearray()
    file = DiskFile(tmp_path / "log")
    for _ in range(15):
        pieces = [rng.randbytes(rng.choice(SIZES)) for _ in range(rng.randrange(4))]
        file.write(*pieces)
        expected += b"".join(pieces)
        assert file.size == len(expected)
        if rng.random() < 0.5:
            file.flush()
            assert (tmp_path / "log").read_bytes() == expected
    file.close()
    assert (tmp_path / "log").read_bytes() == expected


def test_what_was_not_flushed_is_less_than_a_block(tmp_path: Path) -> None:
    file = DiskFile(tmp_path / "log")
    file.write(b"x" * 10_000)
    assert (tmp_path / "log").stat().st_size == 2 * BLOCK_BYTES
    file.close()


@pytest.mark.parametrize("before", [100, BLOCK_BYTES, 7 * BLOCK_BYTES + 9])
@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_record_that_did_not_fit_leaves_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, *, is_flushed: bool
) -> None:
    kept = random.Random(2).randbytes(before)
    file = DiskFile(tmp_path / "log")
    file.write(kept)
    if is_flushed:
        file.flush()
    disk = Disk(monkeypatch, 5 << 20)  # the record is spilled twice before there is no room
    with pytest.raises(LogError, match="cannot be written"):
        file.write(b"y" * 3_000_000, b"y" * 3_000_000)
    assert file.size == before
    disk.room = 1 << 30
    file.write(b"after")
    file.close()
    assert (tmp_path / "log").read_bytes() == kept + b"after"


def test_room_is_asked_for_until_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, asked = Disk(monkeypatch, 0), []

    def make_room() -> bool:
        asked.append(disk.room)
        disk.room = BLOCK_BYTES
        return len(asked) < 4

    file = DiskFile(tmp_path / "log", make_room)
    file.write(b"x" * 3 * BLOCK_BYTES)
    with pytest.raises(LogError, match="cannot be written"):
        file.write(b"y" * 3 * BLOCK_BYTES)
    file.close()
    assert (tmp_path / "log").read_bytes() == b"x" * 3 * BLOCK_BYTES
    assert len(asked) == 4


def test_a_last_block_that_finds_no_room_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DiskFile(tmp_path / "log")
    file.write(b"x")
    Disk(monkeypatch, 0)
    with pytest.raises(LogError, match="cannot be written"):
        file.flush()
    file.close()


def test_a_disk_that_is_gone_is_told_and_nothing_else_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DiskFile(tmp_path / "log")
    file.write(b"x" * 5000)
    file.flush()

    def gone(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        for name in ("pwrite", "pread", "ftruncate", "fsync"):
            patch.setattr(os, name, gone)
        with pytest.raises(LogError, match="Input/output error"):
            file.write(b"y" * 9000)
        with pytest.raises(LogError, match="Input/output error"):
            file.sync()
        file.close()
    assert (tmp_path / "log").read_bytes() == b"x" * 5000


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"mine")
    with pytest.raises(LogError, match="expected a new file"):
        DiskFile(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b"mine"
