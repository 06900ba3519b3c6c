"""Where messages enter fusion: each header to the core and the ledger, each body to its lane."""

from collections import Counter
from collections.abc import Callable

from fusion_rt.fusion.core import FusionCore, FusionSet
from fusion_rt.fusion.ego_motion import Twist
from fusion_rt.fusion.encoding import Item, SoundCollector
from fusion_rt.latency.frame import Frame
from fusion_rt.latency.ledger import Ledger
from fusion_rt.messages import AudioChunk, GpsFix, Message
from fusion_rt.model_file import ModelFile
from fusion_rt.transport.wire import Header

Open = Callable[[], Message | None]
"""The body of a message; None when it is lost or damaged."""
_UNREADABLE = "its data was lost on the way or is not valid"


class Intake:
    """Takes messages in, one after another, in the order in which they came."""

    def __init__(self, core: FusionCore, file: ModelFile, ledger: Ledger) -> None:
        self.counters: Counter[str] = Counter()
        self._core = core
        self._ledger = ledger
        self._streams = {stream.topic: stream for stream in core.plan.streams}
        self._sound: SoundCollector | None = None
        if file.audio is not None:
            recipe = file.audio.sound.recipe
            self._sound = SoundCollector(recipe.samples, recipe.rate_hz, recipe.channels)

    def take(
        self, header: Header, recv_ns: int, open_message: Open
    ) -> tuple[list[FusionSet], Item | None]:
        """The sets that are due, and what is to be encoded."""
        stream = self._streams[header.topic]
        frame = self._ledger.arrived(header, recv_ns)
        item = Item(topic=stream.topic, kind=stream.kind, stamp_ns=header.stamp_ns, frames=[frame])
        message = open_message()  # also what is not wanted: damage must show at the full rate
        problem = self._problem(message, frame)
        is_member = problem is None and self._core.is_wanted(header, stream.topic)
        if is_member:
            self._fill(item, message)
        sets = self._core.arrived(header, stream.topic, recv_ns, item, is_member=is_member)
        if isinstance(message, GpsFix):
            self._core.fix(message)
            frame.taken_ns = frame.ready_ns = recv_ns
        if problem is not None:
            self._refuse(item, frame, recv_ns, problem)
        elif is_member and self._core.is_frozen(stream.topic):
            item.fail("frozen")
            self._ledger.dropped(frame, "failed", "inbox", at_ns=recv_ns, cause="frozen")
        return sets, item if is_member and item.state == "waiting" else None

    def _problem(self, message: Message | None, frame: Frame) -> str | None:
        """What is wrong with a message, if anything is; sound is kept for the next window."""
        if message is None:
            return _UNREADABLE
        if not isinstance(message, AudioChunk):
            return None
        return self._sound.add(message, frame) if self._sound else "the model has no ear"

    def _fill(self, item: Item, message: Message | None) -> None:
        """Give the item what is to be encoded."""
        if item.kind == "gps":
            item.state = "ready"
        elif item.kind == "audio" and self._sound is not None:
            item.message, item.frames = self._sound.window(), self._sound.frames
            item.lasts_ns = self._sound.chunk_ns
            if item.message is None:
                item.fail("has just begun to listen")
        else:
            item.message = message
            item.twist = self._core.motion.twist(item.stamp_ns) or Twist()

    def _refuse(self, item: Item, frame: Frame, recv_ns: int, problem: str) -> None:
        self.counters[f"{item.topic} invalid"] += 1
        item.fail(problem)
        self._core.invalid(item.topic, recv_ns, problem)
        self._ledger.dropped(frame, "failed", "inbox", at_ns=recv_ns, cause=problem)
