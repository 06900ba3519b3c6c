"""The chaos rig's own publisher: 1 MiB frames at 100 Hz, each with the checksum of its payload."""

import argparse
from pathlib import Path

import numpy as np

from fusion_rt.clock import NS_PER_S
from fusion_rt.node import die_with
from fusion_rt.session import attach_session
from fusion_rt.transport.publisher import Publisher
from tests.chaos.frames import RATE_HZ, SIDE, TOPIC, checksum_trace, fill, frame


def publish_frames(session, *, is_tearing):
    clock = session.clock()
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    with Publisher(TOPIC, session, clock, "load") as publisher:
        seq, due_ns = 0, clock.now_ns()
        while True:
            seq, due_ns = seq + 1, max(due_ns + NS_PER_S // RATE_HZ, clock.now_ns())
            clock.sleep_until_ns(due_ns)
            with publisher.loan(noise.shape, np.uint8) as image:
                fill(image, noise, seq)
                trace, still_writable = checksum_trace(image), image.view()
                publisher.publish(frame(image, clock.now_ns()), trace=trace)
                if is_tearing:  # write on in a slot that is the readers' now
                    fill(still_writable, noise, seq + 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tear", action="store_true", help="publish frames that must be caught")
    arguments = parser.parse_args()
    die_with(arguments.parent)
    publish_frames(attach_session(arguments.run_dir), is_tearing=arguments.tear)


if __name__ == "__main__":
    main()
