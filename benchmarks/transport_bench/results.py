"""All rounds of all runs, and the figures taken from them.

A percentile is the median over rounds of each round's own, and so is a ratio: both sides of it come
from the same round. The highest ones, p99.9 and max, are of all rounds together, because a round
holds too few messages for them.
"""

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np

from transport_bench.run import Outcome
from transport_bench.streams import Scenario

Key = tuple[str, str]
"""Scenario and transport."""


class Results:
    """Outcomes by scenario, transport and round."""

    def __init__(self, machine: dict[str, str]) -> None:
        self.machine = machine
        self.failures: dict[Key, str] = {}
        self.titles: dict[str, str] = {}
        self._rounds: dict[Key, dict[int, Outcome]] = {}

    def add(self, scenario: Scenario, transport: str, round_number: int, outcome: Outcome) -> None:
        self.titles[scenario.name] = scenario.title
        self._rounds.setdefault((scenario.name, transport), {})[round_number] = outcome

    def add_failure(self, scenario: Scenario, transport: str, reason: str) -> None:
        self.titles[scenario.name] = scenario.title
        self.failures[scenario.name, transport] = reason

    def transports(self, scenario: str) -> list[str]:
        return [transport for name, transport in self._rounds if name == scenario]

    def streams(self, scenario: str, transport: str) -> list[str]:
        return list(self.outcomes(scenario, transport)[0].latency_us)

    def outcomes(self, scenario: str, transport: str) -> list[Outcome]:
        return list(self._rounds.get((scenario, transport), {}).values())

    def percentile_us(
        self, scenario: str, transport: str, stream: str, percent: float
    ) -> float | None:
        """Median over rounds; None when there is nothing."""
        return _median(self._by_round(scenario, transport, stream, percent).values())

    def pooled_us(self, scenario: str, transport: str, stream: str, percent: float) -> float | None:
        parts = [outcome.latency_us[stream] for outcome in self.outcomes(scenario, transport)]
        pooled = np.concatenate(parts) if parts else np.empty(0)
        return float(np.percentile(pooled, percent)) if len(pooled) else None

    def ratio(
        self, scenario: str, transport: str, other: str, stream: str, percent: float = 50
    ) -> float | None:
        """Of the transport to the other; None unless both were measured in one round."""
        own = self._by_round(scenario, transport, stream, percent)
        theirs = self._by_round(scenario, other, stream, percent)
        return _median(own[number] / theirs[number] for number in own if number in theirs)

    def ratio_of_scenarios(
        self, transport: str, place: tuple[str, str], other: tuple[str, str]
    ) -> float | None:
        """p50 of one (scenario, stream) to another's, same transport, by round."""
        own = self._by_round(place[0], transport, place[1], 50)
        theirs = self._by_round(other[0], transport, other[1], 50)
        return _median(own[number] / theirs[number] for number in own if number in theirs)

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "failures": [
                {"scenario": scenario, "transport": transport, "reason": reason}
                for (scenario, transport), reason in self.failures.items()
            ],
            "runs": [
                _run_as_json(scenario, transport, number, outcome)
                for (scenario, transport), rounds in self._rounds.items()
                for number, outcome in rounds.items()
            ],
        }

    def _by_round(
        self, scenario: str, transport: str, stream: str, percent: float
    ) -> dict[int, float]:
        rounds = self._rounds.get((scenario, transport), {})
        return {
            number: float(np.percentile(outcome.latency_us[stream], percent))
            for number, outcome in rounds.items()
            if len(outcome.latency_us.get(stream, ()))
        }


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None


def _run_as_json(scenario: str, transport: str, number: int, outcome: Outcome) -> dict[str, Any]:
    streams = {
        stream: {
            "sent": outcome.sent[stream],
            "lost": outcome.lost[stream],
            "received_hz": outcome.received_hz[stream],
            **_percentiles(outcome, stream),
        }
        for stream in outcome.latency_us
    }
    return {
        "scenario": scenario,
        "transport": transport,
        "round": number,
        "streams": streams,
        "torn": outcome.torn,
        "skipped": outcome.skipped,
        "failed": outcome.failed,
        "cpu_pct": outcome.cpu_pct,
        "foreign_pct": outcome.foreign_pct,
        "notes": list(outcome.notes),
    }


def _percentiles(outcome: Outcome, stream: str) -> dict[str, float]:
    samples = outcome.latency_us[stream]
    if not len(samples):
        return {}
    wanted = {"p50_us": 50.0, "p99_us": 99.0, "p99_9_us": 99.9, "max_us": 100.0}
    return {name: float(np.percentile(samples, percent)) for name, percent in wanted.items()}
