"""The synchronizer against its peers on the same seeded streams: answers, waiting, CPU, memory.

    python -m benchmarks.sync                 everything, a few minutes
    python -m benchmarks.sync --seeds 1       quicker
    python -m benchmarks.sync --kinds         a line per scenario

Peers: the rules of ROS message_filters' Python ApproximateTimeSynchronizer and latest-value.
CPU per message is the median of several runs in this process, peers in the same run.
"""

import argparse
import gc
import platform
import time
import tracemalloc
from collections.abc import Callable
from statistics import mean, median

from benchmarks.sync_peers import ApproximateTime, LatestValue
from benchmarks.sync_scenarios import KINDS, MS, Event, S, Scenario, make
from benchmarks.sync_score import Aligner, Score, drive, score, synchronizer_for
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import StreamSpec

PEERS: dict[str, Callable[[Scenario], Aligner]] = {
    "fusion_rt": synchronizer_for,
    "approximate, queue 10": lambda s: ApproximateTime(list(s.rates_hz), s.reference, 10),
    "approximate, queue 50": lambda s: ApproximateTime(list(s.rates_hz), s.reference, 50),
    "latest value": lambda s: LatestValue(list(s.rates_hz), s.reference),
}


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0


def answers(seeds: int, by_kind: bool) -> None:
    """Coverage, completeness and waiting over all scenarios, one line per peer."""
    print(
        f"{len(KINDS)} scenarios x {seeds} seeds; budget 150 ms; silence: longest, recovery: worst"
    )
    head = f"{'':26}{'covered':>8}{'complete':>9}{'worst':>7}{'mispaired':>10}{'twice':>6}"
    print(head + f"{'over':>5}{'added p50/p99 ms':>18}{'silence s':>10}{'recovery s':>11}")
    for name, build in PEERS.items():
        scores = {
            kind: [_score(make(kind, seed), build) for seed in range(1, seeds + 1)]
            for kind in KINDS
        }
        print(_row(name, [s for each in scores.values() for s in each]))
        if by_kind:
            for kind, each in scores.items():
                print(_row(f"  {kind}", each))


def _score(scenario: Scenario, build: Callable[[Scenario], Aligner]) -> Score:
    return score(scenario, drive(build(scenario), scenario.arrivals()))


def _row(name: str, scores: list[Score]) -> str:
    kinds: dict[str, list[float]] = {}
    for each in scores:
        kinds.setdefault(each.kind, []).append(each.complete)
    mispaired = sum(s.mispaired for s in scores)
    p50 = mean(quantile(each.added_ms, 0.5) for each in scores)
    p99 = mean(quantile(each.added_ms, 0.99) for each in scores)
    return (
        f"{name:26}{mean(s.coverage for s in scores):7.1f} {mean(s.complete for s in scores):8.1f} "
        f"{min(mean(values) for values in kinds.values()):6.1f} {mispaired:9d} "
        f"{sum(s.repeated for s in scores):5d} {sum(s.over_budget for s in scores):4d} "
        f"{p50:11.1f} /{p99:5.1f} {max(s.silence_ms for s in scores) / 1000:9.2f} "
        f"{max(s.recovery_ms for s in scores) / 1000:10.2f}"
    )


def cpu_by_peer(runs: int) -> None:
    """Microseconds a message on the clean rig, pushes only."""
    scenario = make("clean", 1)
    events = scenario.arrivals()
    print(f"\nCPU, rig of 4 streams, {len(events)} messages, median of {runs}")
    figures = {
        name: median(_push_all(build(scenario), events) for _ in range(runs))
        for name, build in PEERS.items()
    }
    for name, us in figures.items():
        print(f"{name:26}{us:6.2f} us/message, {us / figures['fusion_rt']:5.2f} x ours")


def _push_all(aligner: Aligner, events: list[Event]) -> float:
    push = aligner.push
    gc.disable()
    begin_ns = time.perf_counter_ns()
    for event in events:
        push(event.stream, event.stamp_ns, event, event.arrival_ns)
    took_ns = time.perf_counter_ns() - begin_ns
    gc.enable()
    return took_ns / len(events) / 1000


def cpu_by_size(runs: int) -> None:
    """Whether the cost of a message stays flat with the number of streams and their rate."""
    print(f"\nCPU of fusion_rt by size, reference 10 Hz unless said, median of {runs}")
    shapes = {
        f"{k} streams, others 30 Hz": dict.fromkeys("abcdefg"[: k - 1], 30.0) for k in (2, 4, 8)
    }
    for hz in (10.0, 100.0, 1000.0):
        shapes[f"4 streams, others {hz:g} Hz"] = dict.fromkeys("abc", hz)
    for name, others in shapes.items():
        _print_size(name, {"reference": 10.0, **others}, runs)
    for hz in (10.0, 100.0, 1000.0):
        _print_size(
            f"4 streams, all {hz:g} Hz", {"reference": hz, **dict.fromkeys("abc", hz)}, runs
        )


def _print_size(name: str, rates_hz: dict[str, float], runs: int) -> None:
    seconds = max(2.0, 200 / max(rates_hz.values()))
    events = _regular(rates_hz, seconds)
    specs = [StreamSpec(n, hz, round(0.55 * S / hz)) for n, hz in rates_hz.items()]
    us = median(_push_all(Synchronizer(specs, "reference"), events) for _ in range(runs))
    print(f"{name:28}{us:6.2f} us/message")


def _regular(rates_hz: dict[str, float], seconds: float) -> list[Event]:
    events = []
    for place, (name, hz) in enumerate(rates_hz.items()):
        for k in range(int(seconds * hz)):
            stamp_ns = 10**18 + round((k + 0.1 * place) * S / hz)
            events.append(Event(name, stamp_ns, stamp_ns, stamp_ns + (20 + 3 * place) * MS, k))
    return sorted(events)


def memory(hours: float) -> None:
    """Heap growth over simulated hours of the rig, and the most messages held."""
    rates_hz = {"camera": 30.0, "lidar": 10.0, "audio": 50.0, "gps": 10.0}
    specs = [StreamSpec(name, hz, round(0.6 * S / hz)) for name, hz in rates_hz.items()]
    sync = Synchronizer(specs, "lidar")
    minute = _regular(rates_hz, 60.0)
    most_held = 0

    def run(minutes: range) -> None:
        nonlocal most_held
        for shift in minutes:
            for k, event in enumerate(minute):
                by_ns = shift * 60 * S
                sync.push(event.stream, event.stamp_ns + by_ns, k, event.arrival_ns + by_ns)
                if k % 500 == 0:
                    held = sum(state.held for state in sync.states().values())
                    most_held = max(most_held, held)

    run(range(2))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    run(range(2, 2 + round(60 * hours)))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(
        f"\nmemory: {grown / 1024:+.1f} KiB over {hours:g} simulated h, {most_held} messages held"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--kinds", action="store_true", help="a line per scenario")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}")
    answers(options.seeds, options.kinds)
    cpu_by_peer(options.runs)
    cpu_by_size(options.runs)
    memory(options.hours)


if __name__ == "__main__":
    main()
