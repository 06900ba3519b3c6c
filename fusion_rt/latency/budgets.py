"""Latency budgets as a rig file states them, checked before the first message."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.config import Problems, known_names, shown
from fusion_rt.latency.rows import STAGES

WHOLE = ("end_to_end", "end_to_end_newest", "answer_age", "reaction")
"""Budgets of an answer as a whole; see `fusion_rt.latency.critical_path.quantities`."""

LimitMs = Annotated[float, msgspec.Meta(gt=0, le=600_000)]


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits by percentile; at least one."""

    p50_ms: LimitMs | None = None
    p90_ms: LimitMs | None = None
    p99_ms: LimitMs | None = None
    p999_ms: LimitMs | None = None

    def __post_init__(self) -> None:
        limits = list(self.limits().values())
        if not limits:
            raise ValueError("expected at least one of p50_ms, p90_ms, p99_ms, p999_ms")
        if limits != sorted(limits):
            text = ", ".join(f"{limit / NS_PER_MS:g}" for limit in limits)
            raise ValueError(f"expected limits that rise with the percentile, got {text} ms")

    def limits(self) -> dict[float, int]:
        """Nanoseconds by percentile, ascending."""
        stated = {50: self.p50_ms, 90: self.p90_ms, 99: self.p99_ms, 99.9: self.p999_ms}
        return {
            percent: round(limit_ms * NS_PER_MS)
            for percent, limit_ms in stated.items()
            if limit_ms is not None
        }

    def worst_ns(self) -> int:
        """The limit of the highest percentile: more than this is a miss."""
        return max(self.limits().values())


class LatencyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `latency` of a rig file."""

    budgets: Annotated[
        dict[str, Budget],
        msgspec.Meta(description="by what they limit: end_to_end, reaction, STAGE or STAGE TOPIC"),
    ] = {}
    misses: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="in a row, for an alarm")] = 5
    window_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30
    """Percentiles are judged over so long, once there are enough values for them."""
    keep_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 256
    """Of rows on disk; the oldest half goes first."""
    prometheus_port: (
        Annotated[int, msgspec.Meta(ge=0, le=65_535, description="on loopback; 0: any free one")]
        | None
    ) = None

    @property
    def window_ns(self) -> int:
        return round(self.window_s * NS_PER_S)


def check_budgets(options: LatencyOptions, topics: Iterable[str], problems: Problems) -> None:
    """Every budget must limit something that the rig has."""
    known = set(topics)
    for name in options.budgets:
        stage, _, topic = name.partition(" ")
        place = ("latency", "budgets", name)
        if not topic and stage not in (*WHOLE, *STAGES):
            problems.add(place, "unknown budget", known_names(stage, (*WHOLE, *STAGES)))
        elif topic and stage not in STAGES:
            problem = f"expected STAGE TOPIC, got the stage {shown(stage)}"
            problems.add(place, problem, known_names(stage, STAGES))
        elif topic and topic not in known:
            problem = f"expected a sensor of this rig, got {shown(topic)}"
            problems.add(place, problem, known_names(topic, known))


def budgets_in_ms(budgets: dict[str, Budget]) -> dict[str, dict[str, float]]:
    """As a run's information holds them: `{"end_to_end": {"50": 80.0, "99": 150.0}}`."""
    return {
        name: {f"{percent:g}": limit / NS_PER_MS for percent, limit in budget.limits().items()}
        for name, budget in budgets.items()
    }
