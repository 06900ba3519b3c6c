"""Holds a measured run against another, and against budgets: what CI asks of a benchmark. Pure."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from fusion_rt.config import Problems, checked
from fusion_rt.errors import ConfigError
from fusion_rt.latency.budgets import Budget, LatencyOptions, budgets_in_ms, check_budgets
from fusion_rt.latency.summary import Percentiles, Summary
from fusion_rt.yaml_file import read_yaml

NOISE_MS = 1.0
"""Less than this is the scheduler's, whatever the ratio."""
_COMPARED = ("p50_ms", "p99_ms")


class GateFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Budgets beside those of the rig, for one benchmark."""

    budgets: dict[str, Budget]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One percentile of one duration, before and now."""

    name: str
    percentile: str
    before_ms: float
    now_ms: float
    is_worse: bool
    """Beyond the tolerance."""

    @property
    def ratio(self) -> float:
        if self.now_ms == self.before_ms:
            return 1.0
        return self.now_ms / self.before_ms if self.before_ms else float("inf")


def compare(before: Summary, now: Summary, tolerance: float) -> list[Change]:
    """Every duration that both runs measured; `tolerance` is a share of the value before."""
    pairs = [(f"stage {name}", before.stages[name], one) for name, one in now.stages.items()
             if name in before.stages]  # fmt: skip
    whole = [(name, before.whole[name], one) for name, one in now.whole.items()
             if name in before.whole]  # fmt: skip
    return [change for pair in (*whole, *pairs) for change in _changes(*pair, tolerance)]


def read_summary(path: Path) -> Summary:
    """What an earlier run left with `--json`; raises ConfigError when it is something else."""
    way_out = "write one with `fusion-rt bench latency RIG --json FILE`"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except OSError as error:
        raise ConfigError(str(path), "", error.strerror or "cannot be read", way_out) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(str(path), "", f"expected a measured run: {error}", way_out) from error


def read_gate(path: Path, topics: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Budgets in milliseconds by percentile, by name; raises with everything that is wrong."""
    file = read_yaml(path)
    problems = Problems(file)
    gate = checked(file.tree, GateFile, (), problems)
    if gate is not None:
        check_budgets(LatencyOptions(budgets=gate.budgets), topics, problems)
    if gate is None or problems.errors:
        raise problems.as_error()
    return budgets_in_ms(gate.budgets)


def _changes(
    name: str, before: Percentiles, now: Percentiles, tolerance: float
) -> Iterator[Change]:
    for percentile in _COMPARED:
        old, new = getattr(before, percentile), getattr(now, percentile)
        if old is None or new is None:
            continue
        yield Change(
            name=name,
            percentile=percentile.removesuffix("_ms"),
            before_ms=old,
            now_ms=new,
            is_worse=new - old > max(tolerance * old, NOISE_MS),
        )
