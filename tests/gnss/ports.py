"""What the tests hand to sensor drivers."""

from collections import Counter
from contextlib import nullcontext

import numpy as np

from fusion_rt.clock import NS_PER_S, Clock, SettableClock
from fusion_rt.drivers.port import DriverPort

START_NS = 1_700_000_000 * NS_PER_S


def port(topic: str = "gps/main", clock: Clock | None = None) -> DriverPort:
    """A port of its own, on a clock that stands still unless another is given."""
    clock = clock or SettableClock(START_NS)
    return DriverPort(
        topic, clock, lambda shape, dtype: nullcontext(np.empty(shape, dtype)), Counter()
    )
