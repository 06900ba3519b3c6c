"""Which reference a frame is near to, and which camera frames are worth encoding: the nearest."""

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.fusion.options import FusionPlan

_SLACK_NS = 4 * NS_PER_MS
"""Sensors jitter: a frame this much farther off than half a period may still be the nearest."""
_STEADY = 3
"""References in a row that came when expected make the next ones predictable."""


class WantedFrames:
    """Follows the references' stamps; equal stamps in equal order give equal answers."""

    def __init__(self, plan: FusionPlan) -> None:
        self._encode_all = plan.options.encode_all
        self._reference = plan.reference
        self._periods_ns = {stream.topic: stream.period_ns for stream in plan.streams}
        self._cameras = {stream.topic for stream in plan.streams if stream.kind == "camera"}
        tick_ns = round(NS_PER_S / plan.options.tick_hz)
        self.period_ns = self._periods_ns[plan.reference] if plan.reference else tick_ns
        """Of the references."""
        self._last_ns = self._last_slot = 0
        self._even = 0

    def heard(self, topic: str, stamp_ns: int) -> None:
        """A message of any stream has come."""
        if topic == self._reference:
            self._last_slot = self.slot(stamp_ns)
            off_ns = abs(stamp_ns - self._last_ns - self.period_ns)
            self._even = self._even + 1 if off_ns <= _SLACK_NS // 2 else 0
            self._last_ns = stamp_ns

    def slot(self, stamp_ns: int) -> int:
        """The reference it is nearest to, counted; before and after that has come."""
        ahead_ns = 2 * (stamp_ns - self._last_ns) + self.period_ns
        return self._last_slot + ahead_ns // (2 * self.period_ns)

    def wants(self, topic: str, stamp_ns: int) -> bool:
        """False for a camera frame so far from every reference to come that another is nearer."""
        if self._encode_all or topic not in self._cameras or topic == self._reference:
            return True
        if self._even < _STEADY or stamp_ns - self._last_ns > NS_PER_S:
            return True
        phase_ns = (stamp_ns - self._last_ns) % self.period_ns
        reach_ns = self._periods_ns[topic] // 2 + _SLACK_NS
        return min(phase_ns, self.period_ns - phase_ns) <= reach_ns
