"""Rival pieces of work timed in turns, so that what else the machine does falls on all alike."""

import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Timing:
    name: str
    median_us: float
    p99_us: float


def timed_in_turns(
    rivals: dict[str, Callable[[], object]], rounds: int, warm_up: int = 5
) -> list[Timing]:
    """Median and p99 of each, over `rounds` in which every rival runs once.

    The order is drawn anew each round: who follows a big rival finds its caches cold.
    """
    order = random.Random(0)
    names = list(rivals)
    for work in rivals.values():
        for _ in range(warm_up):
            work()
    spent: dict[str, list[int]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            work = rivals[name]
            start = time.perf_counter_ns()
            work()
            spent[name].append(time.perf_counter_ns() - start)
    return [
        Timing(name, float(np.median(ns)) / 1e3, float(np.percentile(ns, 99)) / 1e3)
        for name, ns in spent.items()
    ]


def table(title: str, timings: list[Timing], base: str) -> str:
    """A Markdown table; the ratio is time over the time of `base`."""
    unit = next(timing.median_us for timing in timings if timing.name == base)
    lines = [f"### {title}", "", f"| | median us | p99 us | x {base} |", "|---|---|---|---|"]
    for t in timings:
        lines.append(
            f"| {t.name} | {t.median_us:.1f} | {t.p99_us:.1f} | {t.median_us / unit:.2f} |"
        )
    return "\n".join([*lines, ""])


def machine() -> str:
    """Processor and load, for the line above a table."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = Path("/proc/loadavg").read_text().split()[0]
    return f"{cpu}, load {load}, Python {platform.python_version()}, NumPy {np.__version__}"
