"""Rig modes, at the consumer's end of transport: what is left of the rig, with hysteresis. Pure.

NORMAL: every stream is good. DEGRADED: camera and LiDAR both see, something else is amiss.
MINIMAL: one of camera and LiDAR is left. BLIND: neither is. A rig built without one of the two
does without it in every mode. Downwards at once, upwards after a dwell.
"""

from collections.abc import Mapping

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.liveness import Verdict, duration_text
from fusion_rt.messages import Mode

SIGHT_KINDS = ("camera", "lidar")
_FROM_WORST: tuple[Mode, ...] = ("BLIND", "MINIMAL", "DEGRADED", "NORMAL")
_GOOD = ("alive", "recovered")
_SEEING = ("alive", "recovered", "out_of_rate")


class ModeDecision(msgspec.Struct, frozen=True):
    """The mode, since when, and what keeps it from being NORMAL, one reason per stream."""

    mode: Mode
    since_ns: int
    reasons: tuple[str, ...] = ()


class ModeKeeper:
    """Follows the verdicts of a rig's streams; starts BLIND, as nothing has been seen yet."""

    def __init__(self, started_ns: int, *, dwell_ns: int = 2 * NS_PER_S) -> None:
        self.decision = ModeDecision("BLIND", started_ns, ("no stream has been checked yet",))
        self._dwell_ns = dwell_ns
        self._target: Mode = "BLIND"
        self._last_ns: dict[Mode, int] = {}
        """When the verdicts last called for each mode: until the dwell is over, it stands."""

    def update(self, verdicts: Mapping[str, Verdict], now_ns: int) -> ModeDecision:
        """The mode now, from the verdict of every sensor topic of the rig."""
        self._last_ns[self._target] = now_ns  # it held until this very moment
        self._target = mode_from_verdicts(verdicts)
        self._last_ns[self._target] = now_ns
        mode = next(m for m in _FROM_WORST if self._stands(m, now_ns))
        reasons = _reasons(verdicts)
        if mode != self._target:
            left_ns = self._last_ns[mode] + self._dwell_ns - now_ns
            reasons += (f"{self._target} in {duration_text(left_ns)} if nothing else fails",)
        since_ns = self.decision.since_ns if mode == self.decision.mode else now_ns
        self.decision = ModeDecision(mode, since_ns, reasons)
        return self.decision

    def next_deadline_ns(self) -> int | None:
        """When to update although no verdict changed; None when only a verdict can change it."""
        if self.decision.mode == self._target:
            return None
        return self._last_ns[self.decision.mode] + self._dwell_ns

    def _stands(self, mode: Mode, now_ns: int) -> bool:
        last_ns = self._last_ns.get(mode)
        if mode == self._target:
            return True
        return last_ns is not None and now_ns - last_ns < self._dwell_ns


def mode_from_verdicts(verdicts: Mapping[str, Verdict]) -> Mode:
    """What is left of the rig at this instant, without hysteresis."""
    sights = {kind for topic in verdicts if (kind := _kind(topic)) in SIGHT_KINDS}
    seeing = {_kind(t) for t, verdict in verdicts.items() if verdict.state in _SEEING} & sights
    if not seeing:
        return "BLIND"
    if seeing != sights:
        return "MINIMAL"
    return "NORMAL" if all(v.state in _GOOD for v in verdicts.values()) else "DEGRADED"


def _reasons(verdicts: Mapping[str, Verdict]) -> tuple[str, ...]:
    if not any(_kind(topic) in SIGHT_KINDS for topic in verdicts):
        return ("the rig has neither camera nor LiDAR",)
    return tuple(
        f"{topic} {verdict.state}: {verdict.reason}"
        for topic, verdict in sorted(verdicts.items())
        if verdict.state not in _GOOD
    )


def _kind(topic: str) -> str:
    return topic.split("/")[0]
