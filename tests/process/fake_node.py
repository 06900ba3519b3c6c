"""A node that behaves as badly as a test wants: HOW, then the words of any node."""

import signal
import sys

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.messages import GpsFix, MountingCheck
from fusion_rt.node import start_node

CLOCK = RigClock.starting_now()


def fixes():
    while True:
        CLOCK.sleep_until_ns(CLOCK.now_ns() + 100 * NS_PER_MS)
        yield GpsFix(stamp_ns=CLOCK.now_ns(), fix="3d")


def checks():
    for fix in fixes():
        yield MountingCheck(
            stamp_ns=fix.stamp_ns, camera="camera/a", lidar="lidar/a", pairs=9, warning="it moved"
        )


def main():
    how = sys.argv.pop(1)
    if how == "crashing":
        sys.exit(3)
    with start_node() as node:
        if how == "never_ready":
            CLOCK.sleep_until_ns(CLOCK.now_ns() + 60 * NS_PER_S)
        if how == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for message in node.until_stopped(checks() if how == "warning" else fixes()):
            node.publisher.publish(message)


if __name__ == "__main__":
    main()
