"""The degradation matrix: which faults, of which sensors, and when in one run of the rig. Pure.

Every case has a slot of its own: healthy, then the fault, then healthy again; the rest of a slot is
long enough for modes to go up again, so that no case begins in the wake of another.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.faults import FUSE
from fusion_rt.topics import topic_kind

_LATE_BEYOND_MS = 100
_QUICK = ("silent", "late", "frozen", "corrupt", "flapping", "out of rate", "clock step", "killed")
_ALSO = ("garbage", "jitter", "half lost", "twice", "out of order", "drift")
SILENCING = ("silent", "killed", "flapping", "two silent")
"""Nothing comes: to be noticed from the last message that came; others from the first wrong one."""


class FaultCase(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the matrix."""

    fault: str
    sensors: tuple[str, ...]
    """Topics; or FUSE."""
    forms: tuple[str, ...]
    """Short forms (`fusion_rt.faults`) with the place for their window left open."""
    is_instant: bool = False
    """A kill: it has a time, not a window."""


class PlacedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case and its time, from the start of the run."""

    case: FaultCase
    start_ns: int
    end_ns: int
    """`start_ns` where the fault is over at once."""
    until_ns: int
    """End of its slot."""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """How a slot is divided."""

    fault_s: float = 4.0
    rest_s: float = 7.0
    """Modes go up 2 s after the last fault; GPS may be held for 1 s."""
    loops: int = 1
    """The played drive repeats so often in it: every fault meets the same piece of the drive."""

    @property
    def seconds(self) -> float:
        return self.fault_s + self.rest_s

    @property
    def loop_s(self) -> float:
        return self.seconds / self.loops


HEALTHY = FaultCase(fault="none", sensors=(), forms=())
"""What the others are held against."""
FUSE_KILLED = FaultCase(fault="killed", sensors=(FUSE,), forms=(f"{FUSE} kill",), is_instant=True)
QUICK_SLOT = Slot(fault_s=4.0, rest_s=6.5, loops=1)
FULL_SLOT = Slot(fault_s=8.0, rest_s=10.0, loops=2)


def cases_of(topics: Sequence[str], is_quick: bool) -> list[FaultCase]:
    """Nothing at all, every fault of every sensor, the fusion killed, then every pair of sensors
    silent at once.
    """
    names = _QUICK if is_quick else _QUICK + _ALSO
    single = [_case(name, topic) for name in names for topic in topics]
    return [HEALTHY, *single, FUSE_KILLED, *(_pair(*pair) for pair in combinations(topics, 2))]


def place(cases: Sequence[FaultCase], slot: Slot, first_s: float) -> list[PlacedCase]:
    """One after another, the first fault so long after the start of the run."""
    placed = []
    for number, case in enumerate(cases):
        start_ns = round((first_s + number * slot.seconds) * NS_PER_S)
        end_ns = start_ns if case.is_instant else start_ns + round(slot.fault_s * NS_PER_S)
        until_ns = start_ns + round(slot.seconds * NS_PER_S)
        placed.append(PlacedCase(case=case, start_ns=start_ns, end_ns=end_ns, until_ns=until_ns))
    return placed


def short_forms(placed: Sequence[PlacedCase]) -> Iterator[str]:
    """The schedule as `fusion_rt.faults` reads it."""
    for one in placed:
        a, b = (f"{ns // NS_PER_MS}ms" for ns in (one.start_ns, one.end_ns))
        window = f"at {a}" if one.case.is_instant else f"{a}..{b}"
        yield from (f"{form} {window}" for form in one.case.forms)


def _case(fault: str, topic: str) -> FaultCase:
    late_ms = topic_kind(topic).max_age_ns // NS_PER_MS + _LATE_BEYOND_MS
    forms = {
        "silent": "drop",
        "late": f"delay {late_ms}ms",
        "frozen": "freeze",
        "corrupt": "corrupt",
        "flapping": "flap 500ms",
        "out of rate": "rate 50%",
        "clock step": "clock +2s",
        "killed": "kill",
        "garbage": "garbage",
        "jitter": "jitter 60ms",
        "half lost": "drop 50%",
        "twice": "duplicate",
        "out of order": "reorder",
        "drift": "drift 500ppm",
    }
    form = f"{topic} {forms[fault]}"
    return FaultCase(fault=fault, sensors=(topic,), forms=(form,), is_instant=fault == "killed")


def _pair(one: str, other: str) -> FaultCase:
    forms = (f"{one} drop", f"{other} drop")
    return FaultCase(fault="two silent", sensors=(one, other), forms=forms)
