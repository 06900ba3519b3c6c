"""Camera node: publishes the images of the device that the rig names, as CameraFrame."""

from collections.abc import Iterable

from fusion_rt.messages import CameraFrame
from fusion_rt.node import start_node
from fusion_rt.transport.publisher import Publisher


def run(frames: Iterable[CameraFrame], publisher: Publisher) -> None:
    for frame in frames:
        publisher.publish(frame)


def main() -> None:
    with start_node() as node, node.open_driver(CameraFrame) as frames:
        run(node.until_stopped(frames), node.publisher)


if __name__ == "__main__":
    main()
