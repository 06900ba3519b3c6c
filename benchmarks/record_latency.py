"""What recording adds to the rig's answers.

    python -m benchmarks.record_latency [--pairs 15] [--seconds 10] [--json F]

One rig runs throughout, as `fusion-rt run` starts it, its sensors rendered before and played at
real pace. A recorder is started beside it and stopped again, in pairs of spans of `--seconds` with
and without, which of them comes first taking turns; what lies between (starting, settling) is left
out. So both kinds meet the same processes and the same machine, minute by minute.

Of each kind all answers with every member are pooled; how many lacked one is stated. Stated are the
50th and 99th percentile of what the ledger says, the ratio with / without, and the 95 % interval of
the ratio over pairs drawn anew 2000 times: an interval that holds both 1.00 and 1.05 has decided
nothing, take more pairs.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import psutil

from benchmarks.rounds import machine
from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.bench.rig_run import RigRun, running
from fusion_rt.clock import NS_PER_MS
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.latency.critical_path import quantities
from fusion_rt.latency.rows import AnswerRow
from fusion_rt.latency.summary import read_run
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.recorder import LEDGER, Ledger
from fusion_rt.model_file import find_model
from fusion_rt.rig import find_rig, load_rig

LOOP_S, WARM_UP_S, SETTLE_S = 4.0, 5.0, 2.0
SHOWN = ("end_to_end", "answer_age", "reaction")
DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rig", default="sim")
    parser.add_argument("--model", default=None, help="instead of the rig's own")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=10, help="of each span")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to record to")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="record-", dir=arguments.folder) as name:
        found = measured(arguments, Path(name))
    print_table(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


def measured(arguments: argparse.Namespace, folder: Path) -> dict:
    spans: list[tuple[bool, int, int]] = []
    recorders: list[dict] = []
    with running(played_rig(arguments, folder), folder / "run") as rig_run:
        rig_run.wait_for_answer(FUSION_TOPIC)
        rig_run.wait(WARM_UP_S)
        for number in range(2 * arguments.pairs):
            is_recorded = number % 4 in (1, 2)
            with recording(rig_run, folder / "logs", recorders) if is_recorded else nullcontext():
                rig_run.wait(SETTLE_S)
                begin_ns = rig_run.clock.now_ns()
                rig_run.wait(arguments.seconds)
                spans.append((is_recorded, begin_ns, rig_run.clock.now_ns()))
    answers = [one for one in read_run(folder / "run" / "rows").answers if one.members]
    whole = [one for one in answers if not one.missing]
    pairs = in_pairs(spans, whole)
    if not all(len(kind) for pair in pairs for kind in pair):
        problem = f"{len(whole)} of {len(answers)} answers had every member"
        raise SystemExit(f"expected some in every span, {problem}: no core to spare here")
    return {
        "machine": machine(),
        "pairs": arguments.pairs,
        "seconds": arguments.seconds,
        "share of answers with every member": len(whole) / len(answers),
        "answers without, with": [sum(map(len, kind)) for kind in zip(*pairs, strict=True)],
        "percentiles": {name: compared(pairs, n) for n, name in enumerate(SHOWN)},
        "recorder": {name: mean(recorders, name) for name in recorders[0]},
    }


def played_rig(arguments: argparse.Namespace, folder: Path) -> Path:
    rig = load_rig(find_rig(arguments.rig))
    files = prerender(rig, folder, LOOP_S, lambda topic: print(f"rendering {topic}"))
    tree = played_tree(rig, files)
    tree.pop("record", None)
    if arguments.model:
        model = str(find_model(arguments.model, Path.cwd()))
        tree["fusion"] = {**(tree.get("fusion") or {}), "model": model}
    return write_rig(tree, folder / "rig.yaml")


@contextmanager
def recording(rig_run: RigRun, folder: Path, notes: list[dict]) -> Iterator[None]:
    """Handed out once it writes; what it cost and lost is added to `notes`."""
    command = [sys.executable, "-m", "fusion_rt", "record", "--run-dir", rig_run.session.run_dir]
    with subprocess.Popen([*command, rig_run.session.rig, "-o", str(folder)]) as process:
        try:
            while not list(folder.glob("*.mcap")):
                rig_run.wait(0.1)
            begun, begun_s = cpu_s(process.pid), time.monotonic()
            yield
            share = (cpu_s(process.pid) - begun) / (time.monotonic() - begun_s)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    with LogReader(folder) as log:
        *_, last = log.rows(LEDGER, Ledger)
    received = sum(topic.received for topic in last.topics.values())
    lost = sum(sum(topic.drops.values()) for topic in last.topics.values())
    notes.append({"share of a core": share, "messages": received, "lost": lost})
    shutil.rmtree(folder)


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def in_pairs(
    spans: list[tuple[bool, int, int]], answers: list[AnswerRow]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Milliseconds (answers, SHOWN) of each pair, without and with a recorder."""
    rows = [[quantities(one)[name] for name in SHOWN] for one in answers]
    times = np.array(rows).reshape(-1, len(SHOWN)) / NS_PER_MS
    published_ns = np.array([one.published_ns for one in answers])
    kinds: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for is_recorded, begin_ns, end_ns in spans:
        is_inside = (published_ns >= begin_ns) & (published_ns < end_ns)
        kinds[is_recorded].append(times[is_inside])
    return list(zip(kinds[False], kinds[True], strict=True))


def compared(pairs: list[tuple[np.ndarray, np.ndarray]], column: int) -> dict:
    chosen = [tuple(kind[:, column] for kind in pair) for pair in pairs]
    rng = np.random.default_rng(1)
    found = {}
    for percentile in (50, 99):
        without, recorded = at(chosen, percentile)
        drawn = [
            at([chosen[n] for n in rng.integers(0, len(chosen), len(chosen))], percentile)
            for _ in range(DRAWS)
        ]
        ratios = [other / one for one, other in drawn]
        low, high = np.percentile(ratios, [2.5, 97.5])
        found[f"p{percentile}"] = {
            "without ms": without,
            "with ms": recorded,
            "ratio": recorded / without,
            "95 %": [float(low), float(high)],
        }
    return found


def at(pairs: list, percentile: int) -> tuple[float, float]:
    """The percentile of all that the pairs hold, without and with."""
    without, recorded = (np.concatenate(kind) for kind in zip(*pairs, strict=True))
    return float(np.percentile(without, percentile)), float(np.percentile(recorded, percentile))


def mean(notes: list[dict], name: str) -> float:
    return float(np.mean([each[name] for each in notes]))


def print_table(found: dict) -> None:
    counts = " and ".join(str(count) for count in found["answers without, with"])
    print(
        f"\n{found['machine']}\n{found['pairs']} pairs of spans of {found['seconds']:g} s, ", end=""
    )
    print(f"{counts} answers without and with a recorder\n")
    print("| | without ms | with ms | ratio | 95 % of the ratio |\n|---|---|---|---|---|")
    for name, percentiles in found["percentiles"].items():
        for percentile, one in percentiles.items():
            low, high = one["95 %"]
            print(
                f"| {name} {percentile} | {one['without ms']:.1f} | {one['with ms']:.1f} "
                f"| {one['ratio']:.3f} | {low:.3f} to {high:.3f} |"
            )
    recorder = found["recorder"]
    print(
        f"\nrecorder: {recorder['share of a core']:.1%} of a core; of {recorder['messages']:.0f} "
        f"messages a span it lost {recorder['lost']:.1f}"
    )


if __name__ == "__main__":
    main()
