"""Admission, before the lanes: which reference times are fused while there is no time for all.

Pure. An answer is worth having whole and fresh. A machine that is behind therefore fuses fewer of
them, not a part of each: all frames near one reference time, its slot, are encoded, or none of
them is, and the answer then is what the tracker predicts. The first frame of a slot decides it.

While all goes well every slot is admitted, also when the one before is still being worked on. Work
that takes longer than its patience shows that the machine is behind; for a while a slot is then
admitted only if nothing else is being worked on, so that each has the machine to itself.
"""

from collections import deque

from fusion_rt.clock import NS_PER_S

CAUTION_NS, MOST_CAUTION_NS = NS_PER_S, 16 * NS_PER_S
"""For so long after work took too long, one slot at a time; longer where it soon did so again."""
_REMEMBERED = 16
"""Slots: more than can be open at a time, those before the newest included."""


class Admission:
    """Decides slot by slot; the same questions get the same answers."""

    def __init__(self, patience_ns: int) -> None:
        """`patience_ns`: work that takes longer is overdue."""
        self._patience_ns = patience_ns
        self._decided: deque[tuple[int, bool]] = deque(maxlen=_REMEMBERED)
        self._caution_ns = CAUTION_NS
        self._cautious_until_ns = -MOST_CAUTION_NS

    @property
    def is_open(self) -> bool:
        """Whether the slot that was decided last is fused: what belongs to no slot goes with it."""
        return not self._decided or self._decided[-1][1]

    def admits(self, slot: int, now_ns: int, working_since_ns: int | None) -> bool:
        """Whether this slot is fused; once decided, it stays so.

        `working_since_ns`: when the oldest work that is not done was begun; None: all is done.
        """
        for known, is_admitted in self._decided:
            if known == slot:
                return is_admitted
        is_admitted = self._decide(now_ns, working_since_ns)
        self._decided.append((slot, is_admitted))
        return is_admitted

    def _decide(self, now_ns: int, working_since_ns: int | None) -> bool:
        if working_since_ns is None:
            return True
        if now_ns - working_since_ns > self._patience_ns:
            self._be_cautious(now_ns)
        return now_ns >= self._cautious_until_ns

    def _be_cautious(self, now_ns: int) -> None:
        careless_ns = now_ns - self._cautious_until_ns
        if careless_ns >= self._caution_ns:
            self._caution_ns = CAUTION_NS
        elif careless_ns >= 0:
            self._caution_ns = min(2 * self._caution_ns, MOST_CAUTION_NS)
        self._cautious_until_ns = now_ns + self._caution_ns
