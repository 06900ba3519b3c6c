"""What is left of the answers without idle cores: python -m benchmarks.overload [--seconds 20].

A rig is played from memory by its own nodes, first alone, then with a busy loop beside it on each
core, then alone again. For each stretch of time, from the ledger: how many references were answered
and how many of the answers were whole (every stream in them), and how old they were when they left.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.rounds import machine
from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.bench.rig_run import running
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.latency.rows import AnswerRow
from fusion_rt.latency.summary import read_run
from fusion_rt.rig import find_rig, load_rig

LOOP_S, SETTLE_S = 4.0, 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rig", default="sim")
    parser.add_argument("--seconds", type=float, default=20, help="of each stretch")
    parser.add_argument("--loops", type=int, default=os.cpu_count(), help="busy loops beside it")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overload-") as short:
        found = measure(arguments, Path(short))
    print(json.dumps(found, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


def measure(arguments: argparse.Namespace, folder: Path) -> dict:
    rig = load_rig(find_rig(arguments.rig))
    files = prerender(rig, folder, LOOP_S, lambda topic: print(f"rendering {topic}"))
    path = write_rig(played_tree(rig, files), folder / "rig.yaml")
    stretches = {}
    with running(path, folder) as run:
        run.wait_for_answer(FUSION_TOPIC)
        for name, loops in (("alone", 0), ("beside", arguments.loops), ("alone again", 0)):
            with busy(loops):
                run.wait(SETTLE_S)
                begin_ns = run.clock.now_ns()
                run.wait(arguments.seconds)
                stretches[name] = begin_ns, run.clock.now_ns()
    answers = read_run(folder / "rows").answers
    streams = sum(1 for topic in rig.sensors if topic.partition("/")[0] != "gps")
    found = {
        name: summary([a for a in answers if begin_ns <= a.reference_ns < end_ns], streams)
        for name, (begin_ns, end_ns) in stretches.items()
    }
    return {"machine": machine(), "busy loops": arguments.loops, **found}


def summary(answers: list[AnswerRow], streams: int) -> dict:
    """Of the answers to the references of one stretch; GPS is always at hand and not counted."""
    span_s = (answers[-1].reference_ns - answers[0].reference_ns) / NS_PER_S
    whole = [a for a in answers if len([m for m in a.members if "gps/" not in m.topic]) == streams]
    looked = [a for a in answers if any("gps/" not in member.topic for member in a.members)]
    return {
        "answers a second": round((len(answers) - 1) / span_s, 2),
        "fused a second": round(len(looked) / span_s, 2),
        "whole a second": round(len(whole) / span_s, 2),
        "whole of fused": round(len(whole) / max(len(looked), 1), 3),
        "age of all, ms p50 p99": ages_ms(answers),
        "age of whole, ms p50 p99": ages_ms(whole),
    }


def ages_ms(answers: list[AnswerRow]) -> list[float]:
    ages = [(a.published_ns - a.reference_ns) / NS_PER_MS for a in answers]
    return [round(float(np.percentile(ages, q)), 1) for q in (50, 99)] if ages else []


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing else than run."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
