"""Decides what is fused and when: headers and arrivals in, sets to fuse out. Pure.

No thread, socket, clock or network; the live node and lock-step replay drive the same door:

    core = FusionCore(plan, started_ns)
    for each arrival, in the order (recv_ns, topic, seq):
        while (due_ns := core.next_deadline_ns()) is not None and due_ns <= recv_ns:
            sets += core.advance(due_ns)
        is_member = is_readable and core.is_wanted(header, topic)
        sets += core.arrived(header, topic, recv_ns, token, is_member=is_member)
        core.fix(message)                     # the body of a GPS fix, after its header
        core.invalid(topic, recv_ns, reason)  # a body that could not be used, after its header

`token` comes back in the sets, as the payload of its member. Driven so, equal arrivals make equal
sets and modes, whatever the machine and however long the networks take. Live, `advance` is called
at the deadlines too, and between them as often as the loop comes round, which changes the moment at
which a stream is found to be late or silent by no more than the loop's own delay. What a set holds
follows from the headers alone; that a member's frame could not be encoded after all is said by who
encodes it.
"""

from collections import deque
from typing import Any

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.fusion.ego_motion import EgoMotion
from fusion_rt.fusion.options import AUDIO_STRIDE_NS, FusionPlan, StreamPlan
from fusion_rt.fusion.wanted import WantedFrames
from fusion_rt.liveness import ArrivedHeader, StreamMonitor, Verdict
from fusion_rt.messages import GpsFix
from fusion_rt.modes import ModeDecision, ModeKeeper
from fusion_rt.sync.frame_set import FrameSet, StreamSpec, Tick
from fusion_rt.sync.synchronizer import Synchronizer
from fusion_rt.topics import topic_kind

_CLOCK_OFF_NS = 100 * NS_PER_MS
_LEAST_STEP_NS = NS_PER_MS
_FROZEN_KEPT = 64
"""Stamps of frozen messages, per topic: more than wait in a set that is open."""
_LATE_STRIDES = 5
"""A chunk of sound this far back is late; one from farther back is of a clock that stepped."""


class FusionSet(msgspec.Struct, frozen=True, kw_only=True):
    """One reference time, what is to be fused for it, and how the rig is."""

    number: int
    """Counts the sets of this core from 0."""
    time_ns: int
    """The reference in rig time: its stamp, unless its clock is known to be off."""
    frame_set: FrameSet
    """Its members' payloads are the tokens."""
    mode: ModeDecision
    frozen: frozenset[str] = frozenset()
    """Topics whose member repeats those before it: what it shows is not the world of its stamp."""

    def absence(self, topic: str) -> str:
        """Why there is nothing to fuse of a topic, as far as headers tell; empty where there is."""
        return "frozen" if topic in self.frozen else self.frame_set.members[topic].reason

    def member_ns(self, topic: str) -> int | None:
        """When the member was measured, clocks corrected; None when it is missing."""
        error_ns = self.frame_set.members[topic].error_ns
        return None if error_ns is None else self.time_ns + error_ns


class FusionCore:
    """See the module's docstring."""

    def __init__(
        self,
        plan: FusionPlan,
        started_ns: int,
        antenna_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """`antenna_m`: where the GPS antenna sits in `base`."""
        self.plan = plan
        self.motion = EgoMotion(antenna_m)
        self.monitors = {
            stream.topic: StreamMonitor(
                stream.topic,
                stream.rate_hz,
                topic_kind(stream.topic).max_age_ns,
                started_ns,
                device=stream.device,
            )
            for stream in plan.streams
        }
        self._streams = {stream.topic: stream for stream in plan.streams}
        reference = plan.reference if plan.reference else Tick(plan.options.tick_hz)
        self.sync = Synchronizer(
            [_spec(stream) for stream in plan.streams], reference, max_wait_ns=plan.max_wait_ns
        )
        self._modes = ModeKeeper(started_ns)
        self._wanted = WantedFrames(plan)
        self._gps = plan.topic_of("gps")
        self._strides: dict[str, int] = {}
        self._frozen: dict[str, deque[int]] = {
            stream.topic: deque(maxlen=_FROZEN_KEPT)
            for stream in plan.streams
            if stream.kind != "gps"  # its fix is held, and its age told
        }
        self._number = self._time_ns = 0

    @property
    def reference_period_ns(self) -> int:
        return self._wanted.period_ns

    @property
    def mode(self) -> ModeDecision:
        return self._modes.decision

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What is thought of every stream."""
        return {topic: monitor.verdict for topic, monitor in self.monitors.items()}

    def is_frozen(self, topic: str) -> bool:
        """Whether messages repeat each other, as of the last one: not worth encoding."""
        return topic in self._frozen and self.monitors[topic].is_frozen

    def slot(self, stamp_ns: int) -> int:
        """Which reference time, counted, this time is nearest to, as far as it can be foreseen."""
        return self._wanted.slot(stamp_ns)

    def is_wanted(self, header: ArrivedHeader, topic: str) -> bool:
        """Whether a message that has just come is worth encoding; ask once, before `arrived`.

        Sound is encoded once in every stride; a camera frame unless it lies so far from every
        reference to be expected that another one will be nearer.
        """
        if self._streams[topic].kind == "audio":
            return self.begins_stride(topic, header.stamp_ns)
        return self._wanted.wants(topic, header.stamp_ns)

    def arrived(
        self, header: ArrivedHeader, topic: str, recv_ns: int, token: Any, *, is_member: bool = True
    ) -> list[FusionSet]:
        """A message has come; the sets that are due by then, or because of it.

        `is_member` False: it is not wanted, or of no use; it only shows that the stream lives.
        """
        self.monitors[topic].observe(header, recv_ns)
        if self.is_frozen(topic):
            self._frozen[topic].append(header.stamp_ns)
        if not is_member:
            return self._sets(self.sync.advance(recv_ns), recv_ns)
        self._wanted.heard(topic, header.stamp_ns)
        return self._sets(self.sync.push(topic, header.stamp_ns, token, recv_ns), recv_ns)

    def fix(self, fix: GpsFix) -> None:
        """The body of a GPS fix."""
        self.motion.add(fix)

    def invalid(self, topic: str, recv_ns: int, reason: str) -> None:
        """A message whose body is lost, damaged, or failed to be encoded."""
        self.monitors[topic].invalid(recv_ns, reason)

    def advance(self, now_ns: int, *, inbox_drained: bool = True) -> list[FusionSet]:
        """Time has passed, and all that had come by then was pushed; the sets that are due."""
        self._judge(now_ns, inbox_drained=inbox_drained)
        return self._sets(self.sync.advance(now_ns), now_ns)

    def next_deadline_ns(self) -> int | None:
        """When `advance` must be called if nothing arrives before; None: not at all."""
        deadlines = [self.sync.next_deadline_ns(), self._modes.next_deadline_ns()]
        deadlines += [monitor.next_deadline_ns() for monitor in self.monitors.values()]
        return min((due for due in deadlines if due is not None), default=None)

    def _sets(self, closed: list[FrameSet], now_ns: int) -> list[FusionSet]:
        if not closed:
            return []
        self._judge(now_ns, inbox_drained=False)
        return [self._set(frame_set) for frame_set in closed]

    def _set(self, frame_set: FrameSet) -> FusionSet:
        number, self._number = self._number, self._number + 1
        time_ns = self._time_ns = self._onwards(_rig_time_ns(frame_set))
        self._follow_receiver_clock(frame_set, time_ns)
        members = frame_set.members
        return FusionSet(
            number=number,
            time_ns=time_ns,
            frame_set=frame_set,
            mode=self.mode,
            frozen=frozenset(t for t, kept in self._frozen.items() if members[t].stamp_ns in kept),
        )

    def _onwards(self, time_ns: int) -> int:
        """Answers go on in time, also where what is thought of a clock goes to and fro."""
        is_back = 0 <= self._time_ns - time_ns < self.reference_period_ns
        return self._time_ns + _LEAST_STEP_NS if is_back else time_ns

    def _judge(self, now_ns: int, *, inbox_drained: bool) -> None:
        for monitor in self.monitors.values():
            monitor.check(now_ns, inbox_drained=inbox_drained)
        self._modes.update(self.verdicts, now_ns)

    def _follow_receiver_clock(self, frame_set: FrameSet, time_ns: int) -> None:
        member = frame_set.members.get(self._gps) if self._gps else None
        if member is None or member.stamp_ns is None or member.error_ns is None:
            return
        shift_ns = time_ns + member.error_ns - member.stamp_ns
        self.motion.shift_ns = shift_ns if abs(shift_ns) > _CLOCK_OFF_NS else 0

    def begins_stride(self, topic: str, stamp_ns: int) -> bool:
        """Whether a chunk of sound is the first of its stride; once per chunk."""
        stride = stamp_ns // AUDIO_STRIDE_NS
        newest = self._strides.get(topic, -1)
        if newest - _LATE_STRIDES <= stride <= newest:
            return False
        self._strides[topic] = stride
        return True


def _spec(stream: StreamPlan) -> StreamSpec:
    rate_hz = stream.rate_hz
    if stream.kind == "audio":
        rate_hz = min(rate_hz, NS_PER_S / AUDIO_STRIDE_NS)
    max_age_ns = topic_kind(stream.topic).max_age_ns
    return StreamSpec(
        stream.topic, rate_hz, stream.tolerance_ns, mode=stream.match, max_age_ns=max_age_ns
    )


def _rig_time_ns(frame_set: FrameSet) -> int:
    """The reference's time, clocks corrected where that makes a difference that matters."""
    for member in frame_set.members.values():
        if member.age_ns is not None and member.error_ns is not None:
            time_ns = frame_set.closed_ns - member.age_ns - member.error_ns
            return time_ns if _is_off(time_ns, frame_set) else frame_set.reference_ns
    return frame_set.reference_ns


def _is_off(time_ns: int, frame_set: FrameSet) -> bool:
    return abs(time_ns - frame_set.reference_ns) > _CLOCK_OFF_NS
