"""LiDAR node: publishes the sweeps of the device that the rig names, as LidarSweep."""

from collections.abc import Iterable

from fusion_rt.messages import LidarSweep
from fusion_rt.node import start_node
from fusion_rt.transport.publisher import Publisher

EMPTY_SWEEPS = "empty_sweeps"
"""Counter of sweeps in which no beam came back: a covered window, or a motor that stands still."""


def run(sweeps: Iterable[LidarSweep], publisher: Publisher) -> None:
    for sweep in sweeps:
        if not len(sweep.points):
            publisher.counters[EMPTY_SWEEPS] += 1
        publisher.publish(sweep)


def main() -> None:
    with start_node() as node, node.open_driver(LidarSweep) as sweeps:
        run(node.until_stopped(sweeps), node.publisher)


if __name__ == "__main__":
    main()
