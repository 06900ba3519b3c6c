"""Liveness, at the consumer's end of transport: is a stream alive, and if not, what is wrong.

Pure logic on integers. Decisions run on arrival times (`recv_ns`), so a sensor whose clock jumps
loses nothing but the lateness of its own messages. The loop that owns a monitor calls `observe` or
`invalid` for each message, and `check` after reading and at `next_deadline_ns()`.

A sensor is never blamed while we lag ourselves: what only a punctual reader can judge (silence,
lateness, rate) is judged with an empty inbox only, and a check that comes later than the deadline
it was asked for gives the stream that time back.
"""

from typing import NamedTuple, Protocol

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import ProcessState, StreamHealth, StreamState
from fusion_rt.windows import FaultWindow, GapWindow, HopWindow, RateWindow, Repeats

RATE_TOLERANCE = 0.25
"""Share of the stated rate; a 25 Hz camera entered as 30 Hz is well, one at 20 Hz is not."""
CONFIRM_NS = 5 * NS_PER_MS
"""Silence is looked at twice, at least this far apart: a socket's thread may lag behind its clock.

With the slack of GapWindow, a loop that wakes within 5 ms sees silence at three periods + 20 ms."""


class ArrivedHeader(Protocol):
    """What liveness reads of a message: the transport's header has it, and so can a test's."""

    @property
    def node(self) -> str: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def stamp_ns(self) -> int: ...
    @property
    def sent_ns(self) -> int: ...
    @property
    def fingerprint(self) -> int: ...


class _Seen(NamedTuple):
    """Of the newest message; its header may point into a receive buffer, so it is not kept."""

    node: str
    incarnation: int
    stamp_ns: int
    sent_ns: int


class Verdict(msgspec.Struct, frozen=True):
    """The state of one stream: since when, and why in one sentence a person can act on."""

    state: StreamState
    since_ns: int
    reason: str = ""


class StreamMonitor:
    """Watches one stream. Bounded memory, O(1) per message and per check.

    `device` names the thing to look at in reasons, for example "/dev/video0".
    """

    def __init__(
        self,
        topic: str,
        rate_hz: float,
        max_age_ns: int,
        started_ns: int,
        *,
        device: str = "the sensor",
        startup_ns: int = 10 * NS_PER_S,
        dwell_ns: int = NS_PER_S,
    ) -> None:
        period_ns = round(NS_PER_S / rate_hz)
        self.topic = topic
        self.verdict = Verdict("waiting", started_ns, f"no good message yet from {device}")
        self.received = 0
        self.stamp_jumps = 0
        self._rate_hz = rate_hz
        self._max_age_ns = max_age_ns
        self._device = device
        self._dwell_ns = max(dwell_ns, 3 * period_ns)
        self._started_ns = started_ns
        self._silence_due_ns = started_ns + startup_ns
        self._recv_ns: int | None = None
        self._emptied_ns = started_ns
        self._is_postponed = False
        self._returned = 0
        self._newest: _Seen | None = None
        self._is_weighed = True
        self._is_off_rate = False
        self._jumped_ns = 0
        self._fault = self._lateness = ""
        self._gaps = GapWindow(period_ns)
        self._arrivals = RateWindow(max(2 * NS_PER_S, 10 * period_ns))
        self._publications = RateWindow(max(2 * NS_PER_S, 10 * period_ns))
        self._hops = HopWindow()
        self._invalid = FaultWindow()
        self._late = FaultWindow()
        self._repeats = {"sequence number": Repeats(), "content": Repeats(), "stamp": Repeats()}

    @property
    def is_frozen(self) -> bool:
        """Whether the messages repeat each other, as of the last one observed."""
        return any(repeats.is_stuck() for repeats in self._repeats.values())

    def observe(self, header: ArrivedHeader, recv_ns: int) -> None:
        """Take note of one good message; `check` decides."""
        self._arrive(recv_ns)
        self._compare(header)
        self.received += 1
        self._newest = _Seen(header.node, header.incarnation, header.stamp_ns, header.sent_ns)
        self._is_weighed = False
        self._arrivals.add(recv_ns, self.received)
        self._publications.add(header.sent_ns, header.seq)
        self._hops.add(recv_ns - header.sent_ns)
        self._note_repeats(header, recv_ns)
        ahead_ns = header.stamp_ns - recv_ns
        self._invalid.add(ahead_ns > self._max_age_ns)
        if ahead_ns > self._max_age_ns:
            self._fault = f"stamped {duration_text(ahead_ns)} ahead of the rig's clock"

    def invalid(self, recv_ns: int, reason: str) -> None:
        """Take note of a message that could not be decoded, or whose values cannot be."""
        self._arrive(recv_ns)
        self._invalid.add(True)
        self._fault = reason

    def check(
        self, now_ns: int, *, inbox_drained: bool, process: ProcessState | None = None
    ) -> Verdict:
        """Decide, and say why. `inbox_drained`: everything that had arrived was observed.

        `process` is the state of the stream's node where the caller knows it; it turns "silent"
        into what to look at.
        """
        if inbox_drained:
            self._emptied_ns = now_ns
            self._give_time_back(now_ns)
            self._weigh_newest()
        state, reason = self._judge(now_ns, inbox_drained, process)
        self._settle(state, reason, now_ns)
        return self.verdict

    def next_deadline_ns(self) -> int | None:
        """When to check although nothing arrived; None when only a message can change the state."""
        if self.verdict.state == "silent":
            return None
        if self.verdict.state == "recovered":
            return min(self._silence_due_ns, self.verdict.since_ns + self._dwell_ns)
        return self._silence_due_ns

    def health(self, now_ns: int, drops: dict[str, int]) -> StreamHealth:
        """The last verdict with the statistics; `drops` are the inbox's, by cause."""
        return StreamHealth(
            topic=self.topic,
            state=self.verdict.state,
            reason=self.verdict.reason,
            since_ns=self.verdict.since_ns,
            rate_hz=self._arrivals.rate_hz(),
            age_ns=None if self._newest is None else now_ns - self._newest.stamp_ns,
            hop_p50_ns=self._hops.percentile_ns(50),
            hop_p99_ns=self._hops.percentile_ns(99),
            received=self.received,
            drops=drops,
        )

    def _arrive(self, recv_ns: int) -> None:
        gap_ns = None if self._recv_ns is None else recv_ns - self._recv_ns
        is_in_time = gap_ns is not None and gap_ns <= self._gaps.silence_ns
        self._returned = self._returned + 1 if is_in_time else 1
        # A longer gap that was not called silence is our own absence: nothing to learn from.
        if gap_ns is not None and (is_in_time or self.verdict.state == "silent"):
            self._gaps.add(gap_ns)
        self._recv_ns = recv_ns
        self._silence_due_ns = recv_ns + self._gaps.silence_ns
        self._is_postponed = False

    def _compare(self, header: ArrivedHeader) -> None:
        """Against the message before: a restarted publisher starts over, a stamp may jump."""
        before = self._newest
        if before is None:
            return
        if header.incarnation != before.incarnation:
            self._start_over()
            self._jumped_ns = 0
            return
        jump_ns = (header.stamp_ns - header.sent_ns) - (before.stamp_ns - before.sent_ns)
        # A node that stalls ages its stamps too, but turns none back nor ahead of its sending.
        is_of_clock = header.stamp_ns < before.stamp_ns or header.stamp_ns > header.sent_ns
        if abs(jump_ns) > self._max_age_ns and (is_of_clock or self._jumped_ns < 0):
            self.stamp_jumps += 1
            self._jumped_ns += jump_ns

    def _start_over(self) -> None:
        """After a restart or a silence: rate and repeats begin with the next message."""
        self._arrivals.clear()
        self._publications.clear()
        self._is_off_rate = False
        for repeats in self._repeats.values():
            repeats.clear()

    def _note_repeats(self, header: ArrivedHeader, recv_ns: int) -> None:
        self._repeats["sequence number"].add(header.seq, recv_ns)
        self._repeats["stamp"].add(header.stamp_ns, recv_ns)
        if header.fingerprint:
            self._repeats["content"].add(header.fingerprint, recv_ns)
        else:
            self._repeats["content"].clear()

    def _give_time_back(self, now_ns: int) -> None:
        """Once per arrival, and no more than a live sensor needs to speak again."""
        overslept_ns = now_ns - self._silence_due_ns
        if overslept_ns < 0 or self._is_postponed or self.verdict.state == "silent":
            return
        back_ns = min(overslept_ns, self._gaps.typical_ns)
        self._silence_due_ns = now_ns + max(back_ns, CONFIRM_NS)
        self._is_postponed = True

    def _weigh_newest(self) -> None:
        """Lateness and rate from the newest message only: a backlog's are late because of us."""
        if self._is_weighed or self._newest is None or self._recv_ns is None:
            return
        self._is_weighed = True
        is_late = self._recv_ns - self._newest.stamp_ns > self._max_age_ns
        self._late.add(is_late)
        if is_late:
            self._lateness = self._lateness_text(self._newest, self._recv_ns)
        if self._publications.is_full():
            # By sequence number and time of sending: what we skip or read late slows no sensor.
            off_hz = abs(self._publications.rate_hz() - self._rate_hz)
            self._is_off_rate = off_hz > RATE_TOLERANCE * self._rate_hz

    def _judge(
        self, now_ns: int, inbox_drained: bool, process: ProcessState | None
    ) -> tuple[StreamState, str]:
        """What the evidence says now, the worst first."""
        if self._is_silent(now_ns, inbox_drained):
            return "silent", self._silent_text(now_ns, process)
        if self._invalid.is_often():
            return "invalid", self._invalid_text()
        for what, repeats in self._repeats.items():
            if repeats.is_stuck():
                return "frozen", self._frozen_text(what, repeats)
        if self._late.is_often():
            return "late", f"{self._late} came late, the last one {self._lateness}"
        if self._is_off_rate:
            return "out_of_rate", self._rate_text()
        if now_ns >= self._silence_due_ns:
            return "alive", self._unjudged_text(now_ns)
        return "alive", ""

    def _is_silent(self, now_ns: int, inbox_drained: bool) -> bool:
        """Silence ends with the second message in time, so that a lone one does not flap."""
        was_silent = self.verdict.state == "silent"
        if was_silent and self._returned < 2:
            return True
        return now_ns >= self._silence_due_ns and (inbox_drained or was_silent)

    def _settle(self, judged: StreamState, reason: str, now_ns: int) -> None:
        """Trouble counts at once; after trouble, `recovered` for the dwell comes before `alive`."""
        before = self.verdict
        state = judged
        if judged == "alive" and self.received == 0:
            state, reason = "waiting", f"no good message yet from {self._device}"
        elif judged == "alive" and before.state == "recovered":
            state = "alive" if now_ns - before.since_ns >= self._dwell_ns else "recovered"
            reason = reason or (before.reason if state == "recovered" else "")
        elif judged == "alive" and before.state not in ("waiting", "alive"):
            state, reason = "recovered", f"messages are good again after {before.state}"
        if state == "silent" and before.state != "silent":
            self._returned = 0
            self._start_over()
        if state == "alive" and before.state == "recovered":
            self._publications.clear()  # a node that catches up after a stall sends a burst
        since_ns = before.since_ns if state == before.state else now_ns
        self.verdict = Verdict(state, since_ns, reason)

    def _silent_text(self, now_ns: int, process: ProcessState | None) -> str:
        where_to_look = self._where_to_look(process)
        if self._recv_ns is None:
            for_ns = now_ns - self._started_ns
            return f"no message since the start {duration_text(for_ns)} ago; {where_to_look}"
        if now_ns < self._silence_due_ns:  # it came back, and that is the first message
            return f"one message after a silence; {where_to_look}"
        every = duration_text(self._gaps.typical_ns)
        for_text = duration_text(now_ns - self._recv_ns)
        return f"no message for {for_text} (expected every {every}); {where_to_look}"

    def _where_to_look(self, process: ProcessState | None) -> str:
        node = f"node {self._node()}"
        what: dict[ProcessState | None, str] = {
            None: f"check {self._device} and {node}",
            "starting": f"{node} is starting: wait",
            "ready": f"{node} is alive: check {self._device}",
            "hung": f"{node} hangs and will be restarted: see its log",
            "backing_off": f"{node} died and is being restarted: see its log",
            "failed": f"{node} kept dying and was given up: see its log",
            "stopped": f"{node} was stopped",
        }
        return what[process]

    def _node(self) -> str:
        return (self._newest.node if self._newest else "") or self.topic

    def _invalid_text(self) -> str:
        return f"{self._invalid} cannot be used, the last one: {self._fault}; check {self._device}"

    def _frozen_text(self, what: str, repeats: Repeats) -> str:
        for_text = f"{repeats.count} messages ({duration_text(repeats.for_ns)})"
        return f"the same {what} in {for_text}: restart node {self._node()}, check {self._device}"

    def _lateness_text(self, late: _Seen, recv_ns: int) -> str:
        age, limit = duration_text(recv_ns - late.stamp_ns), duration_text(self._max_age_ns)
        if abs(self._jumped_ns) > self._max_age_ns:
            jump = duration_text(self._jumped_ns)
            why = f"as the stamps jumped by {jump}: check the clock of {self._device}"
        elif (hop_ns := recv_ns - late.sent_ns) > late.sent_ns - late.stamp_ns:
            why = f"{duration_text(hop_ns)} of it on the way: check the load and the link"
        else:
            why = f"already when node {self._node()} sent it: check {self._device}"
        return f"{age} old (limit {limit}), {why}"

    def _rate_text(self) -> str:
        span = duration_text(self._publications.span_ns)
        rates = f"{self._publications.rate_hz():.1f} Hz instead of {self._rate_hz:g} Hz over {span}"
        return f"{rates}: check the settings of {self._device}, or rate_hz in the rig"

    def _unjudged_text(self, now_ns: int) -> str:
        behind = duration_text(now_ns - self._emptied_ns)
        return f"not judged: this consumer has not emptied its own inbox for {behind}"


def duration_text(duration_ns: int) -> str:
    """For people: milliseconds below one second, then seconds."""
    if abs(duration_ns) < NS_PER_S:
        return f"{duration_ns / NS_PER_MS:.0f} ms"
    return f"{duration_ns / NS_PER_S:.1f} s"
