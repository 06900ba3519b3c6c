"""Stands in for the module `sounddevice`: the contract of its input streams, without PortAudio."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

DEVICES = [
    {"index": 0, "name": "HDMI", "max_input_channels": 0},
    {"index": 1, "name": "UMA-8: USB Audio (hw:1,0)", "max_input_channels": 8},
    {"index": 2, "name": "Webcam: USB Audio (hw:2,0)", "max_input_channels": 2},
]


class PortAudioError(Exception):
    """As the module's own: no OSError."""


class InputStream:
    """Records how it was opened; the test calls its callback as PortAudio's thread would."""

    opened: ClassVar[list["InputStream"]] = []

    def __init__(self, *, callback: Callable[..., None], **asked: Any) -> None:
        if asked["samplerate"] == 11_025:
            raise PortAudioError("Invalid sample rate")
        self.callback = callback
        self.asked = asked
        self.is_running = False

    def __enter__(self) -> "InputStream":
        self.is_running = True
        InputStream.opened.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_running = False

    def deliver(self, value: int, *, adc_s: float, now_s: float, is_overflow: bool = False) -> None:
        """One block of samples of this value, in memory that is used again at once."""
        assert self.is_running
        shape = (self.asked["blocksize"], self.asked["channels"])
        samples = np.full(shape, value, self.asked["dtype"])
        time = SimpleNamespace(inputBufferAdcTime=adc_s, currentTime=now_s)
        self.callback(samples, len(samples), time, SimpleNamespace(input_overflow=is_overflow))
        samples[:] = -1


class Module(SimpleNamespace):
    """The part of the module that the driver uses."""

    def __init__(self) -> None:
        self.devices = list(DEVICES)
        self.starts = 0
        super().__init__(
            InputStream=InputStream,
            PortAudioError=PortAudioError,
            default=SimpleNamespace(device=(2, 0)),
            query_devices=lambda: self.devices,
            _terminate=lambda: None,
            _initialize=self._start,
        )

    def _start(self) -> None:
        self.starts += 1
