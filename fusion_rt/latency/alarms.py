"""Live alarms: a budget's percentile over the last seconds, and misses in a row. Pure.

An alarm is a value when it is raised and another when it ends; between them it is silent.
"""

from collections.abc import Callable, Mapping

from fusion_rt.clock import NS_PER_MS
from fusion_rt.latency.budgets import Budget
from fusion_rt.latency.histogram import RecentValues
from fusion_rt.latency.rows import AlarmRow


class BudgetWatch:
    """Follows one budget."""

    def __init__(self, name: str, budget: Budget, window_ns: int, misses: int) -> None:
        self.name = name
        self.missed = 0
        """Values above the limit of the highest percentile, since the start."""
        self._budget = budget
        self._recent = RecentValues(window_ns)
        self._allowed = misses
        self._run = 0  # misses in a row, or below 0: values in a row that were none
        self._raised: dict[str, bool] = {}

    @property
    def is_raised(self) -> bool:
        return any(self._raised.values())

    def add(
        self, value_ns: int, at_ns: int, answer: int, blame: Callable[[], str]
    ) -> list[AlarmRow]:
        """Take in one value; `blame` is asked for its sentence only when an alarm changes."""
        self._recent.add(at_ns, value_ns)
        is_miss = value_ns > self._budget.worst_ns()
        self.missed += is_miss
        self._run = max(self._run, 0) + 1 if is_miss else min(self._run, 0) - 1
        found = []
        for kind, percent, limit_ns in self._rules():
            holds, seen_ns = self._judge(kind, percent, limit_ns, value_ns)
            key = f"{kind} {percent:g}"
            if holds is None or holds == self._raised.get(key, False):
                continue
            self._raised[key] = holds
            row = AlarmRow(
                budget=self.name,
                kind="misses" if kind == "misses" else "percentile",
                is_raised=holds,
                at_ns=at_ns,
                value_ns=seen_ns,
                limit_ns=limit_ns,
                answer=answer,
                text=self._text(kind, percent, holds, seen_ns, limit_ns, blame),
            )
            found.append(row)
        return found

    def _rules(self) -> list[tuple[str, float, int]]:
        limits = [("percentile", percent, ns) for percent, ns in self._budget.limits().items()]
        return [*limits, ("misses", 0, self._budget.worst_ns())]

    def _judge(
        self, kind: str, percent: float, limit_ns: int, value_ns: int
    ) -> tuple[bool | None, int]:
        """Whether the alarm holds (None: as before), and the value that says so."""
        if kind == "misses":
            if abs(self._run) < self._allowed:
                return None, value_ns
            return self._run > 0, value_ns
        # A percentile of few values is their maximum, which one hiccup settles.
        if len(self._recent) * (100 - percent) < 100:
            return None, value_ns
        seen_ns = self._recent.percentile_ns(percent) or 0
        return seen_ns > limit_ns, seen_ns

    def _text(
        self,
        kind: str,
        percent: float,
        holds: bool,
        seen_ns: int,
        limit_ns: int,
        blame: Callable[[], str],
    ) -> str:
        what = f"p{percent:g}" if kind == "percentile" else f"{self._allowed} in a row"
        value, limit = f"{seen_ns / NS_PER_MS:.1f} ms", f"{limit_ns / NS_PER_MS:g} ms"
        if not holds:
            return f"{self.name} {what}: {value}, within {limit} again"
        return f"{self.name} {what}: {value}, budget {limit}: {blame()}"


def watches_of(
    budgets: Mapping[str, Budget], window_ns: int, misses: int
) -> dict[str, BudgetWatch]:
    """A watch for each budget of a rig."""
    return {name: BudgetWatch(name, budget, window_ns, misses) for name, budget in budgets.items()}
