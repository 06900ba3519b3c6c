"""One UDP packet on its way from a recording or the network to a decoder."""

from typing import NamedTuple


class Datagram(NamedTuple):
    """A packet and when it was received."""

    stamp_ns: int
    """UTC in a recording, rig time from the network and from a player."""
    payload: bytes
    host: str = ""
    """Address of the sender; empty where a recording does not keep it."""
    port: int = 0
    """Where it was sent to; 0 where a recording does not keep it."""


class RecordingError(ValueError):
    """A file that is not the recording it should be; the sentence says what was expected."""
