"""What recording costs: CPU of the recorder, and what it does to messages on their way to fuse.

    python -m benchmarks.record [--seconds 10] [--rounds 3]

The rig is three 1080p cameras as JPEG at 30 Hz, a LiDAR of 2 MB at 10 Hz, four microphones and GPS:
48.6 MB/s. One process publishes, one consumes headers and payloads as fusion does, one records.
CPU is the process's own time, so that it means something on a busy machine; the hop is compared
with rounds without a recorder in between. `benchmarks.record_latency` says what answers pay.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from fusion_rt.clock import NS_PER_S
from fusion_rt.logs.read import LogReader
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message
from fusion_rt.session import Session, Setup, attach_session, start_session
from fusion_rt.topics import heartbeat_topic
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber

RATES_HZ = {
    "camera/left": 30,
    "camera/front": 30,
    "camera/right": 30,
    "lidar/top": 10,
    "audio/array": 50,
    "gps/main": 10,
}
JPEG_BYTES = 306 * 1024
POINTS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish is not None:
        publish(attach_session(arguments.publish), arguments.seconds)
        return
    rounds = [measure(arguments.seconds, ways) for _ in range(arguments.rounds) for ways in WAYS]
    show(rounds)


WAYS: tuple[dict[str, object] | None, ...] = (
    None,
    {"compression": "none"},
    {"compression": "lz4"},
    {"compression": "none", "fsync": True},
)


def publish(session: Session, seconds: float) -> None:
    """Everything from one process: what is measured is the others."""
    clock, payloads = session.clock(), messages()
    start_ns = clock.now_ns() + NS_PER_S // 10
    due = sorted(
        (start_ns + n * NS_PER_S // hz, topic)
        for topic, hz in RATES_HZ.items()
        for n in range(round(seconds * hz))
    )
    with ExitStack() as stack:
        publishers = {
            topic: stack.enter_context(Publisher(topic, session, clock)) for topic in RATES_HZ
        }
        for due_ns, topic in due:
            clock.sleep_until_ns(due_ns)
            publishers[topic].publish(payloads[topic](clock.now_ns()))


def messages() -> dict:
    rng = np.random.default_rng(1)
    jpeg = rng.integers(0, 256, JPEG_BYTES, np.uint8)
    jpeg[:2] = 0xFF, 0xD8
    points = rng.uniform(-50, 50, (POINTS, 5)).astype(np.float32)
    sound = rng.integers(-3000, 3000, (960, 4), np.int16)

    def camera(now_ns: int) -> Message:
        return CameraFrame(stamp_ns=now_ns, encoding="jpeg", width=1920, height=1080, image=jpeg)

    return {
        "camera/left": camera,
        "camera/front": camera,
        "camera/right": camera,
        "lidar/top": lambda now_ns: LidarSweep(stamp_ns=now_ns, points=points),
        "audio/array": lambda now_ns: AudioChunk(
            stamp_ns=now_ns, samples=sound, rate_hz=48_000, first_sample=0
        ),
        "gps/main": lambda now_ns: GpsFix(stamp_ns=now_ns, fix="3d"),
    }


def measure(seconds: float, record: dict[str, object] | None) -> dict[str, object]:
    folder = Path(tempfile.mkdtemp(prefix="fusion_rt-record-"))
    entries = {topic: {"driver": "synthetic"} for topic in RATES_HZ}
    options = {"folder": str(folder / "logs"), "min_free_mb": 1, **(record or {})}
    setup = Setup(sensors=entries, record=options)
    try:
        with (
            start_session(folder / "run", "bench", setup) as session,
            ExitStack() as stack,
        ):
            recorder = None if record is None else stack.enter_context(started_recorder(session))
            before = cpu_s(recorder)
            hops = consume(session, seconds)
            spent = cpu_s(recorder) - before
        return {
            "way": name_of(record),
            "cpu": spent / seconds,
            "p50": statistics.median(hops) / 1e6,
            "p99": float(np.percentile(hops, 99)) / 1e6,
            "recorded": recorded(folder / "logs") if record else None,
        }
    finally:
        shutil.rmtree(folder)


class started_recorder:
    """The recorder as the supervisor starts it, ready; stopped at the end."""

    def __init__(self, session: Session) -> None:
        command = [sys.executable, "-m", "fusion_rt.nodes.record", "--topic", "record"]
        with Subscriber([heartbeat_topic("record")], session, session.clock()) as inbox:
            self._popen = subprocess.Popen([*command, "--run-dir", session.run_dir])
            while (beat := inbox.receive(30 * NS_PER_S)) and beat.message.state != "ready":
                pass

    def __enter__(self) -> psutil.Process:
        return psutil.Process(self._popen.pid)

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        self._popen.wait()


def cpu_s(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return times.user + times.system


def consume(session: Session, seconds: float) -> list[int]:
    """Hops of everything, in nanoseconds, while a publisher runs."""
    command = [sys.executable, "-m", "benchmarks.record", "--seconds", str(seconds)]
    hops: list[int] = []
    with Subscriber(RATES_HZ, session, session.clock()) as inbox:
        publisher = subprocess.Popen([*command, "--publish", session.run_dir])
        while publisher.poll() is None:
            if (received := inbox.receive(NS_PER_S // 10)) is not None:
                hops.append(received.recv_ns - received.header.sent_ns)
    return hops


def recorded(folder: Path) -> tuple[int, float]:
    with LogReader(folder) as log:
        count = sum(log.streams()[topic].messages for topic in RATES_HZ if topic in log.streams())
    return count, sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def name_of(record: dict[str, object] | None) -> str:
    if record is None:
        return "no recorder"
    return f"{record['compression']}{', fsync' if record.get('fsync') else ''}"


def show(rounds: list[dict[str, object]]) -> None:
    load = os.getloadavg()[0]
    print(f"load of the machine {load:.1f} on {os.cpu_count()} cores; medians")
    print("| way | CPU of one core | hop p50 ms | hop p99 ms | p99 / without | MB |")
    print("|---|---|---|---|---|---|")
    ways = list(dict.fromkeys(row["way"] for row in rounds))
    plain = middle(rounds, ways[0], "p99")
    for way in ways:
        sizes = [row["recorded"][1] for row in rounds if row["way"] == way and row["recorded"]]
        size = f"{statistics.median(sizes):.0f}" if sizes else ""
        p99 = middle(rounds, way, "p99")
        print(
            f"| {way} | {middle(rounds, way, 'cpu'):.1%} | {middle(rounds, way, 'p50'):.2f} "
            f"| {p99:.2f} | {p99 / plain:.2f} | {size} |"
        )


def middle(rounds: list[dict[str, object]], way: str, field: str) -> float:
    return statistics.median(float(row[field]) for row in rounds if row["way"] == way)


if __name__ == "__main__":
    main()
