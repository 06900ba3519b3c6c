"""Video files, as if their camera were there.

PyAV is imported only where a file is opened: the driver `file` also serves sensors without it.
"""

import importlib.util
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fusion_rt.camera.timeline import Pace, Timeline
from fusion_rt.drivers.port import CameraOptions, DriverPort, Messages, RigPath
from fusion_rt.errors import DriverError
from fusion_rt.messages import CameraFrame
from fusion_rt.pacing import at_deadlines, until_replaced, wait_until
from fusion_rt.reconnect import reconnecting

if TYPE_CHECKING:
    from fusion_rt.camera.frames import FrameMaker
    from fusion_rt.camera.video_file import VideoFile

ENDED = "recording_ended"
"""Counter of times that the end of the file, or of the folder, was reached."""


class CameraRecording(CameraOptions, frozen=True, kw_only=True):
    """Options of a video file."""

    path: RigPath
    encoding: Literal["bgr8", "rgb8", "mono8", "nv12"] = "bgr8"
    """nv12 costs the least: most files hold nearly that."""
    pace: Pace = "recorded"
    """recorded: as it was, stamped now. asap: without waiting, stamped as even as recorded."""
    repeat: bool = False
    """At the end, start over; else wait until the file is replaced."""

    def __post_init__(self) -> None:
        if self.repeat and self.pace == "asap":
            raise ValueError("expected pace recorded with repeat, got asap: it would never rest")
        if importlib.util.find_spec("av") is None:
            raise ValueError('expected PyAV to be there; pip install "fusion_rt[sensors]"')


def open_camera(options: CameraRecording, port: DriverPort) -> Messages:
    """Fails where the path is no video of the stated size; a missing file may still come."""
    path = Path(options.path)
    if path.is_dir():
        way_out = "for a folder of pictures use driver: images"
        raise DriverError("file", f"expected a video file, got the folder {path}", way_out)
    if path.exists():
        with _opened(options, port) as files:
            _check_size(options, next(files))
    return closing(at_deadlines(frames(options, port), port.clock))


def _check_size(options: CameraRecording, file: "VideoFile") -> None:
    for name, wanted, found in zip(
        ("width", "height"), (options.width, options.height), file.size, strict=True
    ):
        if wanted not in (None, found):
            raise DriverError("file", f"expected {name} {wanted}, got {found} in {options.path}")
        if options.encoding == "nv12" and found % 2:
            problem = f"expected even sizes to make nv12 of, got {name} {found} in {options.path}"
            raise DriverError("file", problem, "encoding: bgr8")


def frames(options: CameraRecording, port: DriverPort) -> Generator[CameraFrame | None, None, None]:
    """One message per whole picture; None while there are none."""
    from fusion_rt.camera.frames import FrameMaker

    maker, timeline = FrameMaker(options, port), Timeline(options.pace, port)
    for file in reconnecting(lambda: _opened(options, port), port):
        if file is None:
            yield None
            continue
        maker.forget_size()
        has_played = False
        for frame in _played(file, options, maker, timeline, port):
            has_played |= frame is not None
            yield frame
        port.counters[ENDED] += 1
        yield None
        if not options.repeat or not has_played:
            yield from until_replaced([options.path], port.clock)


@contextmanager
def _opened(options: CameraRecording, port: DriverPort) -> Iterator[Iterator["VideoFile"]]:
    """The file once, or again and again, open until the next one is asked for."""
    passes = _passes(options, port)
    with closing(passes):
        yield passes


def _passes(options: CameraRecording, port: DriverPort) -> Generator["VideoFile", None, None]:
    from fusion_rt.camera.video_file import VideoFile

    is_first = True
    while is_first or options.repeat:
        is_first = False
        with closing(VideoFile(options.path, options.encoding, port.counters)) as file:
            yield file


def _played(
    file: "VideoFile",
    options: CameraRecording,
    maker: "FrameMaker",
    timeline: Timeline,
    port: DriverPort,
) -> Iterator[CameraFrame | None]:
    from fusion_rt.camera.frames import Instant

    timeline.begin(file.step_ns)
    start_ns = port.clock.now_ns()
    for taken in file.pictures():
        if taken is None:
            yield None
            continue
        recorded_ns = None if taken.time_ns is None else start_ns + taken.time_ns
        instant = Instant(timeline.stamp_ns(recorded_ns))
        for frame in maker.from_pixels(taken.pixels, options.encoding, taken.size, instant):
            if options.pace == "recorded":
                yield from wait_until(instant.stamp_ns, port.clock)
            yield frame
