"""One chaos run, from an empty directory to one that must be gone, and the account of it."""

import contextlib
import os
import statistics
import time
from collections import Counter

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import SessionError
from fusion_rt.session import attach_session
from fusion_rt.supervisor import HEALTH_TOPIC
from tests.chaos.cast import Stage
from tests.chaos.frames import TOPIC
from tests.chaos.observer import Observer
from tests.chaos.reader import HOWS
from tests.chaos.remains import Before, open_files
from tests.chaos.rounds import Killer

_START_S = 30
_MORE_FILES = 16
_MOST_FILES = 256
_LONGEST_GAP_MS = 3000


class ChaosRun:
    """Sets the stage, kills, clears the stage; `faults` says what should not have been."""

    def __init__(self, rounds, seed, *, is_tearing=False):
        self.faults = []
        self.report = {"rounds": rounds, "seed": seed}
        self._stage = Stage(is_tearing=is_tearing)
        self._before = Before()

    def run(self):
        started_s = time.monotonic()
        self.report["load_average"] = [os.getloadavg()[0]]
        try:
            with contextlib.closing(self._open()) as observer:
                self._wait_for_all(observer)
                self._hurt(observer)
                self._leave(observer)
            self.faults += self._before.faults_since(self._stage.run_dir)
            self.report["shared_memory_grew_mib"] = round(self._before.grown_mib(), 1)
        finally:
            for actor in self._stage.actors.values():
                actor.stop()
            self._stage.close()
        self.report["load_average"].append(os.getloadavg()[0])
        self.report["wall_s"] = round(time.monotonic() - started_s, 1)
        self.report["faults"] = self.faults
        return self.report

    def _open(self):
        self._stage.start_supervisor()
        due_s = time.monotonic() + _START_S
        while time.monotonic() < due_s:
            with contextlib.suppress(SessionError):
                observer = Observer(attach_session(self._stage.run_dir))
                self._stage.start_others()
                return observer
            time.sleep(0.02)
        raise TimeoutError(f"the rig did not start:\n{self._stage.log_path.read_text()}")

    def _wait_for_all(self, observer):
        due_s = time.monotonic() + _START_S
        while not self._is_complete(observer):
            observer.watch()
            if time.monotonic() > due_s:
                raise TimeoutError(f"not all came up:\n{self._stage.log_path.read_text()}")

    def _is_complete(self, observer):
        is_heard = {*observer.nodes, TOPIC, HEALTH_TOPIC} <= observer.new_ns.keys()
        return is_heard and all(observer.shown.get(n, (0, 0, 0))[2] for n in observer.nodes)

    def _hurt(self, observer):
        files = open_files(os.getpid())
        killer = Killer(self._stage, observer, self.report["seed"])
        killer.run(self.report["rounds"])
        self._expect(killer.faults, "rounds")
        self._expect(observer.judge.faults, "observer")
        grown, most = open_files(os.getpid()) - files, killer.most_files
        if grown > _MORE_FILES or most > _MOST_FILES:
            self.faults.append(f"open files: observer +{grown}, most of a victim {most}")
        gaps = observer.gaps_ms
        if max(gaps, default=0) > _LONGEST_GAP_MS:
            self.faults.append(f"a survivor was stalled for {max(gaps)} ms")
        for how in HOWS:
            if not killer.delivered[how] and not self.faults:
                self.faults.append(f"reader {how} was handed nothing")
        self.report |= {
            "back_ms": by_kind(killer.done, "back_ns"),
            "shown_ms": by_kind(killer.done, "shown_ns"),
            "bare_start_ms": spread(killer.bare_ms) if killer.bare_ms else {},
            "kinds": dict(Counter(one.kind for one in killer.done)),
            "pauses_of_5_s": killer.pauses,
            "delivered": dict(killer.delivered),
            "seen_by_observer": observer.judge.received,
            "age_ms": quantiles(killer.ages_ms),
            "survivor_gap_ms": quantiles(gaps),
            "open_files": {"observer_grew_by": grown, "most_of_a_victim": most},
        }

    def _leave(self, observer):
        """One more kill, of the supervisor: the rig must start again, and then end cleanly."""
        for name in ("load", *HOWS):
            self._stage.actors[name].stop()
        supervisor = self._stage.actors["supervisor"]
        supervisor.process.kill()
        supervisor.process.wait()
        supervisor.start()
        observer.new_ns.clear()
        observer.new_ns[TOPIC] = observer.clock.now_ns()
        self._wait_for_all(observer)
        code = supervisor.stop()
        if code != 0:
            self.faults.append(f"the supervisor ended with code {code}")

    def _expect(self, faults, who):
        self.faults += [f"{who}: {what} ({count} times)" for what, count in faults.items()]


def by_kind(rounds, field):
    """Milliseconds from the kill to the field's instant: all, and per kind of victim."""
    values = {}
    for one in rounds:
        at_ns = getattr(one, field)
        if at_ns is not None:
            for kind in ("all", one.kind):
                values.setdefault(kind, []).append((at_ns - one.killed_ns) // NS_PER_MS)
    return {kind: spread(found) for kind, found in sorted(values.items())}


def spread(values):
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "median": statistics.median(ordered),
        "p90": ordered[len(ordered) * 9 // 10],
        "max": ordered[-1],
        "over_1_s": sum(value > NS_PER_S // NS_PER_MS for value in ordered),
    }


def quantiles(counts):
    """Of a histogram in milliseconds."""
    total, seen, found = sum(counts.values()), 0, {}
    for value in sorted(counts):
        seen += counts[value]
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
            if seen >= share * total:
                found.setdefault(name, value)
    return found | {"count": total}
