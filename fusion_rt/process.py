"""One supervised process: when to start it, when to call it hung, when to give up.

The decisions are plain functions of time and events (`Watch`); `Process` carries them out.
"""

import contextlib
import logging
import signal
import subprocess
from collections import deque

from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import Heartbeat, ProcessHealth, ProcessState
from fusion_rt.rig import RestartPolicy, SupervisorPolicy

log = logging.getLogger(__name__)


class Watch:
    """The state of one process, told of events, asked what to do. Pure: no clock, no processes."""

    def __init__(self, policy: SupervisorPolicy, now_ns: int) -> None:
        self.state: ProcessState = "starting"
        self.reason = ""
        self.since_ns = now_ns
        self.restarts = -1  # the first start is none
        self._policy = policy
        self._progress_ns = now_ns
        self._excused_ns = now_ns
        self._exits: deque[int] = deque(maxlen=policy.restart.limit + 1)
        self._start_due_ns: int | None = now_ns

    def should_start(self, now_ns: int) -> bool:
        return self._start_due_ns is not None and now_ns >= self._start_due_ns

    def started(self, now_ns: int) -> None:
        self._start_due_ns = None
        self.restarts += 1
        self._enter("starting", now_ns, self.reason)  # why it has to start again

    def heard(self, heartbeat: Heartbeat, now_ns: int) -> None:
        """A sign of life; READY comes with the first that says so."""
        self._progress_ns = heartbeat.stamp_ns
        if heartbeat.state == "ready" and self.state == "starting":
            self._enter("ready", now_ns, "")

    def is_overdue(self, now_ns: int) -> str | None:
        """Why a running process must be killed; None while it need not."""
        since_ns = max(self.since_ns, self._excused_ns)
        if self.state == "starting" and now_ns > since_ns + self._policy.startup_ns:
            return f"not ready {_seconds(now_ns - self.since_ns)} after its start"
        progress_ns = max(self._progress_ns, self._excused_ns)
        if self.state == "ready" and now_ns > progress_ns + self._policy.heartbeat_ns:
            return f"its loop has not come round for {_seconds(now_ns - self._progress_ns)}"
        return None

    def hung(self, reason: str, now_ns: int) -> None:
        self._enter("hung", now_ns, reason)

    def excuse(self, now_ns: int) -> None:
        """The watcher itself was away until now: whoever was late has all its time again."""
        self._excused_ns = now_ns

    def exited(self, how: str, now_ns: int) -> None:
        """Plan the next start, or none in a crash loop."""
        policy = self._policy.restart
        self._exits.append(now_ns)
        recent = sum(now_ns - exit_ns <= policy.window_ns for exit_ns in self._exits)
        why = f"{self.reason}, {how}" if self.state == "hung" else how
        if recent > policy.limit:
            window_s = policy.window_ns / NS_PER_S
            reason = f"{why}: crash loop, {recent} exits in {window_s:.0f} s; see its log"
            self._enter("failed", now_ns, reason)
            return
        self._start_due_ns = now_ns + _backoff_ns(policy, recent)
        self._enter("backing_off", now_ns, why)

    def stopped(self, now_ns: int) -> None:
        self._start_due_ns = None
        self._enter("stopped", now_ns, "")

    def _enter(self, state: ProcessState, now_ns: int, reason: str) -> None:
        self.state, self.since_ns, self.reason = state, now_ns, reason


class Process:
    """A node's process, started by exec in a process group of its own, and its watch."""

    def __init__(
        self, node: str, command: list[str], policy: SupervisorPolicy, now_ns: int
    ) -> None:
        self.node = node
        self.watch = Watch(policy, now_ns)
        self.counters: dict[str, int] = {}
        self._command = command
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._popen is None else self._popen.pid

    def step(self, now_ns: int) -> None:
        """Carry out what is due: notice an exit, kill what hangs, start what should run."""
        if self._popen is not None and (code := self._popen.poll()) is not None:
            self._popen = None
            self.watch.exited(_how(code), now_ns)
            level = logging.ERROR if self.watch.state == "failed" else logging.WARNING
            log.log(level, "%s: %s", self.node, self.watch.reason)
        if self._popen is not None and (reason := self.watch.is_overdue(now_ns)):
            log.warning("%s: %s, killing pid %d", self.node, reason, self._popen.pid)
            self.watch.hung(reason, now_ns)
            self._popen.kill()
        if self._popen is None and self.watch.should_start(now_ns):
            self._start(now_ns)

    def heard(self, heartbeat: Heartbeat, now_ns: int) -> None:
        if heartbeat.pid != self.pid:  # of the one before
            return
        self.counters = heartbeat.counters
        self.watch.heard(heartbeat, now_ns)

    def terminate(self) -> None:
        if self._popen is not None:
            self._popen.terminate()

    def join(self, timeout_ns: int) -> None:
        """Wait so long for the end of a terminated process."""
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout_ns / NS_PER_S)
                self._popen = None

    def stop(self, now_ns: int) -> None:
        """The end: what is still there goes by force."""
        if self._popen is not None:
            log.warning("%s: still there after SIGTERM, killing it", self.node)
            self._popen.kill()
            self._popen.wait()
            self._popen = None
        self.watch.stopped(now_ns)

    def health(self) -> ProcessHealth:
        watch = self.watch
        return ProcessHealth(
            node=self.node,
            state=watch.state,
            reason=watch.reason,
            since_ns=watch.since_ns,
            pid=self.pid,
            restarts=max(watch.restarts, 0),
            counters=self.counters,
        )

    def _start(self, now_ns: int) -> None:
        self.watch.started(now_ns)
        try:
            # A session of its own: Ctrl-C at the terminal reaches the supervisor alone, which stops
            # its nodes in order.
            self._popen = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:  # no memory or process left
            self.watch.exited(f"could not be started ({error})", now_ns)
            log.warning("%s: %s", self.node, self.watch.reason)
            return
        log.info("%s: started, pid %d", self.node, self._popen.pid)


def _backoff_ns(policy: RestartPolicy, recent: int) -> int:
    """How long to wait after so many exits within the window: not at all after the first."""
    if recent <= 1:
        return 0
    return min(policy.backoff_ns << min(recent - 2, 32), policy.backoff_max_ns)


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / NS_PER_S:.1f} s"


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
