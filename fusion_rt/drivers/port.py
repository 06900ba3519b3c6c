"""The door every sensor driver enters by: bytes or frames in, stamped messages out.

A driver module declares `DRIVERS`, one `Driver` per kind of sensor it serves. `open` returns a
context manager whose value iterates over messages, or None when its read deadline passed without
data: a driver never blocks longer than `READ_DEADLINE_NS` and never raises for bad data, which it
counts by cause in `port.counters`. It stamps first and decodes after.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, Clock
from fusion_rt.messages import Message

READ_DEADLINE_NS = 500 * NS_PER_MS


class Loan(Protocol):
    """Lends an uninitialised array that the transport publishes without a copy.

    The array is the driver's until the message that holds it was yielded and taken back.
    """

    def __call__(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> AbstractContextManager[npt.NDArray[Any]]: ...


class DriverPort(msgspec.Struct, frozen=True):
    """What a node hands its driver."""

    topic: str
    clock: Clock
    loan: Loan
    counters: Counter[str]


class SensorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every sensor entry of a rig file may say; drivers add their own fields."""

    driver: str
    rate_hz: float | None = None
    """Expected message rate; the topic kind's usual rate when absent."""
    frame: str | None = None
    """Frame of reference of the measurements; the topic's name after the slash when absent."""


Messages = AbstractContextManager[Iterator[Message | None]]


class Driver(msgspec.Struct, frozen=True):
    """One way to get messages of one kind: its options in the rig file and how to open it."""

    options: type[SensorOptions]
    open: Callable[[Any, DriverPort], Messages]
