"""Keeps the ledger's rows on disk, outside the loop that fuses, and reads them again.

A folder per run: `run.json` says what the rows belong to, `rows.bin` holds them, each as its length
(4 bytes, little-endian) and a msgpack array. A process that is killed loses at most its last rows;
a torn one at the end is left out, and cut off by the process that goes on with the same run. A file
that has grown to half of what may be kept becomes `rows.old.bin` in place of the one before.
"""

import os
import struct
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from fusion_rt.errors import RecordingError
from fusion_rt.latency.rows import AlarmRow, AnswerRow, AnyRow, FrameRow, RunInfo

INFO_FILE, ROWS_FILE, OLD_FILE = "run.json", "rows.bin", "rows.old.bin"
MAX_WAITING = 65_536
"""Rows between the loop and the disk; a disk that stalls for minutes costs rows, which are told."""
_PERIOD_S = 0.1
_LENGTH = struct.Struct("<I")
_MAX_ROW_BYTES = 1 << 20
_TAIL_ROWS = 1024
"""Seconds' worth: the last answer is among them, unless there was none for so long."""


class RowWriter:
    """Writes rows in a thread of its own. `put` never waits; close it, or use it in a `with`."""

    def __init__(self, folder: Path, info: RunInfo, keep_bytes: int = 256 << 20) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.unwritten = 0
        """Rows that found no room, or no disk to go to: the ledger's counts still hold them."""
        self.problem = ""
        """Why the disk takes no more; empty while it does."""
        self._half_bytes = keep_bytes // 2
        self._waiting: deque[AnyRow] = deque()
        self._encoder = msgspec.msgpack.Encoder()
        self._stop = threading.Event()
        self.next_answer = 0
        """Number of the first answer that is not in the folder yet."""
        if _is_same_run(folder, info):
            both = (_cut_torn_end(folder / name) for name in (ROWS_FILE, OLD_FILE))
            self.next_answer = next(filter(None, both), 0)
        else:
            for name in (ROWS_FILE, OLD_FILE):
                (folder / name).unlink(missing_ok=True)
        (folder / INFO_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(info)) + b"\n")
        self._file: IO[bytes] = (folder / ROWS_FILE).open("ab")
        self._thread = threading.Thread(target=self._run, name="ledger rows", daemon=True)
        self._thread.start()

    def put(self, row: AnyRow) -> None:
        """Hand over a row; from any thread."""
        if len(self._waiting) >= MAX_WAITING:
            self.unwritten += 1
        else:
            self._waiting.append(row)

    def close(self) -> None:
        """Write what waits, and end."""
        self._stop.set()
        self._thread.join()
        self._file.close()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        count = len(self._waiting)
        if not count:
            return
        encoded = [self._encoder.encode(self._waiting.popleft()) for _ in range(count)]
        data = b"".join(_LENGTH.pack(len(row)) + row for row in encoded)
        try:
            self._file.write(data)
            self._file.flush()
            if self._file.tell() >= self._half_bytes:
                self._turn_over()
        except OSError as error:  # a full disk must not end the fusion
            self.unwritten += count
            self.problem = str(error)

    def _turn_over(self) -> None:
        self._file.close()
        (self.folder / ROWS_FILE).replace(self.folder / OLD_FILE)
        self._file = (self.folder / ROWS_FILE).open("wb")


def _is_same_run(folder: Path, info: RunInfo) -> bool:
    """Whether the folder holds rows of the same run, of a process before."""
    try:
        before = read_info(folder)
    except RecordingError:
        return False
    return before.started_ns == info.started_ns and (folder / ROWS_FILE).exists()


def _cut_torn_end(path: Path) -> int:
    """Leave whole rows only; the number behind the last answer that is told of in their end."""
    if not path.exists():
        return 0
    data = path.read_bytes()  # at most half of what may be kept; row by row it takes seconds
    last: deque[memoryview] = deque(maxlen=_TAIL_ROWS)
    at, end = 0, len(data)
    while at + _LENGTH.size <= end:
        behind = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if behind > end:
            break
        last.append(memoryview(data)[at + _LENGTH.size : behind])
        at = behind
    os.truncate(path, at)
    return 1 + max((_answer_of(row) for row in last), default=-1)


def _answer_of(data: memoryview) -> int:
    """The answer that a row tells of; -1 for none, also for a row that is damaged."""
    try:
        row: AnyRow = msgspec.msgpack.decode(data, type=AnyRow)
    except (msgspec.MsgspecError, ValueError):
        return -1
    if isinstance(row, AnswerRow):
        return row.number
    return row.answer if isinstance(row, FrameRow | AlarmRow) else -1


def read_info(folder: Path) -> RunInfo:
    """What the run was."""
    try:
        return msgspec.json.decode((folder / INFO_FILE).read_bytes(), type=RunInfo)
    except FileNotFoundError:
        way_out = "name the folder that a rig's latency rows were written to"
        raise RecordingError(str(folder), f"expected {INFO_FILE}, found none", way_out) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecordingError(str(folder), f"{INFO_FILE} is damaged ({error})") from error


def read_rows(folder: Path) -> Iterator[AnyRow]:
    """Every row that is whole, in the order they were written."""
    for name in (OLD_FILE, ROWS_FILE):
        path = folder / name
        if path.exists():
            yield from _rows_of(path)


def _rows_of(path: Path) -> Iterator[AnyRow]:
    decoder = msgspec.msgpack.Decoder(AnyRow)
    with path.open("rb") as file:
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(head)
            if length > _MAX_ROW_BYTES:
                raise RecordingError(str(path), f"expected a row, got one of {length} bytes")
            data = file.read(length)
            if len(data) < length:  # torn: the writer was killed
                return
            try:
                row: AnyRow = decoder.decode(data)
            except (msgspec.MsgspecError, ValueError) as error:
                raise RecordingError(str(path), f"a row is damaged ({error})") from error
            yield row
