"""`bench latency`: a rig at a fixed rate, warm-up cut, simulated sensors played from memory."""

from collections.abc import Callable
from pathlib import Path

from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.bench.rig_run import log_end, running
from fusion_rt.bench.sustained import Trial, find_sustained
from fusion_rt.errors import BenchError, RecordingError
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.latency.summary import Run, Summary, read_run, summarise
from fusion_rt.rig import Rig

LOOP_S = 4.0
"""Rendered and played again and again: a 720p camera takes 80 MB of memory for each second."""
TRIAL_S = 8.0


class Bench:
    """One rig under measurement, in a folder of its own."""

    def __init__(
        self, rig: Rig, folder: Path, warm_up_s: float, say: Callable[[str], None]
    ) -> None:
        expect_fusion(rig)
        self._rig = rig
        self._folder = folder
        self._warm_up_s = warm_up_s
        self._say = say
        self._count = 0
        self._files = prerender(rig, folder, LOOP_S, lambda topic: say(f"rendering {topic}"))
        self.is_played = len(self._files) == len(rig.sensors)
        """Whether its rates can be changed."""

    def measure(self, seconds: float, speed: float = 1.0) -> Run:
        """The rig at `speed` for so long after the warm-up."""
        self._count += 1
        folder = self._folder / f"{self._count}"
        folder.mkdir()
        tree = played_tree(self._rig, self._files, speed)
        with running(write_rig(tree, folder / "rig.yaml"), folder) as rig_run:
            rig_run.wait_for_answer(FUSION_TOPIC)
            rig_run.wait(self._warm_up_s + seconds)
        try:
            return read_run(folder / "rows", self._warm_up_s)
        except RecordingError as error:
            raise BenchError(f"{error.problem} in {error.path}", log_end(folder)) from error

    def sustained(self, reference_hz: float, drop_limit: float) -> list[Trial]:
        """Trials of more and more speed; see `fusion_rt.bench.sustained`."""
        if not self.is_played:
            raise BenchError("the highest rate needs a rig whose sensors are all simulated")

        def trial(speed: float) -> Trial:
            one = trial_of(summarise(self.measure(TRIAL_S, speed)), speed, reference_hz, drop_limit)
            self._say(f"x{speed:g}: {100 * one.missing:.1f} % missing")
            return one

        return find_sustained(trial)


def expect_fusion(rig: Rig) -> None:
    """Refuse a rig that answers nothing, before anything is rendered."""
    if rig.fusion is None:
        raise BenchError(f"expected a rig that fuses, {rig.name} has no section `fusion`")


def trial_of(summary: Summary, speed: float, reference_hz: float, drop_limit: float) -> Trial:
    """Judge a run at `speed` against the answers that were due."""
    due = max(reference_hz * speed * summary.seconds, 1)
    missing = max(0.0, 1 - summary.complete * summary.answers / due)
    reaction = summary.whole.get("reaction")
    return Trial(
        speed=speed,
        answers_hz=summary.answers_hz,
        missing=round(missing, 4),
        p99_ms=reaction.p99_ms if reaction else None,
        is_sustained=missing <= drop_limit,
    )
