"""What a V4L2 camera can do, and which of it a rig entry means."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from fusion_rt.messages import PixelEncoding

PixelFormat = Literal["yuyv", "uyvy", "nv12", "grey", "bgr24", "rgb24", "mjpeg"]
FOURCC: dict[PixelFormat, str] = {
    "nv12": "NV12",
    "yuyv": "YUYV",
    "uyvy": "UYVY",
    "grey": "GREY",
    "bgr24": "BGR3",
    "rgb24": "RGB3",
    "mjpeg": "MJPG",
}
"""In the order in which they are chosen: what needs no decoding first, few bytes before many."""
ENCODING: dict[PixelFormat, PixelEncoding] = {
    "nv12": "nv12",
    "yuyv": "yuyv",
    "uyvy": "yuyv",
    "grey": "mono8",
    "bgr24": "bgr8",
    "rgb24": "rgb8",
}
"""What messages call it; mjpeg is decoded into what the rig entry says."""
_NEARLY = 0.98  # 29.97 Hz are 30


class Mode(msgspec.Struct, frozen=True):
    """One size, or a range of sizes, of one pixel format."""

    format: str
    """Of ours, else the kernel's four letters."""
    least: tuple[int, int]
    """Width and height."""
    most: tuple[int, int]
    step: tuple[int, int] = (1, 1)
    rates_hz: tuple[float, ...] = ()
    """Fastest first; a range is told by its ends; empty where the camera does not say."""

    def has(self, width: int, height: int) -> bool:
        return all(
            least <= wanted <= most and (wanted - least) % max(step, 1) == 0
            for wanted, least, most, step in zip(
                (width, height), self.least, self.most, self.step, strict=True
            )
        )

    def is_fast_enough(self, rate_hz: float | None) -> bool:
        return rate_hz is None or not self.rates_hz or self.rates_hz[0] >= rate_hz * _NEARLY

    def __str__(self) -> str:
        size = "x".join(map(str, self.least))
        if self.least != self.most:
            size += f" to {'x'.join(map(str, self.most))}"
        rates = ", ".join(f"{rate:g}" for rate in self.rates_hz)
        return f"{self.format} {size}" + (f" at {rates} Hz" if rates else "")


class Choice(msgspec.Struct, frozen=True):
    """What a camera is set to."""

    format: PixelFormat
    width: int
    height: int
    rate_hz: float | None
    """None: as the camera likes."""


def choose(
    modes: Iterable[Mode],
    width: int | None,
    height: int | None,
    rate_hz: float | None,
    wanted: PixelFormat | None,
) -> Choice | None:
    """The cheapest format of the wanted size and rate, the largest size where none is wanted."""
    choices = list(_choices(modes, width, height, rate_hz, wanted))
    if not choices:
        return None
    order = list(FOURCC)
    return min(choices, key=lambda one: (-one.width * one.height, order.index(one.format)))


def _choices(
    modes: Iterable[Mode],
    width: int | None,
    height: int | None,
    rate_hz: float | None,
    wanted: PixelFormat | None,
) -> Iterator[Choice]:
    for mode in modes:
        size = (width or mode.most[0], height or mode.most[1])
        for form in FOURCC:
            is_meant = form == mode.format and wanted in (None, form)
            if is_meant and mode.has(*size) and mode.is_fast_enough(rate_hz):
                yield Choice(form, *size, rate_hz)
