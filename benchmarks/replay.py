"""How fast logs are read and decided on: beside reading the bytes alone, in one run.

    python -m benchmarks.replay [LOG] [--rounds 5] [--model DIR]

Without a log, one is made: the demo rig at full size, 30 s. Figures are seconds of log per
second of this thread's CPU, and their ratio to the floor.

With a model also `--asap` beside the bare model, by the clock: the very calls that a replay of the
log's first seconds makes (preprocessing, encoders, fusion; pictures decoded before, everything in
memory), one after another in one thread and nothing else; then the whole replay of those seconds;
in turns, and the ratio is taken within each turn. On a machine with other work the ratio by the CPU
time of the thread that fuses says what the same replay comes to where its reader has a free core.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from fusion_rt.clock import NS_PER_S
from fusion_rt.logs.entry import entry
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from fusion_rt.perception import Perception
from fusion_rt.replay.open import Networks, opened_replay
from fusion_rt.replay.plan import DECISIONS, ReplayOptions
from fusion_rt.replay.run import Replay, Slice, whole
from fusion_rt.rig import find_rig, load_rig

SECONDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="also --asap beside this model, bare")
    parser.add_argument("--seconds", type=float, default=6, help="of the log, with a model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = arguments.log or make(Path(folder, "drive.mcap"))
        measure(log, arguments.rounds)
        if arguments.model:
            measure_model(log, arguments.model, arguments.rounds, arguments.seconds)


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


def measure_model(path: Path, model: str, rounds: int, seconds: float) -> None:
    calls: list[Callable[[], object]] = []
    bare, whole = [], []
    with first_seconds(path, model, seconds) as (first, perception):
        keep_calls(perception, calls)
        drain(first.answers())
        for _ in range(rounds):
            bare.append(spent_s(lambda: drain(call() for call in calls)))
            with first_seconds(path, model, seconds) as (again, _):
                whole.append(spent_s(partial(drain, again.answers())))
    print(f"asap with {Path(model).name}: {seconds:g} s of log, {len(calls)} calls of the model")
    for n, kind in enumerate(("by the clock", "by CPU of the thread that fuses")):
        ratios = [one[n] / other[n] for one, other in zip(bare, whole, strict=True)]
        print(
            f"{kind:31} bare {statistics.median(one[n] for one in bare):.2f} s, "
            f"replay {statistics.median(one[n] for one in whole):.2f} s: "
            f"{statistics.median(ratios):.1%} of the bare model's throughput "
            f"({min(ratios):.1%} to {max(ratios):.1%}, {rounds} rounds)"
        )


@contextmanager
def first_seconds(path: Path, model: str, seconds: float) -> Iterator[tuple[Replay, Perception]]:
    """Of the log's first seconds, loaded and warm."""
    with LogReader(path) as log, Networks() as networks:
        end_ns = min(whole(log).end_ns, log.start_ns + round(seconds * NS_PER_S))
        part = Slice(log.start_ns, end_ns)
        replay = opened_replay(log, ReplayOptions(model=model), networks, part)
        yield replay, networks._opened


def keep_calls(perception: Perception, calls: list[Callable[[], object]]) -> None:
    """From now on every call of the model is kept, with copies of what it was given."""
    for name in ("encode_camera", "encode_lidar", "encode_audio", "fuse"):
        setattr(perception, name, keeping(getattr(perception, name), calls))


def keeping(
    work: Callable[..., object], calls: list[Callable[[], object]]
) -> Callable[..., object]:
    def run(*given: object, **named: object) -> object:
        own = [each.copy() if isinstance(each, np.ndarray) else each for each in given]
        calls.append(partial(work, *own, **named))
        return work(*given, **named)

    return run


def drain(items: Iterable[object]) -> None:
    for _ in items:
        pass


def spent_s(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of this thread's CPU."""
    start, start_cpu = time.perf_counter(), time.thread_time()
    work()
    return time.perf_counter() - start, time.thread_time() - start_cpu


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
        drain(log.messages(topics))


def replay(path: Path) -> None:
    with LogReader(path) as log, Networks() as networks:
        drain(opened_replay(log, ReplayOptions(model=DECISIONS), networks).answers())


def seek_ms(path: Path) -> float:
    start = time.perf_counter()
    with LogReader(path) as log:
        next(log.messages(start_ns=(log.start_ns + log.end_ns) // 2))
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
