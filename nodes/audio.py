"""Audio node: publishes the sound of the array that the rig names, as AudioChunk."""

from collections.abc import Iterable

from fusion_rt.messages import AudioChunk
from fusion_rt.node import start_node
from fusion_rt.transport.publisher import Publisher

LOST_SAMPLES = "lost_samples"
"""Counter of samples that the device took but never delivered: each hole blurs a bearing."""


def run(chunks: Iterable[AudioChunk], publisher: Publisher) -> None:
    next_sample: int | None = None
    for chunk in chunks:
        if next_sample is not None and chunk.first_sample > next_sample:
            publisher.counters[LOST_SAMPLES] += chunk.first_sample - next_sample
        next_sample = chunk.first_sample + len(chunk.samples)
        publisher.publish(chunk)


def main() -> None:
    with start_node() as node, node.open_driver(AudioChunk) as chunks:
        run(node.until_stopped(chunks), node.publisher)


if __name__ == "__main__":
    main()
