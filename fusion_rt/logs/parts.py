"""The files of a recording, one part after another: when a part ends, and what makes room.

A full disk ends the recording, or costs the oldest parts, as the rig says; never the recorder.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.errors import LogError
from fusion_rt.logs.disk import DiskFile
from fusion_rt.logs.options import RecordOptions
from fusion_rt.logs.rig import LoggedRig
from fusion_rt.logs.write import Encoded, LogWriter

_MB = 1_000_000
_SNAPSHOT_PARTS = 6
"""A snapshot is kept in so many pieces: it holds up to one of them more than asked for."""
_RETRY_NS = 5 * NS_PER_S
log = logging.getLogger(__name__)


class Parts:
    """Writes parts into a folder. Single-threaded."""

    def __init__(
        self,
        folder: Path,
        rig: LoggedRig,
        options: RecordOptions,
        clock: Clock,
        counters: Counter[str],
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """`counters` gets parts, and messages by fate: `recorded`, `disk_full`.

        Raises LogError where nothing can be written.
        """
        self.counters = counters
        self.written: Counter[str] = Counter()
        """Messages by topic."""
        self.lost: Counter[tuple[str, str]] = Counter()
        """Messages that came and were not written, by topic and cause."""
        self._rig = rig
        self._options = options
        self._clock = clock
        self._free_bytes = free_bytes
        self._run = f"{rig.name or 'log'}-{_utc(clock.now_ns())}"
        self._home = folder
        self._folder = folder if options.mode == "always" else folder / f".{self._run}.ring"
        self._part_ns = options.part_ns
        if options.mode == "snapshot":
            self._part_ns = min(options.part_ns, options.snapshot_ns // _SNAPSHOT_PARTS)
        self._number = 0
        self._log: LogWriter | None = None
        self._path = folder
        self._begun_ns = self._flushed_ns = self._retry_ns = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"expected a folder to record to ({error.strerror})"
            raise LogError(str(self._folder), problem, "name another as record.folder") from error

    @property
    def path(self) -> Path:
        """Of the part being written."""
        return self._path

    def write(self, one: Encoded) -> None:
        """One message; counted as `disk_full` while there is no room."""
        writer = self._writer()
        try:
            if writer is not None:
                writer.write_encoded(one)
                self.counters["recorded"] += 1
                self.written[one.header.topic] += 1
                return
        except LogError as error:
            self._give_up(error)
        self.lose(one, "disk_full")

    def lose(self, one: Encoded, cause: str) -> None:
        """Let a message go, in the books."""
        self.counters[cause] += 1
        self.lost[one.header.topic, cause] += 1

    def write_row(self, topic: str, row: msgspec.Struct, log_ns: int) -> None:
        """A struct of the recorder's own."""
        try:
            if self._log is not None:
                self._log.write_row(topic, row, log_ns)
        except LogError as error:
            self._give_up(error)

    def tick(self) -> None:
        """Flush when it is time, end the part when it is large or old enough."""
        now_ns = self._clock.now_ns()
        if self._log is None or now_ns < self._flushed_ns + self._options.flush_ns:
            return
        self._flushed_ns = now_ns
        try:
            (self._log.sync if self._options.fsync else self._log.flush)()
            is_old = now_ns >= self._begun_ns + self._part_ns
            if is_old or self._log.size >= self._options.part_mb * _MB:
                self._end_part()
        except LogError as error:
            self._give_up(error)
        self._keep_within_limits(now_ns)

    def save(self, reason: str) -> Path | None:
        """Keep what the snapshot ring holds, as a folder of parts; None where nothing was."""
        self.close()
        parts = self._ring()
        if not parts:
            return None
        name = f"{self._rig.name or 'log'}-{_utc(self._clock.now_ns())}-{reason}"
        target = _free_name(self._home / name)
        target.mkdir()
        for part in parts:
            part.rename(target / part.name)
        log.info("saved the last %g s to %s", self._options.snapshot_s, target)
        self.counters["snapshots"] += 1
        return target

    def close(self) -> None:
        """End the part; the next message begins another."""
        if self._log is not None:
            try:
                self._end_part()
            except LogError as error:
                self._give_up(error)

    def discard_ring(self) -> None:
        """At the end: what nobody asked to be saved."""
        if self._options.mode == "snapshot":
            shutil.rmtree(self._folder, ignore_errors=True)

    def _writer(self) -> LogWriter | None:
        if self._log is None and self._clock.now_ns() >= self._retry_ns:
            try:
                self._begin_part()
            except LogError as error:
                self._give_up(error)
        return self._log

    def _begin_part(self) -> None:
        now_ns = self._clock.now_ns()
        if not self._has_room():
            wanted = self._options.min_free_mb
            problem = f"expected {wanted} MB free on the disk, got {self._free() // _MB}"
            raise LogError(str(self._folder), problem, "make room, or lower record.min_free_mb")
        self._path = self._folder / f"{self._run}.{self._number:04}.mcap"
        self._log = LogWriter(
            DiskFile(self._path, self._drop_oldest),
            self._rig,
            compression=self._options.compression,
            notes={"run": self._run, "part": str(self._number)},
        )
        self._number += 1
        self.counters["parts"] += 1
        self._begun_ns = self._flushed_ns = now_ns

    def _end_part(self) -> None:
        if (writer := self._log) is not None:
            self._log = None
            writer.close()

    def _give_up(self, error: LogError) -> None:
        """What was written stays; try again later."""
        log.error("%s; what comes is not recorded", error)
        writer, self._log = self._log, None
        self._retry_ns = self._clock.now_ns() + _RETRY_NS
        if writer is not None:
            try:
                writer.close()
            except LogError:
                log.warning("%s is not finished; `fusion-rt recover` can", self._path)

    def _keep_within_limits(self, now_ns: int) -> None:
        if self._options.mode == "snapshot":
            for part in self._ring():
                if part.stat().st_mtime_ns < self._utc_ns(now_ns) - self._options.snapshot_ns:
                    part.unlink()
        keep = self._options.keep_mb
        while keep is not None and self._closed_bytes() > keep * _MB and self._remove_oldest():
            pass
        if not self._has_room():
            self.close()
            self._retry_ns = now_ns + _RETRY_NS

    def _utc_ns(self, rig_ns: int) -> int:
        """Files are stamped by the system's clock, which may have been set since the start."""
        return rig_ns + self._clock.utc_drift_ns()

    def _has_room(self) -> bool:
        while self._free() < self._options.min_free_mb * _MB:
            if not self._drop_oldest():
                return False
        return True

    def _free(self) -> int:
        return self._free_bytes(self._folder)

    def _drop_oldest(self) -> bool:
        return self._options.when_full == "drop_oldest" and self._remove_oldest()

    def _remove_oldest(self) -> bool:
        """Whether there was a closed part to remove."""
        closed = self._closed()
        if not closed:
            return False
        closed[0].unlink(missing_ok=True)
        self.counters["parts_removed"] += 1
        return True

    def _closed(self) -> list[Path]:
        """Of this rig, oldest first, those of earlier runs too."""
        parts = sorted(self._folder.glob(f"{self._rig.name or 'log'}-*.????.mcap"))
        return [part for part in parts if self._log is None or part != self._path]

    def _closed_bytes(self) -> int:
        return sum(part.stat().st_size for part in self._closed())

    def _ring(self) -> list[Path]:
        return self._closed() if self._options.mode == "snapshot" else []


def _utc(now_ns: int) -> str:
    """For the names of files: sorts by time."""
    return datetime.fromtimestamp(now_ns // NS_PER_S, timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
