"""Frames that carry a checksum of their whole payload, and who judges what a reader was handed."""

import zlib
from collections import Counter

import numpy as np

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import CameraFrame

TOPIC = "camera/load"
RATE_HZ = 100
SIDE = 1024  # mono8: 1 MiB, so that a copy takes long enough to be torn
MAX_AGE_NS = 2 * NS_PER_S
"""Generous for a loaded machine; what is stale by mistake is older than any process lives."""
_CHECKSUM = "crc32"


def fill(image, noise, seq):
    """Another content in every byte than the frame before had: any mixture of two is caught."""
    np.bitwise_xor(noise, np.uint8(seq % 251 + 1), out=image)


def frame(image, stamp_ns):
    return CameraFrame(stamp_ns=stamp_ns, encoding="mono8", width=SIDE, height=SIDE, image=image)


def checksum_trace(image):
    """The checksum as a trace entry: it travels in the header, apart from the payload."""
    return ((_CHECKSUM, zlib.crc32(image)),)


def is_torn(header, image):
    return dict(header.trace)[_CHECKSUM] != zlib.crc32(image)


class Judge:
    """Holds each delivered message against those before it: order, incarnations, age."""

    def __init__(self, max_age_ns=MAX_AGE_NS):
        self.received = 0
        self.faults = Counter()
        self.ages_ms = Counter()
        self._max_age_ns = max_age_ns
        self._streams = {}

    def judge(self, header, now_ns, away_ns=0):
        """Take note of a message handed out at `now_ns`; returns whether its publisher is new.

        `away_ns`: how long the reader itself was stopped just before. What is newest to it may be
        as old, as a publisher may have died meanwhile.
        """
        self.received += 1
        age_ns = now_ns - header.stamp_ns
        self.ages_ms[max(age_ns - away_ns, 0) // NS_PER_MS] += 1
        if age_ns > self._max_age_ns + away_ns:
            self.faults[f"stale: {age_ns / NS_PER_S:.1f} s old on delivery"] += 1
        stream = self._streams.setdefault(header.topic, {"retired": set(), "incarnation": None})
        if header.incarnation in stream["retired"]:
            self.faults["a message of a replaced publisher"] += 1
            return False
        is_new = header.incarnation != stream["incarnation"]
        if is_new:
            stream["retired"].add(stream["incarnation"])
        elif header.seq <= stream["seq"]:
            self.faults["a message that was delivered before, or out of order"] += 1
        stream["incarnation"], stream["seq"] = header.incarnation, header.seq
        return is_new

    def torn(self):
        self.faults["torn: the checksum does not fit the payload"] += 1

    def account(self):
        """What was seen since the last account."""
        seen = {"received": self.received, "faults": self.faults, "ages_ms": self.ages_ms}
        self.received, self.faults, self.ages_ms = 0, Counter(), Counter()
        return seen
