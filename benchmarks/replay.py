"""How fast logs are read and decided on: beside reading the bytes alone, in one run.

    python -m benchmarks.replay [LOG] [--rounds 5] [--model DIR]

Without a log, one is made: the demo rig at full size, 30 s. Figures are seconds of log per
second of this thread's CPU, and their ratio to the floor.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fusion_rt.clock import NS_PER_S
from fusion_rt.faults import FaultSchedule
from fusion_rt.logs.entry import entry
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from fusion_rt.replay.lockstep import DecisionsOnly
from fusion_rt.replay.open import opened_fusion
from fusion_rt.replay.plan import plan_of, rig_of
from fusion_rt.replay.run import Replay, whole
from fusion_rt.rig import find_rig, load_rig

SECONDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="also the share of its networks in a replay")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = arguments.log or make(Path(folder, "drive.mcap"))
        measure(log, arguments.rounds)
        if arguments.model:
            measure_model(log, arguments.model, arguments.rounds)


def make(path: Path) -> Path:
    rng = np.random.default_rng(1)
    jpeg = rng.integers(0, 256, 306 * 1024, np.uint8)
    jpeg[:2] = 0xFF, 0xD8
    points = rng.uniform(-50, 50, (100_000, 5)).astype(np.float32)
    sound = np.zeros((320, 4), np.int16)
    made = {
        "camera/front": (
            30,
            lambda t: CameraFrame(stamp_ns=t, encoding="jpeg", width=1920, height=1080, image=jpeg),
        ),
        "lidar/top": (10, lambda t: LidarSweep(stamp_ns=t, points=points)),
        "audio/array": (
            50,
            lambda t: AudioChunk(stamp_ns=t, samples=sound, rate_hz=16_000, first_sample=0),
        ),
        "gps/main": (10, lambda t: GpsFix(stamp_ns=t, fix="3d")),
    }
    times = sorted(
        (NS_PER_S + n * NS_PER_S // hz, topic, n)
        for topic, (hz, _) in made.items()
        for n in range(SECONDS * hz)
    )
    with LogWriter(path, logged_rig(load_rig(find_rig("demo")))) as log:
        for t, topic, seq in times:
            message = made[topic][1](t)
            log.write(entry(topic, message, seq=seq, sent_ns=t, recv_ns=t))
    return path


def measure(path: Path, rounds: int) -> None:
    with LogReader(path) as log:
        seconds = (log.end_ns - log.start_ns) / NS_PER_S
    ways: dict[str, Callable[[], object]] = {
        "read the bytes": lambda: read_bytes(path),
        "read GPS alone": lambda: read(path, ["gps/main"]),
        "read all messages": lambda: read(path, None),
        "replay, decisions": lambda: replay(path),
    }
    costs: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            costs[way].append(cpu_s(work))
    size = path.stat().st_size / 1e6
    load = os.getloadavg()[0]
    print(f"{seconds:.0f} s, {size:.0f} MB; load {load:.1f} on {os.cpu_count()} cores; medians")
    floor = statistics.median(costs["read the bytes"])
    for way, each in costs.items():
        cost = statistics.median(each)
        print(
            f"{way:20} x{seconds / cost:7.0f}   {size / cost:6.0f} MB/s   {cost / floor:5.1f} floor"
        )
    print(f"seek to the middle   {seek_ms(path):.1f} ms until the first message, by the clock")


def measure_model(path: Path, model: str, rounds: int) -> None:
    """By the clock, in one thread: what the machine could do without reading and deciding."""
    shares: dict[str, list[float]] = {"networks": [], "model": []}
    whole_s = []
    for _ in range(rounds):
        spent, in_all_s, sets = replay_with(path, model)
        whole_s.append(in_all_s)
        for name, seconds in spent.items():
            shares[name].append(seconds / in_all_s)
    networks, whole_model = (statistics.median(each) for each in shares.values())
    print(
        f"asap with {Path(model).name}: {sets} sets, {statistics.median(whole_s):.1f} s; "
        f"{whole_model:.1%} of the throughput of the model with its preprocessing, "
        f"{networks:.1%} of that of its networks alone"
    )


def replay_with(path: Path, model: str) -> tuple[dict[str, float], float, int]:
    """Seconds inside the networks and inside the model, seconds in all, and sets."""
    with LogReader(path) as log:
        rig = rig_of(log, model)
        plan, part = plan_of(rig, log), whole(log)
        topics = [stream.topic for stream in plan.streams]
        spent = {"networks": 0.0, "model": 0.0}
        with opened_fusion(plan, rig.calibration, part.start_ns) as fusion:
            perception = fusion._fuser._perception
            for engine in perception.engines.values():
                engine.run = timed(engine.run, spent, "networks")
            for name in ("encode_camera", "encode_lidar", "encode_audio", "fuse"):
                setattr(perception, name, timed(getattr(perception, name), spent, "model"))
            start = time.perf_counter()
            run = Replay(log, topics, fusion, part, FaultSchedule())
            sets = sum(1 for _ in run.answers())
            return spent, time.perf_counter() - start, sets


def timed(work: Callable[..., object], spent: dict[str, float], name: str) -> Callable[..., object]:
    def run(*arguments: object, **named: object) -> object:
        start = time.perf_counter()
        try:
            return work(*arguments, **named)
        finally:
            spent[name] += time.perf_counter() - start

    return run


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def read_bytes(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def read(path: Path, topics: list[str] | None) -> None:
    with LogReader(path) as log:
        for _ in log.messages(topics):
            pass


def replay(path: Path) -> None:
    with LogReader(path) as log:
        plan, part = plan_of(rig_of(log), log), whole(log)
        topics = [stream.topic for stream in plan.streams]
        fusion = DecisionsOnly(plan, part.start_ns)
        run = Replay(log, topics, fusion, part, FaultSchedule())
        for _ in run.answers():
            pass


def seek_ms(path: Path) -> float:
    start = time.perf_counter()
    with LogReader(path) as log:
        next(log.messages(start_ns=(log.start_ns + log.end_ns) // 2))
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
