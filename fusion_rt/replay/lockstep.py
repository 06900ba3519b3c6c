"""Lock step: a log through the fusion, one message after another, in one thread, on its own time.

No process and no waiting: what is decided depends on the log alone. Each message is taken when it
was received; before it, every deadline that lay between, at its own time.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from fusion_rt.fusion.core import FusionCore, FusionSet
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.messages import DetectionMember, Detections, GpsFix, Message
from fusion_rt.transport.inbox import Received
from fusion_rt.transport.wire import Header

Open = Callable[[], Message | None]
"""The body of a message; None when it is lost or not valid."""


class Fusion(Protocol):
    """What lock step drives: `fusion_rt.fusion.inline.InlineFusion`, or `DecisionsOnly`."""

    def arrived(self, header: Header, recv_ns: int, open_message: Open) -> list[Detections]:
        """A message has come; deadlines before it are served first, each at its own time."""
        ...

    def advance(self, now_ns: int) -> list[Detections]:
        """Time has passed until `now_ns`, and nothing came."""
        ...


def lockstep(messages: Iterable[Received], fusion: Fusion, end_ns: int) -> Iterator[Detections]:
    """The answers, in order, up to `end_ns`; a set that is open then stays without one, as nobody
    knows what would have come.
    """
    for received in messages:
        yield from fusion.arrived(received.header, received.recv_ns, _opener(received.message))
    yield from fusion.advance(end_ns)


def _opener(message: Message) -> Open:
    return lambda: message if message.problem() is None else None


class DecisionsOnly:
    """The fusion without its networks: which messages answer, and the rig's mode; no boxes."""

    def __init__(self, plan: FusionPlan, started_ns: int) -> None:
        self._core = FusionCore(plan, started_ns)

    def arrived(self, header: Header, recv_ns: int, open_message: Open) -> list[Detections]:
        answers = self.advance(recv_ns)
        topic, message = header.topic, open_message()
        if isinstance(message, GpsFix):
            self._core.fix(message)
        is_member = message is not None and self._is_member(header)
        token: Any = None  # nothing is encoded
        sets = self._core.arrived(header, topic, recv_ns, token, is_member=is_member)
        if message is None:
            self._core.invalid(topic, recv_ns, "its data is not valid")
        return answers + [decided(each) for each in sets]

    def advance(self, now_ns: int) -> list[Detections]:
        answers: list[Detections] = []
        last_ns = -1
        while (due_ns := self._core.next_deadline_ns()) is not None and last_ns < due_ns < now_ns:
            answers += [decided(each) for each in self._core.advance(due_ns)]
            last_ns = due_ns
        return answers + [decided(each) for each in self._core.advance(now_ns)]

    def _is_member(self, header: Header) -> bool:
        """Of sound, what begins a stride; of cameras also what would not be encoded."""
        topic = header.topic
        if not topic.startswith("audio/"):
            return True
        return self._core.begins_stride(topic, header.stamp_ns)


def decided(fusion_set: FusionSet) -> Detections:
    """The answer without a network: which messages, which mode, nothing detected."""
    members = tuple(
        DetectionMember(topic, "missing", absence)
        if (absence := fusion_set.absence(topic))
        else DetectionMember(topic, one.quality, "", one.stamp_ns, one.age_ns)
        for topic, one in fusion_set.frame_set.members.items()
    )
    return Detections(
        stamp_ns=fusion_set.time_ns,
        boxes=np.zeros((0, 9), np.float32),
        scores=np.zeros(0, np.float32),
        class_ids=np.zeros(0, np.uint8),
        mode=fusion_set.mode.mode,
        mode_reasons=fusion_set.mode.reasons,
        members=members,
    )
