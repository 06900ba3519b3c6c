"""Receives the packets of a network camera in a thread of its own, stamped as they come.

Connecting and reading may block for seconds, decoding for tens of milliseconds: neither keeps the
driver from its read deadlines, and decoding moves no stamp.
"""

import logging
import re
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from fusion_rt.camera.video import DECODER_OPTIONS, own_decoder
from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.drivers.port import READ_DEADLINE_NS, from_extra
from fusion_rt.reconnect import RECONNECTS

with from_extra("sensors"):
    import av

if TYPE_CHECKING:
    from av.packet import Packet as AnyPacket
    from av.video.codeccontext import VideoCodecContext

    Packet = AnyPacket[Any]

BACKLOG = "backlog_dropped"
"""Counter of packets that came while too many others waited to be decoded."""

_MOST_WAITING = 64  # packets, as many pictures: two seconds of a usual camera
_OPEN_S, _SILENCE_S = 5.0, 3.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_PASSWORD = re.compile(r"(?<=://)[^/@]+@")

log = logging.getLogger(__name__)


class Connected(NamedTuple):
    """The camera answered: what follows is for this decoder."""

    context: "VideoCodecContext"


class Arrived(NamedTuple):
    """One packet, of one picture."""

    packet: "Packet"
    recv_ns: int
    is_late: bool
    """Whether many newer ones waited when it was taken."""


_LATE = 4  # packets waiting: more than a burst of the network


class NetworkCamera:
    """One camera's thread; what comes is handed out by `arrivals`."""

    def __init__(
        self, url: str, options: Mapping[str, str], clock: Clock, counters: Counter[str]
    ) -> None:
        self._url = url
        self._options = {**DECODER_OPTIONS, **options}
        self._clock = clock
        self._counters = counters
        self._waiting: deque[Connected | Arrived] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._waits_for_key = False
        self._told = ""

    def arrivals(self, thread: threading.Thread) -> Iterator[Connected | Arrived | None]:
        """In order, None at each read deadline without, for as long as the thread lives."""
        while thread.is_alive():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting, READ_DEADLINE_NS / NS_PER_S)
                one = self._waiting.popleft() if self._waiting else None
                is_late = len(self._waiting) > _LATE
            yield one._replace(is_late=is_late) if isinstance(one, Arrived) else one
        raise RuntimeError("the receiving thread ended; its traceback stands above")

    def stop(self) -> None:
        """A read that hangs ends by itself in seconds; nobody waits for it."""
        self._stop.set()

    def run(self) -> None:
        """Connect, read, and connect again, until told to stop."""
        pause_s, was_connected = _FIRST_PAUSE_S, False
        while not self._stop.is_set():
            try:
                for is_first in self._read():
                    self._counters[RECONNECTS] += is_first and was_connected
                    pause_s, was_connected, self._told = _FIRST_PAUSE_S, True, ""
                reason = "the stream ended"
            except (av.FFmpegError, ValueError) as error:
                reason = _reason(error)
            self._tell(reason)
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _read(self) -> Iterator[bool]:
        """Once per packet, whether it is the connection's first."""
        limits = (_OPEN_S, _SILENCE_S)
        with av.open(self._url, options=self._options, timeout=limits) as container:
            if not container.streams.video:
                raise ValueError("it has no video")
            stream = container.streams.video[0]
            self._put(Connected(own_decoder(stream)))
            is_first = True
            for packet in container.demux(stream):
                recv_ns = self._clock.now_ns()
                if self._stop.is_set():
                    return
                if packet.size:
                    self._take(Arrived(packet, recv_ns, is_late=False))
                    yield is_first
                    is_first = False

    def _take(self, arrived: Arrived) -> None:
        """What cannot be held is dropped up to a picture that stands for itself."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waits_for_key = True
        elif arrived.packet.is_keyframe:
            self._waits_for_key = False
        if self._waits_for_key:
            self._counters[BACKLOG] += 1
        else:
            self._put(arrived)

    def _put(self, one: Connected | Arrived) -> None:
        with self._changed:
            self._waiting.append(one)
            self._changed.notify()

    def _tell(self, reason: str) -> None:
        if reason != self._told and not self._stop.is_set():
            log.warning("camera %s: %s; trying again", shown(self._url), reason)
            self._told = reason


@contextmanager
def connected(camera: NetworkCamera) -> Iterator[Iterator[Connected | Arrived | None]]:
    """The camera's thread at work."""
    thread = threading.Thread(target=camera.run, name="network camera", daemon=True)
    thread.start()
    try:
        yield camera.arrivals(thread)
    finally:
        camera.stop()
        thread.join(READ_DEADLINE_NS / NS_PER_S)


def shown(url: str) -> str:
    """An address as logs may show it."""
    return _PASSWORD.sub("", url)


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return f"silent for {_SILENCE_S:g} s"
    return getattr(error, "strerror", None) or str(error)
