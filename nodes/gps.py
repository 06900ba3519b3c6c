"""GPS node: publishes the solutions of the receiver that the rig names, as GpsFix."""

from collections.abc import Iterable

from fusion_rt.messages import GpsFix
from fusion_rt.node import start_node
from fusion_rt.transport.publisher import Publisher

WITHOUT_POSITION = "without_position"
"""Counter of solutions that have none: published all the same, the receiver is alive."""


def run(fixes: Iterable[GpsFix], publisher: Publisher) -> None:
    for fix in fixes:
        if fix.fix == "none":
            publisher.counters[WITHOUT_POSITION] += 1
        publisher.publish(fix)


def main() -> None:
    with start_node() as node, node.open_driver(GpsFix) as fixes:
        run(node.until_stopped(fixes), node.publisher)


if __name__ == "__main__":
    main()
