"""Keeps a driver at a device that may come and go: unplugged is a sensor loss, not an end."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort

log = logging.getLogger(__name__)
T = TypeVar("T")

RECONNECTS = "reconnects"
"""Counter of times that a device was there again after it had been lost."""


def reconnecting(
    open_device: Callable[[], AbstractContextManager[Iterator[T | None]]], port: DriverPort
) -> Iterator[T | None]:
    """What the device yields; None at each read deadline while it cannot be opened.

    Opening or reading raises OSError where the device is lost; each new reason is logged once.
    """
    told, was_open = "", False
    while True:
        try:
            with open_device() as values:
                port.counters[RECONNECTS] += was_open
                was_open = True
                for value in values:
                    told = ""
                    yield value
                reason = "it ended"
        except OSError as error:
            reason = str(error)
        if reason != told:
            log.warning("%s; trying again", reason)
            told = reason
        port.clock.sleep_until_ns(port.clock.now_ns() + READ_DEADLINE_NS)
        yield None
