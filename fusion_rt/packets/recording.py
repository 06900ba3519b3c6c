"""Plays a recording of packets at its pace, as if its device were there."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fusion_rt.clock import NS_PER_MS, NS_PER_S, Clock
from fusion_rt.drivers.port import READ_DEADLINE_NS
from fusion_rt.packets.bag import read_bag
from fusion_rt.packets.datagram import Datagram, RecordingError
from fusion_rt.packets.pcap import is_pcap, read_pcap
from fusion_rt.ros.storage import MCAP_MAGIC, SQLITE_MAGIC

ENDED = "recording_ended"
"""Counter of times that the end of the file was reached."""
REOPENED = "reconnects"
HELD_UP = "player_held_up"
"""Counter of times that the process fell too far behind the recording's pace."""

_MOST_BEHIND_NS = NS_PER_S
_LONGEST_PAUSE_NS = 600 * NS_PER_S
"""Recordings joined from several days go on without the nights between."""
_REPEAT_PAUSE_NS = 100 * NS_PER_MS


def read_recording(path: Path, topic: str | None, counters: Counter[str]) -> Iterator[Datagram]:
    """The packets of a pcap, pcapng, .db3 or .mcap file, or of a bag's folder.

    Raises RecordingError or OSError with the first packet asked for.
    """
    for file in _storage_files(path):
        with file.open("rb") as opened:
            start = opened.read(16)
        if is_pcap(start):
            yield from read_pcap(file)
        elif start.startswith((SQLITE_MAGIC, MCAP_MAGIC)):
            yield from read_bag(file, topic, counters)
        else:
            wanted = "expected pcap, pcapng, .db3 or .mcap"
            raise RecordingError(
                f"{file}: {wanted}, it starts {start[:4].hex(' ') or 'with nothing'}"
            )


def _storage_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".db3", ".mcap"))
    if not files:
        there = ", ".join(sorted(file.name for file in path.iterdir())) or "nothing"
        raise RecordingError(f"{path}: expected a bag with .db3 or .mcap files, it holds {there}")
    return files


def check_recording(path: Path, topic: str | None) -> None:
    """Raise RecordingError or OSError where there is nothing to play, and say what is there."""
    if not path.exists():
        there = ", ".join(sorted(file.name for file in path.parent.glob("*"))) or "nothing"
        raise RecordingError(f"{path}: expected a recording, {path.parent} holds {there}")
    if next(read_recording(path, topic, Counter()), None) is None:
        raise RecordingError(f"{path}: expected UDP packets, got none")


class Player:
    """Iterates over the packets of a file when they are due, their stamps moved to rig time.

    None at each read deadline. At the end it waits until the file is another one, or starts again
    when `repeat` is set.
    """

    def __init__(
        self,
        path: Path,
        topic: str | None,
        clock: Clock,
        counters: Counter[str],
        *,
        speed: float,
        repeat: bool,
    ) -> None:
        self._path = path
        self._topic = topic
        self._clock = clock
        self._counters = counters
        self._speed = speed
        self._repeat = repeat

    def __iter__(self) -> Iterator[Datagram | None]:
        while True:
            played = _identity(self._path)
            yield from self._played()
            self._counters[ENDED] += 1
            yield None
            if self._repeat:
                self._clock.sleep_until_ns(self._clock.now_ns() + _REPEAT_PAUSE_NS)
            while not self._repeat and _identity(self._path) in (played, None):
                self._clock.sleep_until_ns(self._clock.now_ns() + READ_DEADLINE_NS)
                yield None
            self._counters[REOPENED] += 1

    def _played(self) -> Iterator[Datagram | None]:
        try:
            packets = read_recording(self._path, self._topic, self._counters)
            yield from self._paced(packets)
        except (OSError, RecordingError):  # it was there at the start: replaced, or half written
            self._counters["unreadable_recordings"] += 1

    def _paced(self, packets: Iterator[Datagram]) -> Iterator[Datagram | None]:
        ahead_ns: int | None = None  # of rig time to recorded time
        due_ns = self._clock.now_ns()
        for packet in packets:
            recorded_ns = round(packet.stamp_ns / self._speed)
            if ahead_ns is None or recorded_ns + ahead_ns - due_ns > _LONGEST_PAUSE_NS:
                ahead_ns = due_ns - recorded_ns
            due_ns = max(due_ns, recorded_ns + ahead_ns)
            while due_ns - self._clock.now_ns() > READ_DEADLINE_NS:
                self._clock.sleep_until_ns(self._clock.now_ns() + READ_DEADLINE_NS)
                yield None
            self._clock.sleep_until_ns(due_ns)
            behind_ns = self._clock.now_ns() - due_ns
            if behind_ns > _MOST_BEHIND_NS:
                self._counters[HELD_UP] += 1
                ahead_ns += behind_ns
                due_ns += behind_ns
            yield packet._replace(stamp_ns=due_ns)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another one under its name; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
