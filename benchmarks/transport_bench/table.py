"""The results as text."""

from collections.abc import Iterable

import numpy as np

from transport_bench.claims import Claim
from transport_bench.results import Results

_HEADINGS = (
    "transport",
    "stream",
    "n",
    "p50",
    "p99",
    "p99.9",
    "max",
    "x floor",
    "msg/s",
    "lost %",
    "CPU %",
    "torn",
)
_WIDTHS = (16, 12, 7, 8, 8, 8, 8, 8, 9, 7, 6, 5)


def print_results(results: Results) -> None:
    print("\n" + ", ".join(f"{name} {value}" for name, value in results.machine.items()))
    for scenario, title in results.titles.items():
        print(f"\n{scenario}: {title} (us, one way)")
        _print_row(_HEADINGS)
        for transport in results.transports(scenario):
            for stream in results.streams(scenario, transport):
                _print_row(_row(results, scenario, transport, stream))
    for (scenario, transport), reason in results.failures.items():
        print(f"failed: {scenario} {transport}: {reason}")
    _print_foreign(results)


def print_claims(claims: Iterable[Claim]) -> None:
    print()
    for claim in claims:
        verdict = "holds " if claim.holds else "MISSED"
        print(f"{verdict} {claim.text}: {claim.measured:.2f} x, limit {claim.limit:.2f}")


def _row(results: Results, scenario: str, transport: str, stream: str) -> list[str]:
    outcomes = results.outcomes(scenario, transport)
    sent = sum(outcome.sent[stream] for outcome in outcomes)
    lost = sum(outcome.lost[stream] for outcome in outcomes)
    return [
        transport,
        stream,
        str(sum(len(outcome.latency_us[stream]) for outcome in outcomes)),
        _number(results.percentile_us(scenario, transport, stream, 50)),
        _number(results.percentile_us(scenario, transport, stream, 99)),
        _number(results.pooled_us(scenario, transport, stream, 99.9)),
        _number(results.pooled_us(scenario, transport, stream, 100)),
        _number(results.ratio(scenario, transport, "floor", stream)),
        _number(float(np.median([outcome.received_hz[stream] for outcome in outcomes]))),
        f"{100 * lost / sent:.1f}" if sent else "-",
        _number(float(np.median([outcome.cpu_pct for outcome in outcomes]))),
        str(sum(outcome.torn for outcome in outcomes)),
    ]


def _print_foreign(results: Results) -> None:
    foreign = [
        outcome.foreign_pct
        for scenario in results.titles
        for transport in results.transports(scenario)
        for outcome in results.outcomes(scenario, transport)
    ]
    if foreign:
        p50, p90 = np.percentile(foreign, (50, 90))
        verdict = "quiet" if p90 < 25 else "BUSY: take these numbers as a smoke test only"
        print(f"\nforeign CPU, % of a core: median {p50:.0f}, p90 {p90:.0f}, ", end="")
        print(f"max {max(foreign):.0f} -> {verdict}")


def _print_row(cells: Iterable[str]) -> None:
    listed = zip(cells, _WIDTHS, strict=True)
    print("  ".join(cell.ljust(w) if w > 9 else cell.rjust(w) for cell, w in listed))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"
