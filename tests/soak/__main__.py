"""A long run of a whole rig under random faults: python -m tests.soak --minutes 30 --seed 1.

Sensors are played from memory, so that the simulator does not eat the cores. Prints what must hold
and what was found; exit code 1 when something does not.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
import psutil
import yaml

from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.bench.rig_run import running
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.faults import FaultFile
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.latency.row_file import read_rows
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.sync.synchronizer import STALL_PACE_NS
from fusion_rt.transport.subscriber import Subscriber
from tests.chaos.remains import processes_of
from tests.soak.judge import (
    Sample,
    answers_are_whole,
    every_frame_has_a_row,
    hops_sum_up,
    memory_is_flat,
)
from tests.soak.schedule import random_faults

REFERENCE = "lidar/top"
MOST_STEP_NS = STALL_PACE_NS + NS_PER_S // 10
"""Of a stall of everything the synchronizer cannot tell whose it is, and takes its time."""
SAMPLE_S = 5.0
SETTLE_S = 3.0


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="soak-") as short:
        findings = soak(arguments, Path(short), arguments.rows or Path(short, "kept"))
    for finding in findings:
        print(f"{'ok  ' if finding.holds else 'WRONG'} {finding.what}: {finding.found}")
    sys.exit(0 if all(finding.holds for finding in findings) else 1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rig", default="sim")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", type=float, default=6.0, help="seconds that are played in a loop")
    parser.add_argument("--without-faults", action="store_true")
    parser.add_argument(
        "--rows", type=Path, help="keep the ledger's rows and what memory was taken here"
    )
    return parser.parse_args()


def soak(arguments: argparse.Namespace, folder: Path, kept: Path) -> list:
    rig, seconds = load_rig(find_rig(arguments.rig)), arguments.minutes * 60
    files = prerender(rig, folder, arguments.loop, lambda topic: print(f"rendering {topic}"))
    path = write_rig(played_tree(rig, files), folder / "rig.yaml")
    forms = [] if arguments.without_faults else random_faults(list(files), seconds, arguments.seed)
    faults = FaultFile(seed=arguments.seed, faults=forms)
    (folder / "faults.yaml").write_text(yaml.safe_dump(msgspec.to_builtins(faults)))
    print(f"{len(forms)} faults in {arguments.minutes:g} minutes", flush=True)
    with running(path, folder, ["--faults", str(folder / "faults.yaml")]) as rig_run:
        heard, samples = listen(rig_run, seconds)
    shutil.copytree(folder / "rows", kept, dirs_exist_ok=True)
    (kept / "memory.json").write_bytes(msgspec.json.encode(samples))
    rows = list(read_rows(kept))
    return [
        answers_are_whole(rows, heard, REFERENCE, MOST_STEP_NS),
        every_frame_has_a_row(rows),
        hops_sum_up(rows, heard),
        memory_is_flat(samples, seconds),
    ]


def listen(rig_run, seconds):
    """(sequence number, reference time, sent) of every answer, and memory now and then."""
    clock, heard, samples = rig_run.clock, [], []
    start_ns = clock.now_ns()
    sample_due_ns = start_ns
    with Subscriber([FUSION_TOPIC], rig_run.session, clock, queue_depth=256) as subscriber:
        while (now_ns := clock.now_ns()) < start_ns + seconds * NS_PER_S:
            rig_run.check()
            arrival = subscriber.receive_header(200 * NS_PER_MS)
            if arrival is not None and arrival.recv_ns > start_ns + SETTLE_S * NS_PER_S:
                header = arrival.header
                heard.append((header.seq, header.stamp_ns, header.sent_ns))
            if now_ns >= sample_due_ns:
                sample_due_ns = now_ns + round(SAMPLE_S * NS_PER_S)
                samples += memory(rig_run.session.run_dir, (now_ns - start_ns) / NS_PER_S)
    return heard, samples


def memory(run_dir, at_s):
    """What each process of the rig has for itself; shared rings and code are not its growth."""
    found = []
    for pid in processes_of(run_dir):
        try:
            process = psutil.Process(pid)
            words = process.cmdline()
            name = words[words.index("--topic") + 1] if "--topic" in words else "supervisor"
            found.append(Sample(at_s, pid, name, process.memory_full_info().uss))
        except psutil.Error:  # it was just killed
            continue
    return found


if __name__ == "__main__":
    main()
