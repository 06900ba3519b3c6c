"""One LiDAR driver on a clock that stands still until the driver waits."""

import itertools
from collections import Counter
from typing import Any

import msgspec
import numpy as np

from fusion_rt.clock import NS_PER_S, Clock, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.messages import LidarSweep
from tests.test_drivers_synthetic import Loans

START_NS = 1_800_000_000 * NS_PER_S


class LidarBench:
    """A driver by its name, opened with options as a rig file gives them."""

    def __init__(self, name: str, clock: Clock | None = None, **options: Any) -> None:
        self.clock = clock or SettableClock(START_NS)
        self.loans = Loans()
        self.counters: Counter[str] = Counter()
        port = DriverPort("lidar/top", self.clock, self.loans, self.counters)
        driver = find_driver(name, "lidar")
        self.messages = driver.open(
            msgspec.convert({"driver": name, **options}, driver.options), port
        )

    def take(self, count: int) -> list[LidarSweep | None]:
        """The next messages, copied out of their loans, with the checks every one must pass."""
        with self.messages as messages:
            return [_kept(message) for message in itertools.islice(messages, count)]

    def sweeps(self, count: int) -> list[LidarSweep]:
        """The next sweeps, read deadlines left out."""
        with self.messages as messages:
            found = (_kept(message) for message in messages)
            return list(itertools.islice((one for one in found if one is not None), count))


def _kept(message: Any) -> LidarSweep | None:
    if message is None:
        return None
    assert isinstance(message, LidarSweep)
    assert message.problem() is None
    points = message.points.copy()
    assert np.isfinite(points).all()
    if len(points):
        assert points[:, 4].max() <= 0
        assert 0 <= points[:, 3].min() <= points[:, 3].max() <= 1
    return msgspec.structs.replace(message, points=points)
