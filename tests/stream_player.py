"""Plays arrivals of several streams to their monitors, as a punctual consumer's loop would."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.liveness import StreamMonitor, Verdict
from fusion_rt.messages import Mode
from fusion_rt.modes import ModeDecision, ModeKeeper
from fusion_rt.topics import topic_kind

START_NS = 1_700_000_000 * NS_PER_S
HOP_NS = NS_PER_MS
DELAY_NS = 20 * NS_PER_MS


@dataclass(frozen=True)
class Arrival:
    """A header and when it came; `is_corrupt` when it could not be decoded."""

    recv_ns: int
    seq: int
    stamp_ns: int
    sent_ns: int
    fingerprint: int
    incarnation: int = 1
    node: str = "camera/front"
    is_corrupt: bool = False


@dataclass
class History:
    """Every change of state and of mode, with when it was seen."""

    verdicts: dict[str, list[tuple[int, Verdict]]] = field(default_factory=dict)
    decisions: list[ModeDecision] = field(default_factory=list)

    def states(self, topic: str) -> list[str]:
        return [verdict.state for _, verdict in self.verdicts[topic]]

    def when_ns(self, topic: str, state: str) -> int:
        """When the stream first entered `state`."""
        return next(now for now, verdict in self.verdicts[topic] if verdict.state == state)

    def modes(self) -> list[Mode]:
        return [decision.mode for decision in self.decisions]


def period_ns(topic: str) -> int:
    return round(NS_PER_S / topic_kind(topic).rate_hz)


def monitor_of(topic: str, **options: object) -> StreamMonitor:
    kind = topic_kind(topic)
    return StreamMonitor(topic, kind.rate_hz, kind.max_age_ns, START_NS, **options)  # type: ignore[arg-type]


def steady(topic: str, seconds: float) -> list[Arrival]:
    """A healthy sensor: at its rate, fresh, ever new content (a GPS fix has none to compare)."""
    count = int(seconds * topic_kind(topic).rate_hz)
    has_payload = not topic.startswith("gps")
    return [
        arrival(START_NS + index * period_ns(topic), index, has_payload=has_payload, node=topic)
        for index in range(1, count + 1)
    ]


def arrival(recv_ns: int, seq: int, *, has_payload: bool = True, node: str = "x") -> Arrival:
    sent_ns = recv_ns - HOP_NS
    fingerprint = 1000 + seq if has_payload else 0
    return Arrival(recv_ns, seq, sent_ns - DELAY_NS, sent_ns, fingerprint, node=node)


Fault = Callable[[list[Arrival], str], list[Arrival]]


def silent(_arrivals: list[Arrival], _topic: str) -> list[Arrival]:
    return []


def late(arrivals: list[Arrival], topic: str) -> list[Arrival]:
    by_ns = topic_kind(topic).max_age_ns
    return [replace(a, stamp_ns=a.stamp_ns - by_ns, sent_ns=a.sent_ns - by_ns) for a in arrivals]


def frozen(arrivals: list[Arrival], _topic: str) -> list[Arrival]:
    """The driver repeats what it has: the content, or for a fix its stamp."""
    first = arrivals[0]
    if first.fingerprint:
        return [replace(a, fingerprint=first.fingerprint) for a in arrivals]
    return [replace(a, stamp_ns=first.stamp_ns) for a in arrivals]


def corrupt(arrivals: list[Arrival], _topic: str) -> list[Arrival]:
    return [replace(a, is_corrupt=True) for a in arrivals]


def slow(arrivals: list[Arrival], _topic: str) -> list[Arrival]:
    """Half the rate."""
    return arrivals[::2]


def flapping(arrivals: list[Arrival], _topic: str) -> list[Arrival]:
    """Off and on, half a second each."""
    start_ns = arrivals[0].recv_ns
    return [a for a in arrivals if (a.recv_ns - start_ns) // (NS_PER_S // 2) % 2]


def with_fault(
    arrivals: list[Arrival], topic: str, fault: Fault, from_ns: int, to_ns: int
) -> list[Arrival]:
    """The same stream with a fault of the sensor in [from_ns, to_ns): what it sends has no gaps."""
    before = [a for a in arrivals if a.recv_ns < from_ns]
    during = fault([a for a in arrivals if from_ns <= a.recv_ns < to_ns], topic)
    after = [a for a in arrivals if a.recv_ns >= to_ns]
    return [replace(a, seq=seq) for seq, a in enumerate(before + during + after)]


def play(
    streams: Mapping[str, Iterable[Arrival]], until_ns: int, monitors: Iterable[StreamMonitor] = ()
) -> History:
    """Feed every arrival and serve every deadline, in order of time, each at its very instant."""
    watched = {m.topic: m for m in monitors} or {topic: monitor_of(topic) for topic in streams}
    keeper = ModeKeeper(START_NS)
    history = History({topic: [(START_NS, m.verdict)] for topic, m in watched.items()})
    pending = sorted(
        ((a.recv_ns, topic, a) for topic, arrivals in streams.items() for a in arrivals),
        key=lambda item: item[:2],
    )
    for recv_ns, topic, item in [*pending, (until_ns, "", None)]:
        _serve_deadlines(watched, keeper, history, recv_ns)
        if item is not None:
            _deliver(watched[topic], item)
            _check(watched, keeper, history, recv_ns)
    return history


def _serve_deadlines(
    monitors: Mapping[str, StreamMonitor], keeper: ModeKeeper, history: History, until_ns: int
) -> None:
    while True:
        owners = [*monitors.values(), keeper]
        due_ns = min((d for o in owners if (d := o.next_deadline_ns()) is not None), default=None)
        if due_ns is None or due_ns >= until_ns:
            return
        _check(monitors, keeper, history, due_ns)


def _deliver(monitor: StreamMonitor, item: Arrival) -> None:
    if item.is_corrupt:
        monitor.invalid(item.recv_ns, "header: truncated")
    else:
        monitor.observe(item, item.recv_ns)


def _check(
    monitors: Mapping[str, StreamMonitor], keeper: ModeKeeper, history: History, now_ns: int
) -> None:
    for topic, monitor in monitors.items():
        verdict = monitor.check(now_ns, inbox_drained=True, process="ready")
        if verdict.state != history.verdicts[topic][-1][1].state:
            history.verdicts[topic].append((now_ns, verdict))
    verdicts = {topic: monitor.verdict for topic, monitor in monitors.items()}
    decision = keeper.update(verdicts, now_ns)
    if not history.decisions or decision.mode != history.decisions[-1].mode:
        history.decisions.append(decision)
