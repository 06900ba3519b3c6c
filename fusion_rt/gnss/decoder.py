"""Bytes of a receiver in, solutions out: what the serial and file drivers share."""

from collections import Counter

from fusion_rt.gnss.epoch import EpochAssembler
from fusion_rt.gnss.framing import Frame, Splitter
from fusion_rt.gnss.nmea import part_from_sentence
from fusion_rt.gnss.solution import Solution
from fusion_rt.gnss.ubx import part_from_frame

FRAMES = "frames"
"""Counter of NMEA sentences and UBX frames that arrived whole."""
TOLD_TWICE = "told_twice"
"""Counter of solutions left out because the receiver tells them in UBX as well as in NMEA."""

_NMEA_PATIENCE = 5  # NMEA solutions in a row without one in UBX, before NMEA is listened to


class GnssDecoder:
    """Of one receiver. UBX, being finer, silences NMEA where both tell of solutions."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._splitter = Splitter(counters)
        self._nmea = EpochAssembler(counters)
        self._ubx = EpochAssembler(counters)
        self._nmea_since_ubx = _NMEA_PATIENCE

    def feed(self, data: bytes, arrival_ns: int) -> list[Solution]:
        """The solutions that `data` completes."""
        return self._solutions(self._splitter.feed(data, arrival_ns))

    def pause(self) -> list[Solution]:
        """The solutions that a short pause completes; one amid a sentence completes nothing."""
        if self._splitter.is_waiting():
            return []
        return self._told(self._nmea.pause(), self._ubx.pause())

    def flush(self) -> list[Solution]:
        """The solutions that the end of the stream completes, or that it stopped for long."""
        solutions = self._solutions(self._splitter.flush())
        return solutions + self._told(self._nmea.end(), self._ubx.end())

    def _solutions(self, frames: list[Frame]) -> list[Solution]:
        solutions = []
        for frame in frames:
            self._counters[FRAMES] += 1
            is_nmea = frame.protocol == "nmea"
            part = (part_from_sentence if is_nmea else part_from_frame)(frame.body)
            if part is None:
                continue
            part.arrival_ns = frame.arrival_ns
            if is_nmea:
                solutions += self._told(self._nmea.add(part), [])
            else:
                solutions += self._told([], self._ubx.add(part))
        return solutions

    def _told(self, by_nmea: list[Solution], by_ubx: list[Solution]) -> list[Solution]:
        if by_ubx:
            self._nmea_since_ubx = 0
        self._nmea_since_ubx += len(by_nmea)
        if self._nmea_since_ubx > _NMEA_PATIENCE:
            return by_ubx + by_nmea
        self._counters[TOLD_TWICE] += len(by_nmea)
        return by_ubx
