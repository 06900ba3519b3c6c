"""Mounting node: says now and then whether cameras and LiDARs still sit as they were calibrated."""

from collections.abc import Iterable

import cv2

from fusion_rt.calibrate.mounting_watch import checks, topics_of, watches_of
from fusion_rt.messages import MountingCheck
from fusion_rt.node import start_node
from fusion_rt.transport.publisher import Publisher


def run(found: Iterable[MountingCheck], publisher: Publisher) -> None:
    for check in found:
        publisher.publish(check)


def main() -> None:
    cv2.setNumThreads(1)  # beside the sensors, not in their way
    with start_node() as node, node.subscribe(topics_of(node.session)) as inbox:
        found = checks(watches_of(node.session), inbox, node.clock)
        run(node.until_stopped(found), node.publisher)


if __name__ == "__main__":
    main()
