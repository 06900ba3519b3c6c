"""Cuts a stream of LiDAR packets into turns, the first step from packets to a sweep.

Only a packet's last angle is looked at on arrival, so that receiving stays cheap; everything else
is decoded once a turn is complete.
"""

from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS

TURN = 36_000
"""One turn in the unit of azimuth that most makers use, hundredths of a degree."""

LONGEST_TURN_NS = 500 * NS_PER_MS
"""No LiDAR we know turns slower than 5 Hz; a motor that stands still must not pile up packets."""
LONGEST_GAP_NS = 200 * NS_PER_MS
"""What comes after such a silence belongs to another turn, whatever its angle."""
MOST_PACKETS = 4096
"""A VLS-128 with dual returns at 5 Hz sends 3750 packets a turn."""
_LEAST_TRAVEL = 500  # jitter of a motor that stands on the cut must not cut again and again

Ending = Literal["cut", "gap", "overlong", "end"]


class PacketFormat(Protocol):
    """What the cutter needs to know of a family's packets."""

    def angles(self, packet: bytes) -> list[int]:
        """Azimuth of each column of a checked packet, 0..35999, clockwise or not."""
        ...

    def last_angle(self, packet: bytes) -> int:
        """The last of `angles`, fast."""
        ...


class Turn(msgspec.Struct, frozen=True):
    """The packets of one turn; the outer two are shared with its neighbours when it was cut."""

    packets: list[bytes]
    recv_ns: list[int]
    """Rig time of each packet's receipt."""
    first_column: int
    """Columns of the first packet before this one belong to the turn before."""
    end_column: int | None
    """Columns of the last packet from this one on belong to the next turn; None: none do."""
    ending: Ending


def stacked(packets: list[bytes], layout: np.dtype[Any]) -> npt.NDArray[np.void]:
    """(packets,) of that structured type, a copy; packets may be longer than it."""
    size = layout.itemsize
    return np.frombuffer(b"".join([packet[:size] for packet in packets]), layout)


class TurnCutter:
    """Collects checked packets and hands out a turn whenever `cut_deg` is passed."""

    def __init__(self, form: PacketFormat, cut_deg: float = 0.0) -> None:
        self._form = form
        self._cut = round(cut_deg * 100) % TURN
        self._packets: list[bytes] = []
        self._recv_ns: list[int] = []
        self._first_column = 0
        self._angle: int | None = None
        self._travelled = 0

    def push(self, packet: bytes, recv_ns: int) -> Turn | None:
        """Take one packet; the turn it completes, if it does."""
        turn = None
        angle = (self._form.last_angle(packet) - self._cut) % TURN
        if self._packets and recv_ns - self._recv_ns[-1] > LONGEST_GAP_NS:
            turn = self._take(None, "gap")
        elif self._angle is not None:
            turn = self._after_step(packet, recv_ns, angle)
        if turn is None or turn.ending != "cut":
            self._append(packet, recv_ns)
        self._angle = angle
        return turn

    def flush(self) -> Turn | None:
        """What has been collected so far, when no more will come for a while."""
        turn = self._take(None, "end") if self._packets else None
        self._angle = None
        return turn

    def _after_step(self, packet: bytes, recv_ns: int, angle: int) -> Turn | None:
        step = signed(angle - self._angle) if self._angle is not None else 0
        if self._ends_turn(self._angle or 0, angle, step):
            return self._cut_inside(packet, recv_ns)
        self._travelled += step
        first_ns = self._recv_ns[0] if self._recv_ns else recv_ns
        if len(self._packets) >= MOST_PACKETS or recv_ns - first_ns > LONGEST_TURN_NS:
            return self._take(None, "overlong")
        return None

    def _ends_turn(self, before: int, after: int, step: int) -> bool:
        """Whether the cut was crossed, or the blind part of a limited field of view skipped."""
        if abs(self._travelled) <= _LEAST_TRAVEL:
            return False
        is_crossed = step != 0 and (step > 0) != (after > before)
        is_back = abs(step) > _LEAST_TRAVEL and (step > 0) != (self._travelled > 0)
        return is_crossed or is_back

    def _cut_inside(self, packet: bytes, recv_ns: int) -> Turn:
        """End the turn at the column of this packet that crosses the cut."""
        column = self._crossing(packet)
        if column == 0:
            turn = self._take(None, "cut")
        else:
            self._append(packet, recv_ns)
            turn = self._take(column, "cut")
        self._append(packet, recv_ns)
        self._first_column = column
        return turn

    def _crossing(self, packet: bytes) -> int:
        before = self._angle or 0
        for column, angle in enumerate(self._form.angles(packet)):
            after = (angle - self._cut) % TURN
            if self._ends_turn(before, after, signed(after - before)):
                return column
            before = after
        return 0

    def _append(self, packet: bytes, recv_ns: int) -> None:
        self._packets.append(packet)
        self._recv_ns.append(recv_ns)

    def _take(self, end_column: int | None, ending: Ending) -> Turn:
        turn = Turn(self._packets, self._recv_ns, self._first_column, end_column, ending)
        self._packets, self._recv_ns = [], []
        self._first_column, self._travelled = 0, 0
        return turn


def signed(difference: int) -> int:
    """A difference of two angles as the shorter way round, -18000..17999."""
    return (difference + TURN // 2) % TURN - TURN // 2
