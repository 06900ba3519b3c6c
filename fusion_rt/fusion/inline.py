"""The whole fusion in one thread: what lock-step replay, evaluation on logs and tests drive.

Encoders run as their messages come, as if they took no time. Equal messages in equal order give
equal sets, modes and members; see `fusion_rt.fusion.core` for the order.
"""

from fusion_rt.fusion.core import FusionCore, FusionSet
from fusion_rt.fusion.encoding import Encoders
from fusion_rt.fusion.fuser import Fuser
from fusion_rt.fusion.intake import Intake, Open
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.fusion.shelf import Shelf, choose, used_frames
from fusion_rt.latency.ledger import Ledger, answer_times
from fusion_rt.messages import Detections
from fusion_rt.perception import Perception
from fusion_rt.transport.wire import Header


class InlineFusion:
    """Headers and bodies in, answers out; time passes only by what is told."""

    def __init__(
        self,
        plan: FusionPlan,
        perception: Perception,
        started_ns: int,
        antenna_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
        ledger: Ledger | None = None,
    ) -> None:
        self.core = FusionCore(plan, started_ns, antenna_m)
        self.ledger = ledger or Ledger(tolerances_of(plan))
        self.intake = Intake(self.core, perception.model.file, self.ledger)
        self._encoders = Encoders(perception)
        self._fuser = Fuser(plan, perception)
        self._shelf = Shelf(plan)

    def arrived(self, header: Header, recv_ns: int, open_message: Open) -> list[Detections]:
        """A message has come; deadlines before it are served first, each at its own time."""
        answers = self.advance(recv_ns)
        sets, item = self.intake.take(header, recv_ns, open_message)
        if item is not None:
            self._encoders.encode(item)
            if item.state == "ready":
                self._shelf.put(item)
            else:
                self.core.invalid(item.topic, recv_ns, item.reason)
            for frame in item.frames:
                frame.taken_ns = frame.taken_ns or recv_ns
                frame.ready_ns = frame.ready_ns or recv_ns
        return answers + [self._answer(each) for each in sets]

    def advance(self, now_ns: int) -> list[Detections]:
        """Time has passed until `now_ns`, and nothing came."""
        answers: list[Detections] = []
        last_ns = -1
        while (due_ns := self.core.next_deadline_ns()) is not None and last_ns < due_ns < now_ns:
            answers += [self._answer(each) for each in self.core.advance(due_ns)]
            last_ns = due_ns
        return answers + [self._answer(each) for each in self.core.advance(now_ns)]

    def _answer(self, fusion_set: FusionSet) -> Detections:
        items, reasons = choose(fusion_set, self._shelf)
        answer = self._fuser.answer(fusion_set, items, reasons, self.core.motion)
        closed_ns = fusion_set.frame_set.closed_ns
        times = answer_times(
            fusion_set.frame_set,
            started_ns=closed_ns,
            fused_ns=closed_ns,
            published_ns=closed_ns,
            mode=answer.mode,
            boxes=len(answer.boxes),
            failure=answer.failure,
        )
        self.ledger.answered(
            times,
            used_frames(fusion_set, items),
            {member.topic: member.reason for member in answer.members if member.reason},
        )
        return answer


def tolerances_of(plan: FusionPlan) -> dict[str, int]:
    """As the ledger wants them: what is taken as it is at hand is never late."""
    return {
        stream.topic: 0 if stream.match == "at_hand" else stream.tolerance_ns
        for stream in plan.streams
    }
