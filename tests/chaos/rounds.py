"""Rounds of kill -9: each ends when the successor's first message has arrived."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.supervisor import HEALTH_TOPIC
from tests.chaos.frames import TOPIC
from tests.chaos.reader import HOWS
from tests.chaos.remains import open_files, processes_of

_DEADLINE_NS = 20 * NS_PER_S
_MAX_OPEN = 3
_PAUSE_NS = 5 * NS_PER_S
_BARE_START = [sys.executable, "-c", "import typer, fusion_rt.supervisor"]
_KILLS_PER_BARE_START = 10


class Round:
    """One kill and what came of it."""

    def __init__(self, victim, kind, killed_ns, pids):
        self.victim = victim
        self.kind = kind
        self.killed_ns = killed_ns
        self.pids = pids
        """Processes that must be gone: the victim, and what lives no longer than it."""
        self.shown_ns = None
        """When Health first showed the successor."""
        self.back_ns = None
        """When the successor's first message arrived; of the supervisor: those of all its nodes."""


class Killer:
    """Kills at random, starts again what nobody supervises, and times what follows."""

    def __init__(self, stage, observer, seed):
        self.done = []
        self.open = {}
        self.faults = Counter()
        self.most_files = 0
        self.pauses = 0
        self._stage = stage
        self._observer = observer
        self._random = random.Random(seed)
        self._readers_ns = {}
        self._kill_due_ns = 0
        self._paused_until_ns = 0
        self.delivered, self.ages_ms = Counter(), Counter()
        self.bare_ms = []
        """What a start costs at least, in the middle of it all: Python and our imports."""
        self._bare = None

    def run(self, rounds):
        """So many kills, and the end of the last one."""
        try:
            self._run(rounds)
        finally:
            if self._bare is not None:  # faults ended the run early
                self._bare[0].kill()
                self._bare[0].wait()

    def _run(self, rounds):
        killed = 0
        while killed < rounds or self.open or self._paused_until_ns or self._bare:
            self._step()
            if self.faults:
                return
            if killed < rounds and self._may_kill() and (victim := self._choose()):
                if killed % _KILLS_PER_BARE_START == 0 and self._bare is None:
                    self._bare = subprocess.Popen(_BARE_START), self._now_ns()
                self._kill(victim)
                killed += 1
                pause_ms = self._random.uniform(50, 750)
                self._kill_due_ns = self._now_ns() + int(pause_ms * NS_PER_MS)
                if killed % 70 == 35:
                    self._pause_reader()

    def _step(self):
        self._observer.watch()
        self._start_again()
        self._read_reports()
        self._resume_reader()
        self._time_the_bare_start()
        for one in tuple(self.open.values()):
            self._follow(one)

    def _time_the_bare_start(self):
        if self._bare is not None and self._bare[0].poll() is not None:
            self.bare_ms.append((self._now_ns() - self._bare[1]) // NS_PER_MS)
            self._bare = None

    def _now_ns(self):
        return self._observer.clock.now_ns()

    def _may_kill(self):
        return len(self.open) < _MAX_OPEN and self._now_ns() >= self._kill_due_ns

    def _choose(self):
        """Somebody who is up; the supervisor only when no node is coming back already."""
        shown, nodes = self._observer.shown, self._observer.nodes
        candidates = [name for name in ("load", *HOWS) if name not in self.open]
        if self._paused_until_ns and "hold" in candidates:
            candidates.remove("hold")
        if "supervisor" not in self.open:
            candidates += [n for n in nodes if n not in self.open and shown[n][2]]
            if self.open.keys().isdisjoint(nodes) and all(shown[n][2] for n in nodes):
                candidates.append("supervisor")
        return self._random.choice(candidates) if candidates else None

    def _kill(self, victim):
        nodes, shown = self._observer.nodes, self._observer.shown
        pid = shown[victim][0] if victim in nodes else self._stage.actors[victim].pid
        kind = "node" if victim in nodes else "reader" if victim in HOWS else victim
        also = [shown[node][0] for node in nodes] if victim == "supervisor" else []
        self.most_files = max(self.most_files, open_files(pid))
        self.open[victim] = Round(victim, kind, self._now_ns(), {pid, *also})
        os.kill(pid, signal.SIGKILL)

    def _start_again(self):
        for actor in self._stage.actors.values():
            if actor.is_dead():
                if actor.name not in self.open:
                    code = actor.process.returncode
                    self.faults[f"{actor.name} ended by itself with code {code}"] += 1
                self._read_report(actor)
                actor.start()

    def _read_reports(self):
        for how in HOWS:
            self._read_report(self._stage.actors[how])

    def _read_report(self, actor):
        for report in actor.reports():
            if "first" in report:
                self._readers_ns[actor.pid] = report["first"]
            else:
                self.faults.update({f"{actor.name}: {k}": n for k, n in report["faults"].items()})
                self.delivered[actor.name] += report["received"]
                self.ages_ms.update({int(ms): n for ms, n in report["ages_ms"].items()})

    def _follow(self, one):
        """Note what of the round has come to pass, and end it when all has."""
        if one.kind == "node":
            pid, shown_ns, _ = self._observer.shown[one.victim]
            one.shown_ns = shown_ns if pid not in one.pids else None
        elif one.kind == "supervisor":
            one.shown_ns = self._after(one, [HEALTH_TOPIC])
        one.back_ns = self._back_ns(one)
        is_shown = one.shown_ns is not None or one.kind not in ("node", "supervisor")
        if is_shown and one.back_ns is not None:
            self._end(one)
        elif self._now_ns() > one.killed_ns + _DEADLINE_NS:
            self.faults[f"{one.victim} was not back in {_DEADLINE_NS // NS_PER_S} s"] += 1
            self._end(one)

    def _back_ns(self, one):
        if one.kind == "reader":
            pid = self._stage.actors[one.victim].pid
            return None if pid in one.pids else self._readers_ns.get(pid)
        topics = {"node": [one.victim], "load": [TOPIC], "supervisor": self._observer.nodes}
        return self._after(one, topics[one.kind])

    def _after(self, one, topics):
        """When the last of the topics had a new publisher after the kill; None until all have."""
        times = [self._observer.new_ns.get(topic, 0) for topic in topics]
        return max(times) if min(times) > one.killed_ns else None

    def _end(self, one):
        del self.open[one.victim]
        self.done.append(one)
        for pid in one.pids & processes_of(self._stage.run_dir):
            self.faults[f"pid {pid} outlived {one.victim} ({one.kind})"] += 1

    def _pause_reader(self):
        """SIGSTOP for the reader that holds views, in the middle of the kills."""
        if "hold" not in self.open:
            self.pauses += 1
            os.kill(self._stage.actors["hold"].pid, signal.SIGSTOP)
            self._paused_until_ns = self._now_ns() + _PAUSE_NS

    def _resume_reader(self):
        if self._paused_until_ns and self._now_ns() >= self._paused_until_ns:
            self._paused_until_ns = 0
            os.kill(self._stage.actors["hold"].pid, signal.SIGCONT)
