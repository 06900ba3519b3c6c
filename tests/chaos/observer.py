"""The harness's own subscriber: sees every header of the rig, and when which publisher is new."""

from collections import Counter

from fusion_rt.clock import NS_PER_MS
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.subscriber import Subscriber
from tests.chaos.frames import TOPIC, Judge


class Observer:
    """What can be seen from outside of a rig that is being hurt."""

    def __init__(self, session):
        self.clock = session.clock()
        self.nodes = tuple(session.sensors)
        self.judge = Judge()
        self.new_ns = {}
        """Topic -> when the first message of its newest publisher arrived."""
        self.shown = {}
        """Node -> (pid, when Health first showed it, whether Health calls it ready)."""
        self.gaps_ms = Counter()
        """Between two messages of one load publisher."""
        self._last_ns = None
        topics = [*self.nodes, TOPIC, HEALTH_TOPIC]
        self._subscriber = Subscriber(topics, session, self.clock, queue_depth=256)

    def watch(self, timeout_ns=5 * NS_PER_MS):
        """Take in what arrives; returns after the time-out at the latest."""
        arrival = self._subscriber.receive_header(timeout_ns)
        for _ in range(1000):
            if arrival is None:
                return
            self._take(arrival)
            arrival = self._subscriber.receive_header(0)

    def close(self):
        self._subscriber.close()

    def _take(self, arrival):
        header, recv_ns = arrival.header, arrival.recv_ns
        is_new = self.judge.judge(header, recv_ns)
        if is_new:
            self.new_ns[header.topic] = recv_ns
        if header.topic == TOPIC:
            if not is_new:
                self.gaps_ms[(recv_ns - self._last_ns) // NS_PER_MS] += 1
            self._last_ns = recv_ns
        elif header.topic == HEALTH_TOPIC and (received := self._subscriber.open(arrival)):
            self._take_health(received.message, recv_ns)

    def _take_health(self, health, recv_ns):
        for process in health.processes:
            pid, since_ns, _ = self.shown.get(process.node, (None, recv_ns, False))
            if process.pid is not None:
                since_ns = since_ns if process.pid == pid else recv_ns
                self.shown[process.node] = process.pid, since_ns, process.state == "ready"
