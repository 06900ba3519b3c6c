"""What one sentence or frame of a receiver says of a solution, and what a whole epoch comes to.

Parsers fill in what their sentence carries and leave the rest at None; `fusion_rt.gnss.epoch`
merges the parts of one epoch.
"""

import msgspec

from fusion_rt.messages import FixKind


class Solution(msgspec.Struct, kw_only=True):
    """Knowledge of one solution; None where nobody said."""

    source: str
    """Which sentence or frame said it: `GPGGA`, `NAV-PVT`; of a merged one, the first."""
    arrival_ns: int = 0
    """Rig time at which its first byte was read."""
    epoch: int | None = None
    """What parts of one epoch have in common: time of day or GPS time of week, in ns."""
    is_solution: bool = True
    """False of parts that only add to a solution, and of an epoch that holds none."""
    is_end: bool = False
    """The receiver says that nothing more of this epoch follows."""
    is_history: bool = False
    """Out of the receiver's memory, not of now."""

    fix: FixKind | None = None
    dimensions: int | None = None
    """1: no fix, 2, 3."""
    rank: int = 0
    """Which position to take where several parts state one: the highest."""
    position_deg: tuple[float, float] | None = None
    """Latitude, longitude on WGS84."""
    altitude_m: float | None = None
    """Above the ellipsoid."""
    altitude_msl_m: float | None = None
    geoid_separation_m: float | None = None
    velocity_enu_mps: tuple[float, float, float] | None = None
    speed_mps: float | None = None
    """Over ground."""
    course_deg: float | None = None
    horizontal_accuracy_m: float | None = None
    vertical_accuracy_m: float | None = None
    hdop: float | None = None
    vdop: float | None = None
    satellites: int | None = None

    date: tuple[int, int, int] | None = None
    """Year, month, day of UTC."""
    time_of_day_ns: int | None = None
    """Of UTC; beyond 24 h within a leap second."""
    week: int | None = None
    """Of GPS, counted without rollover."""
    time_of_week_ns: int | None = None
    """Of GPS."""
    leap_s: int | None = None
    """GPS minus UTC as the receiver knows it from the satellites."""
    utc_ns: int | None = None
    """UTC since 1970 of the solution."""

    def merge(self, part: "Solution") -> None:
        """Add what `part` knows; where both speak, the part of higher rank is believed."""
        outranks = part.rank > self.rank
        for name in _MERGED:
            said = getattr(part, name)
            if said is not None and (outranks or getattr(self, name) is None):
                setattr(self, name, said)
        self.fix = _better_fix(self, part)
        self.rank = max(self.rank, part.rank)
        self.is_solution |= part.is_solution
        self.is_end |= part.is_end
        self.is_history |= part.is_history


_MERGED = tuple(
    name
    for name in Solution.__struct_fields__
    if name not in {"source", "arrival_ns", "is_solution", "is_end", "is_history", "fix", "rank"}
)

_WORST_TO_BEST: tuple[FixKind | None, ...] = (
    None,
    "none",
    "dead_reckoned",
    "2d",
    "3d",
    "dgps",
    "rtk_float",
    "rtk_fixed",
)


def _better_fix(one: Solution, other: Solution) -> FixKind | None:
    """Of the part of higher rank; of the best constellation where several speak alike.

    A receiver that warns of its dead reckoning (one sentence void, another not) has lost its way.
    """
    if {one.fix, other.fix} == {"none", "dead_reckoned"}:
        return "none"
    if one.rank != other.rank and None not in (one.fix, other.fix):
        return one.fix if one.rank > other.rank else other.fix
    return max(one.fix, other.fix, key=_WORST_TO_BEST.index)
