"""The supervisor: starts a rig's nodes, restarts what dies, and says how the rig is.

One loop on one clock. It looks at the headers of all sensor topics, never at a payload, so it
costs next to nothing beside them; bodies are judged by who consumes them. One node's death is a
missing stream, never the end of the others; the kernel ends the nodes if the supervisor itself
dies (`fusion_rt.node`).
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.liveness import StreamMonitor
from fusion_rt.messages import Health, Heartbeat, MountingCheck
from fusion_rt.modes import ModeKeeper
from fusion_rt.process import Process
from fusion_rt.rig import Rig
from fusion_rt.session import Session
from fusion_rt.systemd import Notifier
from fusion_rt.topics import heartbeat_topic, topic_kind
from fusion_rt.transport.inbox import Arrival
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber

HEALTH_TOPIC = "health/rig"
FUSION = "fuse"
"""The fusion's name among the processes."""
RECORDER = "record"
"""The recorder's name among the processes."""
MOUNTING_TOPIC = "mounting/watch"
FOXGLOVE = "foxglove"
"""That of the server for the Foxglove app."""
_HEALTH_PERIOD_NS = NS_PER_S // 2
_LOOK_PERIOD_NS = 50 * NS_PER_MS  # how late the exit of a process may be noticed
_BURST = 1000  # messages between two looks at the processes, however many come
_AWAY_NS = NS_PER_S  # a step this late means that we were stopped, not they

NodeCommand = Callable[[Session, str], list[str]]
log = logging.getLogger(__name__)


class Supervisor:
    """Runs one rig until told to stop."""

    def __init__(
        self,
        rig: Rig,
        session: Session,
        clock: RigClock,
        notifier: Notifier,
        command: NodeCommand | None = None,
    ) -> None:
        """`command` says how the node of a topic is started, when not as `node_command` does."""
        self._rig = rig
        self._session = session
        self._clock = clock
        self._notifier = notifier
        now_ns = clock.now_ns()
        self.processes = {
            node: Process(node, (command or node_command)(session, node), rig.supervisor, now_ns)
            for node in (*rig.sensors, *programs(rig))
        }
        self._nodes = {heartbeat_topic(topic): process for topic, process in self.processes.items()}
        self._monitors = {monitor.topic: monitor for monitor in _monitors(rig, now_ns)}
        self._warnings: dict[tuple[str, str], str] = {}
        """Of each watched camera and LiDAR."""
        self._modes = ModeKeeper(now_ns)
        self._first_drift_ns = clock.utc_drift_ns()
        self._stepped_ns = self._started_ns = now_ns
        self._health_due_ns = self._alive_due_ns = now_ns
        self._is_drained = True
        self._seen: object = None
        self._is_announced = False

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Until `should_stop()`; then stop every node, the unwilling ones by force."""
        topics = [*self._monitors, *self._nodes]
        if MOUNTING_TOPIC in self.processes:
            topics.append(MOUNTING_TOPIC)
        with (
            Subscriber(topics, self._session, self._clock) as inbox,
            Publisher(HEALTH_TOPIC, self._session, self._clock, "supervisor") as outbox,
        ):
            try:
                while not should_stop():
                    self._listen(inbox)
                    self._step(inbox, outbox)
            finally:
                self._notifier.stopping()
                self._stop_nodes()

    def _listen(self, inbox: Subscriber) -> None:
        """Wait for messages, but no longer than until something else is due."""
        arrival = inbox.receive_header(self._wait_ns())
        taken = 0
        while arrival is not None:
            self._take(arrival, inbox)
            taken += 1
            arrival = inbox.receive_header(0) if taken < _BURST else None
        self._is_drained = taken < _BURST

    def _wait_ns(self) -> int:
        deadlines = (monitor.next_deadline_ns() for monitor in self._monitors.values())
        due_ns = min((due for due in deadlines if due is not None), default=self._health_due_ns)
        return min(max(min(due_ns, self._health_due_ns) - self._clock.now_ns(), 0), _LOOK_PERIOD_NS)

    def _take(self, arrival: Arrival, inbox: Subscriber) -> None:
        topic = arrival.header.topic
        if topic in self._monitors:
            self._monitors[topic].observe(arrival.header, arrival.recv_ns)
        elif received := inbox.open(arrival):
            if isinstance(received.message, MountingCheck):
                self._note_mounting(received.message)
            elif isinstance(received.message, Heartbeat):
                self._nodes[topic].heard(received.message, arrival.recv_ns)

    def _note_mounting(self, check: MountingCheck) -> None:
        pair = check.camera, check.lidar
        if check.warning and not self._warnings.get(pair):
            log.warning("%s", check.warning)
        self._warnings[pair] = check.warning

    def _step(self, inbox: Subscriber, outbox: Publisher) -> None:
        now_ns = self._clock.now_ns()
        away_ns = now_ns - self._stepped_ns
        self._stepped_ns = now_ns
        for process in self.processes.values():
            if away_ns > _AWAY_NS:
                process.watch.excuse(now_ns)
            process.step(now_ns)
        self._judge(now_ns)
        self._announce(now_ns)
        if now_ns >= self._health_due_ns or self._has_changed():
            self._health_due_ns = now_ns + _HEALTH_PERIOD_NS
            outbox.publish(self._health(now_ns, inbox))
        if self._notifier.watchdog_ns and now_ns >= self._alive_due_ns:
            self._alive_due_ns = now_ns + self._notifier.watchdog_ns
            self._notifier.alive(self._modes.decision.mode)

    def _judge(self, now_ns: int) -> None:
        for topic, monitor in self._monitors.items():
            process = self.processes.get(topic)
            state = None if process is None else process.watch.state
            before = monitor.verdict.state
            verdict = monitor.check(now_ns, inbox_drained=self._is_drained, process=state)
            if verdict.state != before:
                log.info("%s: %s -> %s %s", topic, before, verdict.state, verdict.reason)
        before_mode = self._modes.decision.mode
        verdicts = {topic: monitor.verdict for topic, monitor in self._monitors.items()}
        decision = self._modes.update(verdicts, now_ns)
        if decision.mode != before_mode:
            log.info("mode %s -> %s %s", before_mode, decision.mode, "; ".join(decision.reasons))

    def _has_changed(self) -> bool:
        """Whether any state is another than at the last look."""
        streams = [monitor.verdict.state for monitor in self._monitors.values()]
        nodes = [(p.watch.state, p.watch.restarts) for p in self.processes.values()]
        seen, self._seen = self._seen, (streams, nodes, self._modes.decision.mode)
        return seen != self._seen

    def _announce(self, now_ns: int) -> None:
        """READY once, when all nodes are, or when the time for it is over."""
        if self._is_announced:
            return
        waiting = [p.node for p in self.processes.values() if p.watch.state != "ready"]
        after_s = (now_ns - self._started_ns) / NS_PER_S
        if waiting and now_ns < self._started_ns + self._rig.supervisor.startup_ns:
            return
        self._is_announced = True
        self._notifier.ready("running" if not waiting else f"without {', '.join(waiting)}")
        if waiting:
            log.warning("not ready after %.1f s: %s", after_s, ", ".join(waiting))
        else:
            log.info("all %d nodes ready after %.1f s", len(self.processes), after_s)

    def _health(self, now_ns: int, inbox: Subscriber) -> Health:
        decision = self._modes.decision
        return Health(
            stamp_ns=now_ns,
            rig=self._rig.name,
            mode=decision.mode,
            mode_reasons=decision.reasons,
            mode_since_ns=decision.since_ns,
            streams=tuple(
                monitor.health(now_ns, dict(inbox.inboxes[topic].drops))
                for topic, monitor in self._monitors.items()
            ),
            processes=tuple(process.health() for process in self.processes.values()),
            utc_drift_ns=self._clock.utc_drift_ns() - self._first_drift_ns,
            warnings=tuple(filter(None, self._warnings.values())),
        )

    def _stop_nodes(self) -> None:
        processes = self.processes.values()
        try:
            for process in processes:
                process.terminate()
            due_ns = self._clock.now_ns() + self._rig.supervisor.stop_ns
            for process in processes:
                process.join(max(due_ns - self._clock.now_ns(), 0))
        finally:  # also when told a second time, while waiting
            for process in processes:
                process.stop(self._clock.now_ns())


def programs(rig: Rig) -> Iterator[str]:
    """What runs beside the sensors' nodes, as the rig asks for it."""
    if rig.fusion is not None:
        yield FUSION
    if rig.record is not None:
        yield RECORDER
    if rig.watch_mountings:
        yield MOUNTING_TOPIC
    if rig.foxglove is not None:
        yield FOXGLOVE


def node_command(session: Session, node: str) -> list[str]:
    """How the node of a topic, or a program, is started: `fusion_rt.nodes.KIND`, by name."""
    kind = node.partition("/")[0]
    module = f"fusion_rt.nodes.{kind}"
    arguments = ["--run-dir", session.run_dir, "--topic", node, "--parent", str(os.getpid())]
    return [sys.executable, "-m", module, *arguments]


def _monitors(rig: Rig, now_ns: int) -> Iterator[StreamMonitor]:
    """One for every sensor topic of the rig, also those of other hosts."""
    for topic, sensor in rig.sensors.items():
        device = f"the {sensor.kind} device (driver {sensor.options.driver})"
        max_age_ns = topic_kind(topic).max_age_ns
        yield StreamMonitor(topic, sensor.rate_hz, max_age_ns, now_ns, device=device)
    for topic, source in rig.remote_topics.items():
        kind = topic_kind(topic)
        device = f"the host at {source.address}"
        yield StreamMonitor(topic, kind.rate_hz, kind.max_age_ns, now_ns, device=device)
