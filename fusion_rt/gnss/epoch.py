"""Assembles the parts of one epoch into one solution, and tells when it is complete.

Receivers send several sentences about each solution and most never say which is the last. It is
learned: what ended the last epochs ends this one. Where that fails, the first part of the next
epoch, or a pause, ends it. So each epoch gives one solution, without waiting a period for it.
"""

from collections import Counter

from fusion_rt.gnss.solution import Solution

REPEATED = "repeated_sentences"
"""Counter of sentences that came twice for one time: the receiver is stuck, or a link echoes."""
AFTER_END = "late_sentences"
"""Counter of sentences that came after their epoch had been taken for complete."""

_TIMES_TO_TRUST = 2
_TIMES_TO_MISTRUST = 3
_MANY_ALIKE = ("GSA",)  # one per constellation, under one name


class EpochAssembler:
    """Merges parts in the order they came; the same receiver may call by several talkers."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._solution: Solution | None = None
        self._is_given_out = False
        self._is_by_pause = False
        self._wrong_pauses = 0
        self._seen: set[str] = set()
        self._last = ""
        self._times_last: Counter[str] = Counter()

    def add(self, part: Solution) -> list[Solution]:
        """The solutions that `part` completes: that before it, or its own, or both."""
        done = []
        if self._solution is None or self._is_of_next(self._solution, part):
            done += self.end()
            self._begin(part)
        elif not self._continue(self._solution, part):
            return done
        self._seen.add(part.source)
        self._last = part.source
        if part.is_end or self._times_last[part.source] >= _TIMES_TO_TRUST:
            done += self._give_out()
        return done

    def pause(self) -> list[Solution]:
        """The solution that a pause in the stream completes, if pauses do here."""
        if self._wrong_pauses >= _TIMES_TO_MISTRUST:
            return []
        self._is_by_pause = True
        return self._give_out()

    def end(self) -> list[Solution]:
        """The solution under way: nothing of it follows."""
        if self._solution is not None:
            self._times_last[self._last] += 1
        done = self._give_out()
        self._solution = None
        return done

    def _begin(self, part: Solution) -> None:
        self._solution = part
        self._is_given_out = self._is_by_pause = False
        self._seen = set()

    def _continue(self, solution: Solution, part: Solution) -> bool:
        if part.source in self._seen and not part.source.endswith(_MANY_ALIKE):
            self._counters[REPEATED] += 1
            return False
        self._times_last[self._last] = 0  # something followed, so it does not end an epoch
        if self._is_given_out:
            self._counters[AFTER_END] += 1
            self._wrong_pauses += self._is_by_pause
        else:
            solution.merge(part)
        return True

    def _is_of_next(self, solution: Solution, part: Solution) -> bool:
        if part.epoch is not None and solution.epoch is not None:
            return part.epoch != solution.epoch
        if part.source not in self._seen:
            return False
        return part.source != self._last or not part.source.endswith(_MANY_ALIKE)

    def _give_out(self) -> list[Solution]:
        if self._solution is None or self._is_given_out:
            return []
        self._is_given_out = True
        return [self._solution] if self._solution.is_solution else []
