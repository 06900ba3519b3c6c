"""`bench faults`: one run of a rig through all cases, watched from outside as a consumer would."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import yaml

from fusion_rt.bench.fault_cases import PlacedCase, short_forms
from fusion_rt.bench.fault_score import AnswerSeen, Seen, StateSeen, states_of
from fusion_rt.bench.latency_run import expect_fusion
from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.bench.rig_run import RigRun, log_end, running
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import BenchError
from fusion_rt.faults import FaultFile
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.latency.row_file import read_rows
from fusion_rt.latency.rows import FrameRow
from fusion_rt.messages import Detections, Health
from fusion_rt.rig import Rig
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.subscriber import Subscriber

_PATIENCE_NS = 200 * NS_PER_MS


def watch_faults(
    rig: Rig,
    placed: Sequence[PlacedCase],
    folder: Path,
    loop_s: float,
    say: Callable[[str], None],
) -> Seen:
    """Run the rig through the cases; simulated sensors are played from memory, in a loop."""
    expect_fusion(rig)
    files = prerender(rig, folder, loop_s, lambda topic: say(f"rendering {topic}"))
    path = write_rig(played_tree(rig, files), folder / "rig.yaml")
    schedule = folder / "faults.yaml"
    faults = FaultFile(faults=list(short_forms(placed)))
    schedule.write_text(yaml.safe_dump(msgspec.to_builtins(faults)))
    with running(path, folder, ["--faults", str(schedule)]) as rig_run:
        answers, states = _listen(rig_run, placed, say)
    if not answers:
        raise BenchError("the rig gave no answers", log_end(folder))
    return Seen(
        start_ns=rig_run.session.start_ns,
        reference_hz=_usual_hz(answers, rig_run.session.start_ns + placed[0].start_ns),
        answers=tuple(answers),
        states=tuple(states),
        arrivals_ns=_arrivals(folder / "rows"),
    )


def _listen(
    rig_run: RigRun,
    placed: Sequence[PlacedCase],
    say: Callable[[str], None],
) -> tuple[list[AnswerSeen], list[StateSeen]]:
    session, clock = rig_run.session, rig_run.clock
    end_ns = session.start_ns + placed[-1].until_ns
    answers: list[AnswerSeen] = []
    states: list[StateSeen] = []
    before: dict[str, StateSeen] = {}
    waiting = list(placed)
    with Subscriber([FUSION_TOPIC, HEALTH_TOPIC], session, clock, queue_depth=1024) as subscriber:
        while (now_ns := clock.now_ns()) < end_ns:
            if waiting and now_ns >= session.start_ns + waiting[0].start_ns:
                case = waiting.pop(0).case
                say(f"{case.fault}: {', '.join(case.sensors)}")
            rig_run.check()
            received = subscriber.receive(_PATIENCE_NS)
            if received is None:
                continue
            if isinstance(received.message, Detections):
                header = received.header
                kept = _kept(received.message)
                answers.append(AnswerSeen(header.sent_ns, kept, header.incarnation))
            elif isinstance(received.message, Health):
                states += states_of(received.message, before)
    return answers, states


def _kept(message: Detections) -> Detections:
    """With arrays of its own: those of the message are the transport's."""
    return msgspec.structs.replace(
        message,
        boxes=message.boxes.copy(),
        scores=message.scores.copy(),
        class_ids=message.class_ids.copy(),
        contributions=None,
    )


def _usual_hz(answers: Sequence[AnswerSeen], until_ns: int) -> float:
    """The rate of the answers before the first fault."""
    sent = [answer.sent_ns for answer in answers if answer.sent_ns < until_ns]
    if len(sent) < 10:
        raise BenchError("expected ten answers before the first fault, got fewer")
    return (len(sent) - 1) * NS_PER_S / (sent[-1] - sent[0])


def _arrivals(rows: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for row in read_rows(rows):
        if isinstance(row, FrameRow) and row.recv_ns:
            found.setdefault(row.topic, []).append(row.recv_ns)
    return {topic: tuple(sorted(times)) for topic, times in found.items()}
