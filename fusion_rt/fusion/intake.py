"""Where messages enter fusion: each header to the core and the ledger, each body to its lane."""

from collections import Counter
from collections.abc import Callable

from fusion_rt.fusion.core import FusionCore, FusionSet
from fusion_rt.fusion.ego_motion import Twist
from fusion_rt.fusion.encoding import Item, SoundCollector
from fusion_rt.latency.ledger import Frame, Ledger
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
        if self._core.is_wanted(header, stream.topic) or stream.kind == "audio":
            problem = self._fill(item, frame, recv_ns, open_message)
        else:
            item.state, problem = "spared", None
            item.reason = "too far from any reference that was expected"
        if problem is not None:
            self._refuse(item, frame, recv_ns, problem)
        is_member = problem is None and (item.kind == "gps" or item.state != "failed")
        sets = self._core.arrived(
            header, stream.topic, recv_ns, item, is_member=is_member and item.message is not _PART
        )
        is_for_lane = item.state == "waiting" and item.message is not _PART
        return sets, item if is_for_lane else None

    def _fill(self, item: Item, frame: Frame, recv_ns: int, open_message: Open) -> str | None:
        """Give the item what is to be encoded; what is wrong with it, if anything is."""
        message = open_message()
        if message is None:
            return _UNREADABLE
        if isinstance(message, GpsFix):
            self._core.fix(message)
            item.state, frame.taken_ns, frame.ready_ns = "ready", recv_ns, recv_ns
            return None
        if isinstance(message, AudioChunk):
            return self._listen(item, message, frame)
        item.message = message
        item.twist = self._core.motion.twist(item.stamp_ns) or Twist()
        return None

    def _listen(self, item: Item, chunk: AudioChunk, frame: Frame) -> str | None:
        if self._sound is None:
            return "the model has no ear"
        if problem := self._sound.add(chunk, frame):
            return problem
        if not self._core.begins_stride(item.topic, item.stamp_ns):
            item.message = _PART
            return None
        item.message, item.frames = self._sound.window(), self._sound.frames
        item.lasts_ns = self._sound.chunk_ns
        if item.message is None:  # just begun to listen
            item.message = _PART
        return None

    def _refuse(self, item: Item, frame: Frame, recv_ns: int, problem: str) -> None:
        self.counters[f"{item.topic} invalid"] += 1
        item.fail(problem)
        self._core.invalid(item.topic, recv_ns, problem)
        self._ledger.dropped(frame, "failed", "inbox", at_ns=recv_ns, cause=problem)


_PART = object()
"""Stands for sound that is kept, but begins no window of its own."""
