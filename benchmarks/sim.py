"""What the simulator costs: cores per sensor in real time, and training samples per second.

    python benchmarks/sim.py [--quick]

CPU time of this one thread, median over the moments of a drive, so that a busy machine matters
little; the floor beside it is Embree casting as many rays, in the same run.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fusion_rt.calibration_file import Calibration
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.sim.beams import BEAM_TABLES, directions
from fusion_rt.sim.casting import Target
from fusion_rt.sim.drive import Drive
from fusion_rt.sim.meshes import join
from fusion_rt.sim.samples import samples
from fusion_rt.sim.scenario import load_scenario
from fusion_rt.sim.streams import LidarStream


@contextmanager
def own(shape, dtype):
    yield np.empty(shape, dtype)


def cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000


def real_time(scenario: str, seconds: float) -> None:
    rig = load_rig(find_rig("sim"))
    drive = Drive(rig, load_scenario(scenario), 1)
    total = 0.0
    print(f"{scenario}, {seconds:g} s of drive, each sensor as in the rig `sim`")
    for topic, stream in drive.streams.items():
        costs, points = [], []
        for shot in stream.schedule.between(0, round(seconds * 1e9)):

            def make(shot=shot, stream=stream):
                with stream.message(shot, 0, own):
                    pass

            costs.append(cpu_ms(make))
            if isinstance(stream, LidarStream):
                points.append(len(stream.object_ids))
        rate_hz = len(costs) / seconds
        share = statistics.fmean(costs) * rate_hz / 1000
        total += share
        note = (
            f"  {statistics.median(points):.0f} points per sweep, least {min(points)}"
            if points
            else ""
        )
        median, p99 = statistics.median(costs), float(np.percentile(costs, 99))
        print(
            f"  {topic:13} {rate_hz:5.1f} Hz  median {median:6.2f} ms  p99 {p99:6.2f} ms"
            f"  {share:5.1%} of a core{note}"
        )
    print(f"  {'all four':13} {'':32} {total:16.1%} of a core")


def floor(scenario: str) -> None:
    """Embree alone: the rays of one sweep at the houses of the same city."""
    drive = Drive(load_rig(find_rig("sim")), load_scenario(scenario), 1)
    target = Target(join(drive.world.city.blocks))
    ways = directions(BEAM_TABLES["hdl64"], 1200).reshape(-1, 3)
    pose = drive.world.ego(16 * 10**9).pose
    origins = np.tile(np.array([pose.x_m, pose.y_m, 1.8], np.float32), (len(ways), 1))
    costs = [cpu_ms(lambda: target.cast(origins, ways)) for _ in range(7)]
    print(f"  floor: Embree casts {len(ways)} rays in {statistics.median(costs):.1f} ms")


def training(calibration: Calibration, count: int) -> None:
    made = samples(calibration, 1)
    next(made)
    start = time.process_time()
    last = next(itertools.islice(made, count - 1, None))
    spent_s = time.process_time() - start
    rays = 32 * 512
    print(f"training samples, random worlds: {count / spent_s:.1f} per second and core")
    print(
        f"  image {last.image.shape}, {rays} rays, sound {last.audio.shape}, worlds built included"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scenario", default="urban_day")
    arguments = parser.parse_args()
    real_time(arguments.scenario, 5 if arguments.quick else 30)
    floor(arguments.scenario)
    root = Path(__file__).parents[1]
    rig = load_rig(root / "calibration" / "rigs" / "sim.yaml")
    training(rig.calibration, 60 if arguments.quick else 300)


if __name__ == "__main__":
    main()
