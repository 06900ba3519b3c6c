"""Takes a sensor's lateness, as calibrated, out of its stamps: between its driver and its node.

This is the only place that does, so that what is published, synchronized, recorded and replayed is
stamped in rig time once and for all.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, TypeVar

import msgspec

from fusion_rt.clock import NS_PER_MS
from fusion_rt.drivers.port import DriverPort
from fusion_rt.messages import Message

MOVED = "stamps_moved"
"""Counter of messages whose stamp was moved by the offset of the calibration."""

M = TypeVar("M", bound=Message)
OpenDriver = Callable[[DriverPort], AbstractContextManager[Iterator[M | None]]]


class TimeOffset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How late a sensor's own stamps are against another's: subtract `offset_ms` to agree."""

    against: str
    """The other sensor's frame; its own offset, if it has one, counts too."""
    offset_ms: Annotated[float, msgspec.Meta(ge=-10_000, le=10_000)]
    drift_ppm: Annotated[float, msgspec.Meta(ge=-10_000, le=10_000)] = 0.0
    """As measured. Not applied: it says that the two clocks want a common source."""


def chain_of(offsets: Mapping[str, TimeOffset], frame: str) -> list[str]:
    """From a frame to the one whose stamps are right, or until it comes round."""
    chain = [frame]
    while chain[-1] in offsets:
        against = offsets[chain[-1]].against
        chain.append(against)
        if against in chain[:-1]:
            break
    return chain


def lateness_ns(offsets: Mapping[str, TimeOffset], frame: str) -> int:
    """By how much a frame's own stamps are late, all in all; 0 where nothing is said of it."""
    late = (offsets[one].offset_ms for one in chain_of(offsets, frame)[:-1])
    return round(sum(late) * NS_PER_MS)


def in_time(opened: "OpenDriver[M]", late_ns: int, counters: Counter[str]) -> "OpenDriver[M]":
    """A driver's `open` whose messages are stamped that much earlier."""

    @contextmanager
    def open_driver(port: DriverPort) -> Iterator[Iterator[M | None]]:
        with opened(port) as messages:
            yield (_moved(message, late_ns, counters) for message in messages)

    return open_driver


def _moved(message: M | None, late_ns: int, counters: Counter[str]) -> M | None:
    """The same message, arrays and all, with another stamp."""
    if message is None:
        return None
    counters[MOVED] += 1
    return msgspec.structs.replace(message, stamp_ns=max(0, message.stamp_ns - late_ns))
