"""What decoding LiDARs costs, as a share of one core at 10 turns per second; cameras on request.

python benchmarks/decoders.py [--runs 5] [--seconds 4] [--live]
python benchmarks/decoders.py --cameras [--runs 5]

Packets are made up so that every shot comes back: the most there can be. `decode` is everything
between a packet in memory and a sweep in its loan; `live` adds the socket, fed at a sensor's pace
by another process. `peer` is velodyne-decoder on the same packets; `floor` copies them once.
"""

import argparse
import contextlib
import multiprocessing
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.lidar.cloud import Decoder
from fusion_rt.lidar.hesai import HesaiDecoder
from fusion_rt.lidar.options import LidarOptions
from fusion_rt.lidar.ouster import OusterDecoder
from fusion_rt.lidar.stream import Intake, open_lidar, sweeps_of
from fusion_rt.lidar.turns import Turn
from fusion_rt.lidar.velodyne import VelodyneDecoder
from fusion_rt.packets.datagram import Datagram
from tests.fuzz.lidar_packets import any_lasers
from tests.lidar_packets import hesai_packets, ouster_packets, ouster_unit, velodyne_packets


class Case(msgspec.Struct, frozen=True):
    """One sensor: its packets of some turns and how to decode them."""

    name: str
    packets: list[bytes]
    seconds: float
    """Of data."""
    make: Callable[[], Decoder]
    theirs: str | None = None
    """velodyne-decoder's name of the model."""


def cases(seconds: float) -> list[Case]:
    unit = ouster_unit("RNG19_RFL8_SIG16_NIR16", beams=128, columns=1024)
    packets_per_s = {"VLP-16": 753.5, "HDL-64E-S3": 2893.5, "VLS-128": 6253.9}
    velodynes = [
        Case(
            f"{model} dual" if is_dual else model,
            velodyne_packets(model, round(rate * seconds * (2 if is_dual else 1)), is_dual=is_dual),
            seconds,
            lambda model=model: VelodyneDecoder(model, any_lasers(64) if "64" in model else None),  # type: ignore[misc]
            {"VLP-16": "VLP16", "VLS-128": "VLS128"}.get(model),
        )
        for model, rate in packets_per_s.items()
        for is_dual in ((False, True) if model == "VLP-16" else (False,))
    ]
    hesai = [
        Case(
            model,
            hesai_packets(model, round(seconds * rate)),
            seconds,
            lambda model=model, lasers=lasers: HesaiDecoder(model, any_lasers(lasers)),  # type: ignore[misc]
        )
        for model, lasers, rate in (
            ("Pandar64", 64, 3000),
            ("XT32", 32, 2500),
            ("QT128", 128, 4500),
        )
    ]
    frames = round(seconds * 10)
    return [
        *velodynes,
        *hesai,
        Case("OS-1-128", ouster_packets(unit, frames), seconds, lambda: OusterDecoder(unit)),
    ]


@contextlib.contextmanager
def loan(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    yield np.empty(shape, dtype)


def decode_s(case: Case) -> float:
    """CPU seconds from packets in memory to sweeps in loans."""
    counters: Counter[str] = Counter()
    decoder = case.make()
    options = LidarOptions(driver="bench")
    port = DriverPort("lidar/top", RigClock(0), loan, counters)
    step_ns = round(case.seconds / len(case.packets) * NS_PER_S)
    intake = Intake(decoder, 0, counters)

    def turns() -> Iterator[Turn]:
        for n, packet in enumerate(case.packets):
            turn = intake.push(Datagram(10**18 + n * step_ns, packet))
            if turn is not None:
                yield turn

    started = time.process_time()
    points = sum(len(sweep.points) for sweep in sweeps_of(turns(), decoder, options, port) if sweep)
    spent = time.process_time() - started
    if not points or counters["packets"] != len(case.packets):
        raise SystemExit(f"{case.name}: decoded {points} points; counted {dict(counters)}")
    return spent


def floor_s(case: Case) -> float:
    started = time.process_time()
    for at in range(0, len(case.packets), 64):
        np.frombuffer(b"".join(case.packets[at : at + 64]), np.uint8).copy()
    return time.process_time() - started


def peer_s(case: Case) -> float | None:
    if case.theirs is None:
        return None
    try:
        import velodyne_decoder as theirs
    except ImportError:
        return None
    decoder = theirs.StreamDecoder(theirs.Config(model=getattr(theirs.Model, case.theirs)))
    started = time.process_time()
    for n, packet in enumerate(case.packets):
        decoder.decode(n * 1e-3, packet)
    return time.process_time() - started


def play(port: int, packets: list[bytes], seconds: float) -> None:
    clock, step_ns = RigClock(0), seconds / len(packets) * NS_PER_S
    start_ns = clock.now_ns()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n, packet in enumerate(packets):
            clock.sleep_until_ns(start_ns + round(n * step_ns))
            sender.sendto(packet, ("127.0.0.1", port))


def live_s(case: Case) -> tuple[float, Counter[str]]:
    """CPU seconds of receiving and decoding what another process sends at the sensor's pace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    counters: Counter[str] = Counter()
    port = DriverPort("lidar/top", RigClock.starting_now(), loan, counters)
    options = LidarOptions(driver="bench", listen="127.0.0.1", port=number)
    context = multiprocessing.get_context("fork")
    player = context.Process(target=play, args=(number, case.packets, case.seconds))
    with open_lidar(options, port, case.make, number) as sweeps:
        player.start()
        started = time.process_time()
        while player.is_alive():
            next(sweeps)
        spent = time.process_time() - started
    player.join()
    return spent, counters


def median_of(runs: int, measure: Callable[[], float | None]) -> float | None:
    values = [measure() for _ in range(runs)]
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def percent(seconds: float | None, case: Case) -> str:
    return f"{seconds / case.seconds:8.2%}" if seconds is not None else f"{'-':>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of data per run")
    parser.add_argument("--live", action="store_true", help="also over a socket, in real time")
    parser.add_argument("--cameras", action="store_true", help="cameras instead of LiDARs")
    arguments = parser.parse_args()
    if arguments.cameras:  # imported here: it needs the extra sensors
        from benchmarks.decoders_camera import print_table

        print_table(arguments.runs)
        return
    print(f"{'sensor':14} packets/s {'decode':>8} {'peer':>8} {'floor':>8}     live  lost")
    for case in cases(arguments.seconds):
        decode_s(case)  # warm
        shares = [
            percent(median_of(arguments.runs, lambda: measure(case)), case)  # noqa: B023
            for measure in (decode_s, peer_s, floor_s)
        ]
        live, lost = f"{'-':>8}", "-"
        if arguments.live:
            runs = [live_s(case) for _ in range(arguments.runs)]
            live = percent(statistics.median(spent for spent, _ in runs), case)
            lost = str(sum(len(case.packets) - counters["packets"] for _, counters in runs))
        rate = len(case.packets) / case.seconds
        print(f"{case.name:14} {rate:9.0f} {' '.join(shares)} {live} {lost:>5}", flush=True)


if __name__ == "__main__":
    main()
